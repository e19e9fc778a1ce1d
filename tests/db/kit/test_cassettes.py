"""Cassettes: recorded over HTTP from a real server, replayed without one."""

import asyncio
import re
from contextlib import suppress

import pytest

from tests.samples import PNG
from zango_ai import LLMFile, LLMMessage, define_agent, get_agent, get_provider, tool
from zango_ai.encryption.credentials import Credentials
from zango_ai.exceptions import LLMAPIError, OutputValidationError, RateLimitExceeded
from zango_ai.models import AgentConfig, Invocation, Provider
from zango_ai.testing import CassetteMismatch, calls, cassette, fails, says, scripted
from zango_ai.testing.scripted_rows import ensure_agent

pytestmark = pytest.mark.usefixtures("north")
API_KEY = "sk-a-real-key-of-somebody"


@tool(description="Find a ward.")
def kit_find_ward(name: str) -> dict:
    return {"ward": name}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cassettes" / "calls.yaml"


@pytest.fixture
def server(model_server):
    """A server that the agent ``helper`` uses, by a key that must not get into a file."""
    provider = model_server.connect("main", credentials={**model_server.credentials(), "api_key": API_KEY})
    provider.max_retries = 0
    provider.save()
    ensure_agent("helper", {"provider": provider, "system_prompt": "You help.", "tools": [kit_find_ward]})
    return model_server


def record(path, server, *steps):
    server.script(*steps)
    return cassette(path, record="all")


def test_a_recorded_run_is_replayed_without_a_request(path, server):
    steps = calls(kit_find_ward, name="B"), says("Ward B.").with_usage(input_tokens=90, output_tokens=4)
    with record(path, server, *steps):
        recorded = get_agent("helper").run("Where?")
    count = len(server.requests)

    with cassette(path):
        replayed = get_agent("helper").run("Where?")

    assert len(server.requests) == count == 2
    assert (replayed.content, replayed.usage) == (recorded.content, recorded.usage)
    assert (replayed.cost_usd, replayed.is_cost_known, replayed.model) == (recorded.cost_usd, True, recorded.model)
    assert [call.result for call in replayed.tool_calls] == [{"ward": "B"}]
    assert [run.status for run in Invocation.objects.all()] == ["success", "success"]


def test_the_file_is_readable_and_has_no_key(path, server):
    with record(path, server, f"Your key is {API_KEY}.\nKeep it."):
        get_agent("helper").run(f"What is my key? {API_KEY}")
    text = path.read_text()
    assert API_KEY not in text
    assert "- role: system\n      content: You help.\n" in text
    assert "    text: |-\n      Your key is [credential].\n      Keep it.\n" in text


def test_texts_below_a_field_named_type_have_no_key_either(path, server):
    kind = {"const": "bed", "description": f"Not {API_KEY}"}
    define_agent("helper", output_json_schema={"type": "object", "properties": {"type": kind}})
    with record(path, server, '{"type": "bed"}'):
        get_agent("helper").run("Where?")
    assert API_KEY not in path.read_text()
    assert "description: Not [credential]" in path.read_text()


def test_keys_of_json_schemas_have_no_key_either(path, server):
    secret = {API_KEY: {"type": "string"}, "type": {"const": API_KEY}}
    define_agent("helper", output_json_schema={"type": "object", "properties": secret, "required": [API_KEY]})
    with record(path, server, f'{{"{API_KEY}": "A", "type": "bed"}}'), suppress(OutputValidationError):
        get_agent("helper").run("Where?")
    assert API_KEY not in path.read_text()
    assert "        '[credential]':\n          type: string\n" in path.read_text()


def test_keys_that_are_replaced_stay_apart_and_those_of_the_format_stay(path, server):
    days = {day: {"type": "boolean"} for day in ("2026-01-02", "2026-01-03")}
    define_agent("helper", output_json_schema={"type": "object", "properties": days})
    for mode in ("all", "never"):
        server.script(*['{"2026-01-02": true}'] * (mode == "all"))
        with cassette(path, record=mode) as tape:
            tape.replace(r"\d{4}-\d{2}-\d{2}", "<date>")
            tape.replace("content|text|calls", "word")
            assert get_agent("helper").run("When?").parsed_content
    assert "<date>: &" not in path.read_text()
    assert "<date>:" in path.read_text()
    assert "<date>':" in path.read_text()


def test_texts_are_redacted_and_replaced(path, server, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "REDACT": "tests.db.kit.test_cassettes.without_ada"}
    for day, record_mode in (("2026-01-02", "all"), ("2027-03-04", "never")):
        server.reset()
        server.script(*["Ada is well."] * (record_mode == "all"))
        with cassette(path, record=record_mode) as tape:
            tape.replace(r"\d{4}-\d{2}-\d{2}", "<date>")
            assert "is well." in get_agent("helper").run(f"How is Ada on {day}?").content
    assert "Ada" not in path.read_text()
    assert "How is [name] on <date>?" in path.read_text()


def without_ada(text):
    return text.replace("Ada", "[name]")


def test_a_stream_is_replayed_in_its_own_pieces(path, server):
    with record(path, server, says("Two a ", "day.")):
        recorded = [chunk.text for chunk in get_agent("helper").stream("How many?") if chunk.type == "text"]
    with cassette(path):
        replayed = [chunk.text for chunk in get_agent("helper").stream("How many?") if chunk.type == "text"]
    assert replayed == recorded == ["Two a ", "day."]


def test_async_runs_and_streams_are_recorded(path, server):
    async def ask(helper):
        texts = [(await helper.arun("One?")).content]
        return texts + [chunk.text async for chunk in helper.astream("Two?") if chunk.type == "text"]

    with record(path, server, "One.", says("Two", ".")):
        recorded = asyncio.run(ask(get_agent("helper")))
    with cassette(path):
        assert asyncio.run(ask(get_agent("helper"))) == recorded == ["One.", "Two", "."]


def test_an_error_of_the_provider_is_replayed(path, server):
    errors = RateLimitExceeded("Slow down.", retry_after_seconds=7), LLMAPIError("Down.", status_code=503)
    with record(path, server, *map(fails, errors)):
        recorded = [failure_of(text) for text in ("One?", "Two?")]
    with cassette(path):
        replayed = [failure_of(text) for text in ("One?", "Two?")]
    assert [(type(exc), str(exc)) for exc in replayed] == [(type(exc), str(exc)) for exc in recorded]
    assert replayed[0].retry_after_seconds == 7
    assert (replayed[1].status_code, replayed[1].is_retryable) == (503, True)


def failure_of(text):
    with pytest.raises((RateLimitExceeded, LLMAPIError)) as caught:
        get_agent("helper").run(text)
    return caught.value


def test_direct_calls_and_files_are_recorded(path, server):
    photo = LLMFile.from_bytes(PNG, "image/png", "wound.png")
    asked = [LLMMessage("user", "What is this?", files=(photo,))]
    with record(path, server, "A wound."):
        get_provider("main").complete(asked)
    with cassette(path):
        assert get_provider("main").complete(asked).content == "A wound."
    assert "filename: wound.png" in path.read_text()


def test_a_changed_request_is_reported_as_a_diff_with_the_command(path, server):
    with record(path, server, "Yes."):
        get_agent("helper").run("Open?")
    AgentConfig.objects.update(temperature=0.1)

    with pytest.raises(CassetteMismatch) as caught, cassette(path):
        get_agent("helper").run("Open today?")

    shown = str(caught.value)
    assert "The request of agent 'helper' ('Open today?') differs from the recorded call in" in shown
    assert "-temperature: 0.7\n+temperature: 0.1" in shown
    assert "-  content: Open?\n+  content: Open today?" in shown
    assert "record again: run the test with ZANGO_AI_RECORD=all" in shown


def test_a_mismatch_that_the_application_swallows_still_fails_the_test(path, server):
    with record(path, server, "Yes."):
        get_agent("helper").run("Open?")
    differs = pytest.raises(AssertionError, match="differs from the recorded call")
    with differs, cassette(path), suppress(CassetteMismatch):
        get_agent("helper").run("Closed?")


def test_recorded_calls_that_are_not_made_fail_the_test(path, server):
    with record(path, server, "Yes."):
        get_agent("helper").run("Open?")
    left = r"were not made:\n  The request of agent 'helper' \('Open\?'\)"
    with pytest.raises(AssertionError, match=left), cassette(path):
        pass


def test_without_a_recording_the_command_is_named(path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="run the test with ZANGO_AI_RECORD=all"), cassette(path):
        pass


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version: 1", "it has no 'calls'"),
        ("", "it has no 'calls'"),
        ("just text", "it has no 'calls'"),
        ("calls: []", "it is of version None, and this release reads version 1"),
        ("version: 2\ncalls: []", "it is of version 2, and this release reads version 1"),
        ("version: 1\ncalls: 3", "'calls' is not a list"),
        ("version: 1\ncalls: [{answer: {text: Yes.}}]", "call 1 is not complete (KeyError: 'request')"),
        ("version: 1\ncalls: [3]", "call 1 is not complete"),
        ("version: [1", "line 1"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_named_with_the_reason_and_the_command(path, text, reason):
    path.parent.mkdir()
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=re.escape(reason)) as caught, cassette(path):
        pass
    assert str(caught.value).startswith(f"{path} is no recording that can be replayed: ")
    command = "To record it again, with a real provider: run the test with ZANGO_AI_RECORD=all"
    assert str(caught.value).endswith(command)


def test_a_call_without_an_answer_is_found_before_the_test_runs(path, server):
    with record(path, server, "Yes."):
        get_agent("helper").run("Open?")
    path.write_text(path.read_text().replace("stop_reason", "reason"))
    with pytest.raises(ValueError, match=r"call 1 is not complete \(KeyError: 'stop_reason'\)"), cassette(path):
        pass


def test_a_replay_needs_no_key(path, server):
    with record(path, server, "Yes."):
        get_agent("helper").run("Open?")
    Provider.objects.update(credentials=Credentials())
    with cassette(path):
        assert get_agent("helper").run("Open?").content == "Yes."


def test_a_failed_recording_is_not_written(path, server):
    server.script("Yes.")
    with pytest.raises(ZeroDivisionError), cassette(path, record="all"):
        get_agent("helper").run("Open?")
        _ = 1 / 0
    assert not path.exists()


def test_missing_records_only_what_is_not_there(path, server, monkeypatch):
    monkeypatch.setenv("ZANGO_AI_RECORD", "missing")
    for _time in range(2):
        server.script(*["Yes."] * (not path.exists()))
        with cassette(path):
            assert get_agent("helper").run("Open?").content == "Yes."
    assert len(server.requests) == 1


def test_a_script_comes_before_the_cassette(path, server):
    with record(path, server, "Recorded."), scripted("other", "Scripted."):
        assert [get_agent(name).run("?").content for name in ("other", "helper")] == ["Scripted.", "Recorded."]
    assert "Scripted" not in path.read_text()
