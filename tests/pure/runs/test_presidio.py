"""The ready callable for ``REDACT``, without a language model and without a network."""

import socket
from types import SimpleNamespace

import pytest

from zango_ai.redaction import presidio


def match(start, end, kind, score=0.5):
    return SimpleNamespace(start=start, end=end, entity_type=kind, score=score)


def test_what_has_a_pattern_is_redacted(monkeypatch):
    pytest.importorskip("presidio_analyzer")

    def refuse(*args, **kwargs):
        raise AssertionError("Presidio has opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    text = "Mail ada@example.org, pay with 4111 1111 1111 1111 or DE89370400440532013000, or call +49 30 901820."
    assert presidio.redact(text) == (
        "Mail <EMAIL_ADDRESS>, pay with <CREDIT_CARD> or <IBAN_CODE>, or call <PHONE_NUMBER>."
    )
    assert (
        presidio.redact("Blood pressure 120/80, take two of 500 mg.")
        == "Blood pressure 120/80, take two of 500 mg."
    )


def test_an_engine_of_the_application_is_used_with_its_options():
    def analyze(text, language, **options):
        assert (language, options) == ("de", {"entities": ["PERSON"]})
        return [match(0, 3, "PERSON")]

    redact = presidio.with_analyzer(SimpleNamespace(analyze=analyze), "de", entities=["PERSON"])
    assert redact("Ada was here") == "<PERSON> was here"


def test_overlapping_matches_are_replaced_by_one():
    found = [match(5, 9, "B", 0.9), match(0, 6, "A", 0.4), match(12, 13, "C"), match(1, 2, "D", 0.1)]
    redact = presidio.with_analyzer(SimpleNamespace(analyze=lambda text, language: found))
    assert redact("0123456789abcdef") == "<B>9ab<C>def"
