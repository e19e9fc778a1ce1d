"""Redact with Presidio. Install it with ``pip install "zango-ai[presidio]"``.

::

    ZANGO_AI = {"REDACT": "zango_ai.redaction.presidio.redact"}

``redact`` finds what has a pattern: e-mail addresses, phone numbers, credit cards, IBANs, IP addresses. It needs no
language model and no network. It does not find names; ``with_analyzer()`` does, with an engine of your own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any


def redact(text: str) -> str:
    """The text with ``<EMAIL_ADDRESS>``, ``<PHONE_NUMBER>`` and the like in place of what was found."""
    found = [match for each in _recognizers() for match in each.analyze(text, each.supported_entities, None)]
    return _replaced(text, found)


def with_analyzer(engine: Any, language: str = "en", **options: Any) -> Callable[[str], str]:
    """A callable for ``REDACT`` that uses your ``presidio_analyzer.AnalyzerEngine``, with its language model.

    ``options`` are passed to ``engine.analyze()``, such as ``entities`` and ``score_threshold``.
    """

    def redact_with_analyzer(text: str) -> str:
        return _replaced(text, engine.analyze(text, language, **options))

    return redact_with_analyzer


@lru_cache(1)
def _recognizers() -> list[Any]:
    from presidio_analyzer import predefined_recognizers as predefined

    class Email(predefined.EmailRecognizer):  # type: ignore[misc]
        """Without Presidio's check of the domain, which downloads a list of domains from the internet."""

        def validate_result(self, pattern_text: str) -> None:
            return None

    others = ("CreditCard", "Iban", "Ip", "Phone")
    return [Email(), *(getattr(predefined, f"{name}Recognizer")() for name in others)]


def _replaced(text: str, found: Iterable[Any]) -> str:
    """The text with the kind of each match in its place. Of overlapping matches, the most certain one names all."""
    spans: list[tuple[int, int, float, str]] = []
    for match in sorted(found, key=lambda each: (each.start, -each.end)):
        start, end, score, kind = match.start, match.end, match.score, match.entity_type
        if spans and start < spans[-1][1]:
            first, last, best, name = spans.pop()
            start, end = first, max(end, last)
            score, kind = (score, kind) if score > best else (best, name)
        spans.append((start, end, score, kind))
    for start, end, _, kind in reversed(spans):
        text = f"{text[:start]}<{kind}>{text[end:]}"
    return text
