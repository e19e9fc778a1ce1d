"""Streamed answers of every kind of provider, against the local model server."""

import json
import threading
import time
from decimal import Decimal

import pytest

from tests.build import API_KEY, credentials_for
from zango_ai.exceptions import LLMAPIError, LLMTimeoutError, ProviderConfigInvalid, RateLimitExceeded
from zango_ai.providers import calls, http_exchange
from zango_ai.providers.kinds import KINDS
from zango_ai.testing import Call, Reply
from zango_ai.types import LLMMessage, LLMUsage, ModelRequest, ProviderSpec, ToolSchema

EVERY_KIND = pytest.mark.parametrize("kind", KINDS)
MODELS = {
    "anthropic": "claude-sonnet-4-5",
    "azure": "my-deployment",
    "bedrock": "anthropic.claude-3-5-sonnet-20240620-v1:0",
    "gemini": "gemini-2.5-flash",
    "mistral": "mistral-small-latest",
    "groq": "llama-3.3-70b-versatile",
}
TEXT = "Take two a day,\n\nwith water — and  rest."
FIND = ToolSchema("find_patient", "Find a patient.", {"type": "object", "properties": {"name": {"type": "string"}}})
BEDS = ToolSchema("list_beds", "List the beds.", {"type": "object", "properties": {}})


def prepare(model, kind="openai", *, timeout_s=20.0, tools=()):
    provider = ProviderSpec(1, "main", kind, credentials_for(model, kind), "", True)
    messages = (LLMMessage("user", "What should I take?"),)
    name = MODELS.get(kind, "gpt-4o-mini")
    return calls.prepare(provider, ModelRequest(name, messages, 1.0, 500, timeout_s, tools=tools))


def read(call):
    with call.stream() as stream:
        return list(stream), stream.answer


@EVERY_KIND
def test_the_pieces_are_the_whole_answer(model, kind):
    reply = Reply(TEXT, input_tokens=1000, output_tokens=200)
    model.script(reply, reply)
    call = prepare(model, kind)
    pieces, answer = read(call)
    assert len(pieces) > 3
    assert all(pieces)
    assert "".join(pieces) == answer.content == TEXT
    whole = call.send()
    assert answer.stop_reason == whole.stop_reason
    assert answer.is_usage_estimated == (kind == "mistral")  # see the test below
    if kind != "mistral":
        assert (answer.usage, answer.cost_usd) == (whole.usage, whole.cost_usd)
        assert answer.usage == LLMUsage(1000, 200)
    assert answer.time_to_first_token_ms is not None
    assert whole.time_to_first_token_ms is None


@EVERY_KIND
def test_tool_calls_are_put_together(model, kind):
    model.script(Reply("Let me see.", calls=[Call("find_patient", {"name": "Ada"}), Call("list_beds", {})]))
    pieces, answer = read(prepare(model, kind, tools=(FIND, BEDS)))
    assert "".join(pieces) == answer.content == "Let me see."
    assert [(call.name, json.loads(call.arguments or "{}")) for call in answer.tool_calls] == [
        ("find_patient", {"name": "Ada"}),
        ("list_beds", {}),
    ]
    assert len({call.id for call in answer.tool_calls}) == 2


@EVERY_KIND
def test_usage_that_the_vendor_does_not_send_is_estimated(model, kind):
    model.script(Reply(TEXT, sends_usage=False))
    call = prepare(model, kind)
    _pieces, answer = read(call)
    assert answer.is_usage_estimated
    assert 0 < answer.usage.output_tokens <= 500
    assert answer.usage.input_tokens == call.estimate.tokens - 500
    if call.price is not None:
        assert Decimal(0) < answer.cost_usd <= call.estimate.cost_usd


def test_usage_that_a_vendor_sends_unasked_is_read(model):
    """Mistral's API has no ``stream_options``: its last chunk always has the usage, beside the finish reason."""
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    text = {"index": 0, "delta": {"role": "assistant", "content": "one"}, "finish_reason": None}
    end = {"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    events = [head | {"choices": [text]}, head | {"choices": [end], "usage": usage}]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    model.script(Reply(raw=body.encode(), headers={"Content-Type": "text/event-stream"}))
    _pieces, answer = read(prepare(model, "mistral"))
    assert (answer.usage, answer.is_usage_estimated) == (LLMUsage(1000, 200), False)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"mistral"}))
def test_cached_and_reasoning_tokens_cost_what_they_cost_without_streaming(model, kind):
    reply = Reply("ok", input_tokens=1000, output_tokens=200, cache_read_tokens=600, reasoning_tokens=50)
    model.script(reply, reply)
    call = prepare(model, kind)
    _pieces, answer = read(call)
    whole = call.send()
    assert (answer.usage, answer.cost_usd) == (whole.usage, whole.cost_usd)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "bedrock"])
def test_text_is_delivered_before_the_answer_ends(model, kind):
    model.script(Reply("one two three four five six", stalls_after=4))
    with prepare(model, kind).stream() as stream:
        assert next(stream).startswith("one")
        assert stream.partial().content.startswith("one")
        assert stream.partial().is_usage_estimated
        with pytest.raises(RuntimeError, match="not ended"):
            _ = stream.answer
    model.wait_for_abandoned(1)


@EVERY_KIND
def test_a_server_that_falls_silent_is_a_timeout(model, kind):
    model.script(Reply("one two three four five six", stalls_after=4))
    with prepare(model, kind, timeout_s=1.0).stream() as stream:
        assert next(stream)
        with pytest.raises(LLMTimeoutError, match="in time") as caught:
            list(stream)
    assert caught.value.may_be_billed
    model.wait_for_abandoned(1)


def test_tool_calls_that_share_an_index_stay_apart(model):
    """Some gateways number every call 0, and some repeat a call's id in each part."""
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    parts = [
        ("a", "look_up", '{"name": '),
        (None, None, '"Ada"}'),
        ("b", "look_up", '{"name": '),
        ("c", None, "1}"),
    ]
    body = b""
    for call_id, name, arguments in parts:
        call = {"index": 0, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        choice = {"index": 0, "delta": {"role": "assistant", "tool_calls": [call]}, "finish_reason": None}
        body += f"data: {json.dumps(chunk | {'choices': [choice]})}\n\n".encode()
    end = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    body += f"data: {json.dumps(chunk | {'choices': [end]})}\n\ndata: [DONE]\n\n".encode()
    model.script(Reply(raw=body, headers={"Content-Type": "text/event-stream"}))
    _pieces, answer = read(prepare(model))
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("a", "look_up", '{"name": "Ada"}'),
        ("b", "look_up", '{"name": 1}'),
    ]


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_server_that_trickles_past_the_deadline_is_a_timeout(model, kind):
    model.script(Reply("word " * 200, trickle_s=0.1))
    with prepare(model, kind, timeout_s=1.0).stream() as stream, pytest.raises(LLMTimeoutError):
        list(stream)


@EVERY_KIND
def test_a_connection_that_breaks_off_is_an_error_that_may_be_billed(model, kind):
    model.script(Reply("one two three four five six", breaks_after=4))
    with prepare(model, kind).stream() as stream:
        assert next(stream)
        with pytest.raises(LLMAPIError, match="broke off") as caught:
            list(stream)
    assert caught.value.may_be_billed
    assert caught.value.is_retryable
    assert stream.partial().content.startswith("one")


def test_a_stream_that_ends_without_its_end_is_no_answer(model):
    """A proxy may close a connection as if the body were complete."""
    chunk = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    delta = {"index": 0, "delta": {"role": "assistant", "content": "one"}, "finish_reason": None}
    body = f"data: {json.dumps(chunk | {'choices': [delta]})}\n\n".encode()
    model.script(Reply(raw=body, headers={"Content-Type": "text/event-stream"}))
    with prepare(model).stream() as stream:
        assert next(stream) == "one"
        with pytest.raises(LLMAPIError, match="broke off"):
            next(stream)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "azure"])
def test_an_error_in_mid_stream_is_quoted(model, kind):
    model.script(Reply("one two three", fails_after=4))
    with prepare(model, kind).stream() as stream:
        assert next(stream)
        with pytest.raises(LLMAPIError, match="stopped its answer with an error: ") as caught:
            list(stream)
    assert caught.value.is_retryable


@EVERY_KIND
@pytest.mark.parametrize(("status", "error"), [(401, LLMAPIError), (429, RateLimitExceeded), (500, LLMAPIError)])
def test_an_error_instead_of_a_stream_is_the_usual_one(model, kind, status, error):
    model.script(Reply("not today", status=status))
    with pytest.raises(error, match="not today") as caught, prepare(model, kind).stream():
        pytest.fail("The stream was opened")
    assert getattr(caught.value, "status_code", 429) in {status, None} or kind == "bedrock"


@EVERY_KIND
def test_a_credential_that_is_split_over_chunks_is_masked(model, kind):
    cut = len(API_KEY) // 2
    model.script(Reply(f"the key is {API_KEY}.", pieces=["the key is ", API_KEY[:cut], API_KEY[cut:], "."]))
    pieces, answer = read(prepare(model, kind))
    assert "".join(pieces) == answer.content == "the key is [credential]."
    assert pieces[0] == "the key is "


@EVERY_KIND
def test_arguments_that_litellm_cannot_read_arrive_to_the_letter(model, kind):
    deep = json.loads("[" * 600 + "]" * 600)
    model.script(Reply(calls=[Call("find_patient", {"name": deep})]))
    _pieces, answer = read(prepare(model, kind, tools=(FIND,)))
    assert json.loads(answer.tool_calls[0].arguments) == {"name": deep}


def test_an_answer_without_end_is_cut_off(model, monkeypatch):
    monkeypatch.setattr(http_exchange, "MAX_ANSWER_BYTES", 20_000)
    model.script(Reply("word " * 20_000))
    with prepare(model).stream() as stream, pytest.raises(LLMAPIError, match="more than 20000 bytes"):
        list(stream)


def test_streams_of_one_thread_may_be_read_in_turns(model):
    model.script(Reply("a b c", pieces=["a", "b", "c"]), Reply("d e f", pieces=["d", "e", "f"]))
    with prepare(model).stream() as first, prepare(model, "anthropic").stream() as second:
        pairs = list(zip(first, second, strict=True))
    assert pairs == [("a", "d"), ("b", "e"), ("c", "f")]


def test_a_stream_may_be_read_in_another_thread(model):
    """As a web server does that reads each piece in whatever thread is free."""
    model.script(Reply("a b", pieces=["a", "b"]))
    pieces = []
    with prepare(model).stream() as stream:
        for _ in range(2):
            thread = threading.Thread(target=lambda: pieces.append(next(stream)))
            thread.start()
            thread.join(timeout=20)
        assert list(stream) == []
    assert pieces == ["a", "b"]


def test_a_stream_waits_for_the_vendor_within_the_deadline_only(model):
    model.script(Reply("late", delay_s=5.0))
    started = time.monotonic()
    with pytest.raises(LLMTimeoutError), prepare(model, timeout_s=0.5).stream():
        pytest.fail("The stream was opened")
    assert time.monotonic() - started < 5.0


def test_an_address_in_the_hosts_network_is_refused(model, settings):
    call = prepare(model)
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ALLOWED_API_BASES": []}
    with pytest.raises(ProviderConfigInvalid), call.stream():
        pytest.fail("The stream was opened")
