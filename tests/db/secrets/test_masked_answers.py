"""What a provider sends back: answers to the letter, no credentials, and its own words in errors."""

import base64
import html
import json
import warnings
from urllib.parse import quote

import pytest

from tests.build import API_KEY, make_agent, make_agent_with, make_provider
from zango_ai import get_agent, tool
from zango_ai.exceptions import LLMAPIError, RateLimitExceeded, ZangoAIError
from zango_ai.models import Invocation, InvocationRound, ToolCall
from zango_ai.providers.kinds import KINDS
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("north")
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)

LONG = (
    "ACGT" * 200
    + " "
    + base64.b64encode(bytes(range(256)) * 3).decode()
    + " "
    + "9" * 400
    + " C:\\u\\u0041 &amp; %41"
)
KEY = "sk-of/this+tenant="
SPELLINGS = {
    "plain": KEY,
    "JSON": KEY.replace("/", "\\/"),
    "\\u00xx": KEY.replace("-", "\\u002D"),
    "HTML": html.escape(KEY).replace("/", "&#x2F;").replace("+", "&plus;"),
    "URL": quote(KEY, safe="").replace("%2F", "%2f"),
    "hex": KEY.encode().hex(),
    "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
}
EVERY_SPELLING = pytest.mark.parametrize("spelled", SPELLINGS.values(), ids=SPELLINGS)


@tool(description="Take a sequence.")
def take(sequence: str) -> str:
    return "taken"


def make_keyed_agent(model, kind="openai", *functions):
    provider = make_provider(model, kind=kind)
    provider.credentials["aws_secret_access_key" if kind == "bedrock" else "api_key"] = KEY
    provider.save()
    return make_agent_with(model, *functions, provider=provider)


@EVERY_KIND
def test_an_answer_reaches_the_caller_and_the_log_to_the_letter(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(LONG)
    assert get_agent("helper").run("hi").content == LONG
    assert Invocation.objects.get().response_content == InvocationRound.objects.get().response_content == LONG


@EVERY_KIND
def test_arguments_of_a_tool_reach_it_and_the_log_to_the_letter(model, kind):
    make_agent_with(model, take, provider=make_provider(model, kind=kind))
    model.script(Reply(calls=[Call("take", {"sequence": LONG})]), "done")
    (call,) = get_agent("helper").run("hi").tool_calls
    assert (call.input, call.status) == ({"sequence": LONG}, "success")
    assert ToolCall.objects.get().arguments == {"sequence": LONG}


@EVERY_SPELLING
def test_a_credential_in_an_answer_is_masked_in_any_spelling_and_the_rest_stays(model, spelled):
    make_keyed_agent(model)
    model.script(f'\\u0041 {LONG} "{spelled}" {LONG}')
    content = get_agent("helper").run("hi").content
    assert content.startswith(f'\\u0041 {LONG} "')
    assert content.endswith(f'" {LONG}')
    assert "[credential]" in content
    shown = str(Invocation.objects.values()) + str(InvocationRound.objects.values()) + content
    assert spelled not in shown
    assert len(content) < len(f'\\u0041 {LONG} "" {LONG}') + 30


@pytest.mark.parametrize("kind", ["openai", "azure", "anthropic", "mistral"])
@EVERY_SPELLING
def test_a_credential_in_a_tool_call_is_masked_in_its_name_arguments_and_id(model, kind, spelled):
    make_keyed_agent(model, kind, take)
    calls = [
        Call("take", {"sequence": f"Bearer {spelled}"}, id=f"call_{spelled}"),
        Call(f"take_{spelled}", {"sequence": "x"}, id=f"call_{spelled}_2"),
    ]
    model.script(Reply(calls=calls), "done")
    response = get_agent("helper").run("hi")
    assert "[credential]" in response.tool_calls[0].input["sequence"]
    rows = [*InvocationRound.objects.values(), *Invocation.objects.values(), *ToolCall.objects.values()]
    escaped = json.dumps(spelled)[1:-1]
    for shown in (str(rows), str(response.tool_calls), json.dumps(model.requests[1].body)):
        assert spelled not in shown
        assert escaped not in shown
        assert "[credential]" in shown


CONTENTS = [{"echo": API_KEY}, [API_KEY], [{"type": "text", "text": API_KEY, "extra": {"k": API_KEY}}], 5, True]


def odd_answers(kind, value):
    """Answers of the vendor's with ``value`` where a text belongs, in one place after another."""
    if kind == "anthropic":
        usage = {"input_tokens": 1, "output_tokens": 1}
        base = {"id": "x", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
        good = {**base, "content": [{"type": "text", "text": "hi"}], "usage": usage}
        yield {**good, "content": [{"type": "text", "text": value}]}
    elif kind == "gemini":
        good = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}]}
        yield {"candidates": [{"content": {"parts": [{"text": value}]}, "finishReason": "STOP"}]}
    elif kind == "bedrock":
        good = {"output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}}, "stopReason": "end_turn"}
        good |= {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, "metrics": {"latencyMs": 1}}
        yield {**good, "output": {"message": {"role": "assistant", "content": [{"text": value}]}}}
    else:
        message = {"role": "assistant", "content": "hi"}
        good = {"id": "x", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        call = {"id": value, "type": "function", "function": {"name": value, "arguments": value}}
        for odd in ({"content": value}, {"refusal": value}, {"role": value}, {"tool_calls": [call]}):
            yield {**good, "choices": [{"index": 0, "message": {**message, **odd}, "finish_reason": "stop"}]}
        yield {**good, "choices": [{"index": 0, "message": message, "finish_reason": value}]}
        yield {**good, "usage": {"prompt_tokens": value}}
        yield {**good, "system_fingerprint": value, "service_tier": value}
    yield {**good, "id": value, "model": value}


@EVERY_KIND
@pytest.mark.parametrize("value", CONTENTS, ids=str)
def test_an_answer_with_something_else_than_text_shows_no_credential_in_a_warning_or_log(
    model, kind, value, caplog, capfd
):
    make_agent(model, provider=make_provider(model, kind=kind))
    shown = []
    for body in odd_answers(kind, value):
        model.script(Reply(raw=json.dumps(body).encode()))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                shown.append(str(get_agent("helper").run("hello")))
            except ZangoAIError as exc:
                shown += [str(exc), str(exc.__cause__), str(vars(exc))]
        shown += [str(warning.message) for warning in caught]
    shown += [caplog.text, *capfd.readouterr(), str(InvocationRound.objects.values())]
    assert not [text for text in shown if API_KEY in text]


# -- a vendor's words

WORDS = "image input is not supported"


@EVERY_KIND
def test_an_error_shows_the_vendors_own_words(model, kind):
    provider = make_provider(model, kind=kind)
    make_agent(model, provider=provider)
    model.script(Reply(WORDS, status=500))
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("hi")
    where = f"Provider 'main' (model {provider.default_model!r})"
    assert str(caught.value) == f'{where} answered 500: "{WORDS}". Try again later.'
    assert Invocation.objects.get().error_message == str(caught.value)


@EVERY_KIND
def test_every_status_shows_them(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    for status in (400, 401, 403, 404, 408, 413, 418, 422, 429, 500, 503, 529):
        model.script(Reply(WORDS, status=status))
        with pytest.raises((LLMAPIError, RateLimitExceeded), match=f': "{WORDS}"'):
            get_agent("helper").run("hi")


@EVERY_KIND
def test_an_error_page_is_told_by_its_title(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    page = b"<html><head><title>502 Bad Gateway</title></head><body><center>nginx</center></body></html>"
    model.script(Reply(raw=page, status=502, headers={"Content-Type": "text/html"}))
    with pytest.raises(LLMAPIError, match=r'answered 502: "502 Bad Gateway"\. Try again later\.$'):
        get_agent("helper").run("hi")


@EVERY_KIND
def test_an_error_under_a_good_status_shows_its_words(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    model.script(Reply(raw=json.dumps({"error": {"message": WORDS, "code": "server_error"}}).encode()))
    with pytest.raises(LLMAPIError, match=WORDS):
        get_agent("helper").run("hi")


def test_an_error_without_words_says_what_is_known(model):
    make_agent(model)
    model.script(Reply(raw=b"", status=500))
    with pytest.raises(LLMAPIError, match=r"answered 500\. Try again later\.$"):
        get_agent("helper").run("hi")


@EVERY_KIND
@EVERY_SPELLING
def test_no_error_shows_prompt_arguments_or_key_that_the_vendor_echoes(model, kind, spelled):
    make_keyed_agent(model, kind, take)
    model.script(
        Reply(calls=[Call("take", {"sequence": "Ada Berger"})]),
        Reply(f"wrong: {spelled}, 'born in 1950 and\\nlives in Tölz', Ada Berger, {'QUJD' * 300} end", status=400),
    )
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run("The patient was born in 1950 and\nlives in Tölz.")
    shown = [str(caught.value), str(caught.value.original_error), str(vars(caught.value.original_error))]
    for text in shown:
        for part in (spelled, KEY, "1950", "Ada Berger", "QUJDQUJD"):
            assert part not in text
    assert "wrong: " in shown[0]
    assert "[credential]" in shown[0]
    assert shown[0].count(' end"') == 1
