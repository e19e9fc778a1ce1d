"""A vendor's own words reach the error: whoever it is, and without what it was sent."""

import base64
import json

import pytest

from tests.samples import PDF, PNG
from zango_ai import LLMFile
from zango_ai.providers import vendor_messages
from zango_ai.providers.masking import Mask
from zango_ai.providers.vendor_messages import Cleaner
from zango_ai.types import LLMMessage, ModelRequest, ToolRequest

KEY = "sk-very-secret-key"
WORDS = "image input is not supported"

BODIES = {
    "OpenAI": {"error": {"message": WORDS, "type": "server_error", "param": None, "code": None}},
    "Azure": {"error": {"code": "content_filter", "message": WORDS, "innererror": {"code": "x"}}},
    "Anthropic": {"type": "error", "error": {"type": "api_error", "message": WORDS}},
    "Gemini": {"error": {"code": 500, "message": WORDS, "status": "INTERNAL"}},
    "Gemini, as a list": [{"error": {"code": 500, "message": WORDS, "status": "INTERNAL"}}],
    "Bedrock": {"message": WORDS},
    "AWS": {"__type": "ValidationException", "Message": WORDS},
    "Mistral": {"object": "error", "message": WORDS, "type": "invalid_request_error", "param": None, "code": "1"},
    "Mistral, of fields": {"object": "error", "message": {"detail": [{"loc": ["body", "x"], "msg": WORDS}]}},
    "FastAPI": {"detail": [{"type": "missing", "loc": ["body", "model"], "msg": WORDS, "input": {"secret": "x"}}]},
    "FastAPI, a text": {"detail": WORDS},
    "Ollama": {"error": WORDS},
    "Groq": {"error": {"message": WORDS, "type": "invalid_request_error", "failed_generation": "a secret"}},
    "a problem document": {"type": "about:blank", "title": WORDS, "status": 500},
    "plain text": WORDS.encode(),
    "HTML": f"<!DOCTYPE html><html><head><TITLE>{WORDS}</TITLE></head><body>nginx</body></html>".encode(),
    "HTML without a title": f"<html><body><h1 class='x'>{WORDS}</h1><hr>nginx</body></html>".encode(),
    "HTML without a heading": f"<html><p>{WORDS}</p></html>".encode(),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_message_is_found_in_every_vendors_form(body):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert vendor_messages.message_in(raw) == WORDS


NONE = [b"", b"{}", b"[]", b"null", b"5", b'{"error": {}}', b'{"error": {"mess', b'{"choices": []}', b"<html>"]


@pytest.mark.parametrize("raw", [*NONE, b"[" * 100_000, b'{"error":' * 5_000 + b"1" + b"}" * 5_000, b"1" * 10_000])
def test_a_body_without_a_message_has_none(raw):
    assert vendor_messages.message_in(raw) in {"", "1" * 10_000}


def request(*messages, **fields):
    return ModelRequest("m", messages, temperature=1.0, max_tokens=1, timeout_s=1.0, **fields)


PROMPT = 'Ada Berger, born 1950-03-02, asks: "May I take\nibuprofen with my émigré heart pills?"'


@pytest.mark.parametrize(
    "echo",
    [
        PROMPT,
        json.dumps(PROMPT),
        json.dumps(json.dumps(PROMPT)),
        repr(PROMPT),
        PROMPT.upper(),
        PROMPT[5:60],
        f"{PROMPT[:25]}...{PROMPT[-24:]}",  # as pydantic shortens
    ],
)
def test_a_piece_of_the_prompt_is_taken_out_in_any_spelling(echo):
    cleaner = Cleaner(Mask([KEY]), request(LLMMessage("system", "Be brief."), LLMMessage("user", PROMPT)))
    shown = cleaner.shown(f"Invalid value {echo} in messages: it is too long")
    assert shown.startswith("Invalid value ")
    assert "[content]" in shown
    assert shown.endswith(" in messages: it is too long")
    for word in ("Berger", "1950", "ibuprofen", "heart"):
        assert word.lower() not in shown.lower()


def test_arguments_and_results_of_tools_are_taken_out_value_by_value():
    call = ToolRequest("c1", "find", json.dumps({"name": "Ada Berger", "age": 75, "number": 4711234}))
    result = LLMMessage("tool", json.dumps([{"city": "Bad Tölz"}]), tool_call_id="c1")
    sent = request(LLMMessage("user", "hi"), LLMMessage("assistant", "", tool_calls=(call,)), result)
    shown = Cleaner(Mask([]), sent).shown("No value Ada Berger, number 4711234 of Bad Tölz, hi, is allowed (75).")
    assert shown == "No value [content], number [content] of [content], hi, is allowed (75)."


def test_the_text_of_a_file_and_encoded_content_are_taken_out():
    file = LLMFile.from_bytes(b"patient;finding\nAda Berger;hypertension stage two\n", "text/csv", "ada-berger.csv")
    cleaner = Cleaner(Mask([]), request(LLMMessage("user", "", files=(file,))))
    coded = base64.b64encode(PNG + PDF).decode()
    shown = cleaner.shown(f"cannot read ada-berger.csv: Ada Berger;hypertension stage two / {coded} / as text")
    assert shown == "cannot read [content]: [content] / [content] / as text"
    lines = base64.encodebytes(bytes(range(256)) * 4).decode()
    assert Cleaner(Mask([])).shown(f"cannot read {lines}").startswith("cannot read [content] [content]")


@pytest.mark.parametrize("place", [0, 1, 200_000, 262_130, 262_144, 500_000])
def test_a_piece_of_a_long_text_is_taken_out_wherever_it_stands_in_it(place):
    filler = "".join(f"{number:x}," for number in range(200_000))
    text = f"{filler[:place]} Ada Berger has hypertension {filler[place:]}"
    file = LLMFile.from_bytes(text.encode(), "text/plain", "a.txt")
    for message in (LLMMessage("user", text), LLMMessage("user", "", files=(file,))):
        shown = Cleaner(Mask([]), request(message)).shown("Wrong: Ada Berger has hypertension!")
        assert shown == "Wrong: [content]!"


@pytest.mark.parametrize(
    "words",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "model 'sha256:" + "ab12" * 16 + "' not found, try pulling it first",
        "Unsupported parameter: 'temperature' is not supported with this model. Use 'top_p'.",
        "Request id: req_011CQpAvk4t4xz5Wm2yq3KvF",
    ],
)
def test_what_the_vendor_says_of_its_own_stays(words):
    sent = request(
        LLMMessage("system", "You are a helpful assistant of a clinic. Say so where a medicine is not supported."),
        LLMMessage("user", "Which of my tokens is valid?"),
    )
    assert Cleaner(Mask([KEY]), sent).shown(words) == words


def test_words_are_put_on_one_line_and_shortened():
    shown = Cleaner(Mask([])).shown("one\r\n\ttwo\x00\x1b[31m " + "word " * 200)
    assert shown.startswith("one two [31m word word")
    assert len(shown) == vendor_messages.MAX_SHOWN
    assert shown.endswith("…")


def test_a_credential_at_the_place_where_the_words_are_cut_is_masked():
    for length in range(250, 320):
        shown = Cleaner(Mask([KEY])).shown("x " * (length // 2) + KEY)
        assert "sk-" not in shown


def test_a_cleaner_shows_nothing():
    assert "Berger" not in repr(Cleaner(Mask([KEY]), request(LLMMessage("user", PROMPT))))
