"""The local model server streams in each vendor's form, and breaks off as vendors do."""

import copy
import json

import httpx
import openai
import pytest

from tests.pure.model_server.test_model_server_calls import KINDS, TOOLS, TWO_CALLS, complete
from zango_ai.testing import Reply

STREAM = {"stream": True, "messages": [{"role": "user", "content": "x"}]}
TEXT = "Take two a day,\n\nwith water — and  rest."


def streamed(model, kind, **arguments):
    options = {"stream": True, "stream_options": {"include_usage": True}}
    return list(complete(model, kind, **options, **arguments))


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def usage_of(chunks):
    return next((chunk.usage for chunk in reversed(chunks) if getattr(chunk, "usage", None)), None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_streamed_text_is_the_whole_text(model, kind):
    model.script(Reply(TEXT, input_tokens=100, output_tokens=20))
    chunks = streamed(model, kind, tools=None)
    assert text_of(chunks) == TEXT
    usage = usage_of(chunks)
    assert (usage.prompt_tokens, usage.completion_tokens) == (100, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_calls_arrive_in_order_with_names_and_arguments(model, kind):
    model.script(TWO_CALLS)
    calls = {}
    for chunk in streamed(model, kind, tools=copy.deepcopy(TOOLS)):
        for call in (chunk.choices[0].delta.tool_calls or ()) if chunk.choices else ():
            made = calls.setdefault(call.index, {"name": "", "arguments": ""})
            made["name"] += call.function.name or ""
            made["arguments"] += call.function.arguments or ""
    assert [(call["name"], json.loads(call["arguments"] or "{}")) for call in calls.values()] == [
        ("find_patient", {"name": "Ada"}),
        ("list_beds", {}),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_the_pieces_of_a_text_are_the_scripts(model, kind):
    model.script(Reply("abc", pieces=["a", "bc"]))
    deltas = [chunk.choices[0].delta.content for chunk in streamed(model, kind, tools=None) if chunk.choices]
    assert [delta for delta in deltas if delta] == ["a", "bc"]


def test_a_stream_is_sent_as_it_is_made(model):
    model.script(Reply("one two", stalls_after=2))
    with (
        httpx.Client() as client,
        client.stream(
            "POST",
            f"{model.openai_base}/chat/completions",
            json=STREAM,
        ) as response,
    ):
        events = response.iter_lines()
        assert json.loads(next(events).removeprefix("data: "))["choices"][0]["delta"]["role"] == "assistant"
        assert next(events) == ""
        assert json.loads(next(events).removeprefix("data: "))["choices"][0]["delta"] == {"content": "one"}
        assert model.abandoned_streams == 0
    model.wait_for_abandoned(1)


def test_usage_is_left_out_where_the_script_says_so(model):
    model.script(Reply("ok", sends_usage=False))
    answer = httpx.post(
        f"{model.openai_base}/chat/completions", json=STREAM | {"stream_options": {"include_usage": True}}
    )
    assert '"usage"' not in answer.text


def test_a_stream_can_break_off(model):
    model.script(Reply("one two three", breaks_after=2))
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{model.openai_base}/chat/completions", json=STREAM)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_stream_can_end_in_the_vendors_error(model, kind):
    model.script(Reply("one two three", fails_after=3))
    with pytest.raises(openai.APIError):
        streamed(model, kind, tools=None)
