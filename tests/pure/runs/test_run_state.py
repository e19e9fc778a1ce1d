"""The stored state of a run that goes on in another process, perhaps of another release."""

import json
from dataclasses import fields

import pytest

from zango_ai.configuration.overrides import Overrides
from zango_ai.ledger.run_state import RunState, SavedAnswer, SavedSession, SessionToOpen, StateUnreadable
from zango_ai.types import ToolRequest

# As stored before states had a version.
WAITING = """
{"messages": [{"role": "user", "content": "Record Ada."},
    {"role": "assistant", "content": "",
     "tool_calls": [{"id": "look", "name": "look_up", "arguments": "{\\"name\\": \\"Ada\\"}"}]},
    {"role": "tool", "content": "{\\"known\\": false}", "tool_call_id": "look"}],
 "said": [0, 1],
 "exchanged": [{"role": "assistant", "content": "",
    "tool_calls": [{"id": "look", "name": "look_up", "arguments": "{\\"name\\": \\"Ada\\"}"}]},
    {"role": "tool", "content": "{\\"known\\": false}", "tool_call_id": "look"}],
 "answer": {"content": "I shall record it.", "model": "gpt-4o-mini",
    "tool_calls": [{"id": "ada", "name": "record", "arguments": "{\\"name\\": \\"Ada\\"}"}]},
 "tool_rounds": 9, "has_used_tools": true, "corrections": 0,
 "session": {"agent_id": 1, "session_id": "cXc0o8YeNmlBuWh4", "user_ref": "ada",
    "generation": 1362273513490140532, "is_new": true},
 "opens": null, "output_json_schema": null}
"""
QUEUED = """
{"messages": [{"role": "user", "content": "Hello"}], "said": [0, 1], "exchanged": [], "answer": null,
 "tool_rounds": 10, "has_used_tools": false, "corrections": 0, "session": null,
 "opens": {"session_id": "fwftklf7ovR1eNuI", "user_ref": "ada"}, "output_json_schema": {"type": "object"},
 "overrides": {"model": "gpt-4o", "temperature": null, "max_tokens": 5},
 "attempt": 2, "not_before": "2026-11-29T09:00:00+00:00"}
"""


def test_a_state_that_was_stored_without_a_version_is_read():
    state = RunState.from_json(json.loads(WAITING))
    assert (state.turn_range, state.has_used_tools) == ((0, 1), True)
    assert (state.tool_rounds_left, state.output_retries_left) == (9, 0)
    assert [message["role"] for message in state.messages] == ["user", "assistant", "tool"]
    assert state.tool_messages == state.messages[1:]
    call = ToolRequest("ada", "record", '{"name": "Ada"}')
    assert state.answer == SavedAnswer(content="I shall record it.", model="gpt-4o-mini", tool_calls=(call,))
    assert state.session == SavedSession(
        agent_id=1,
        session_id="cXc0o8YeNmlBuWh4",
        user_ref="ada",
        generation=1362273513490140532,
        is_new=True,
    )
    assert (state.overrides, state.session_to_open, state.attempt, state.not_before) == (Overrides(), None, 0, None)
    state = RunState.from_json(json.loads(QUEUED))
    assert state.session_to_open == SessionToOpen(session_id="fwftklf7ovR1eNuI", user_ref="ada")
    assert (state.overrides, state.attempt) == (Overrides("gpt-4o", None, 5), 2)


@pytest.mark.parametrize("stored", [WAITING, QUEUED])
def test_a_state_is_read_as_it_was_stored(stored):
    state = RunState.from_json(json.loads(stored))
    again = json.loads(json.dumps(state.to_json()))
    assert again["version"] == 1
    assert set(again) == {
        "version",
        "attempt",
        "not_before",
        "overrides",
        "stores_chunks",
        "trace",
        "calls",
        "decisions",
        *json.loads(WAITING),
    }
    assert len(again) == len(fields(RunState)) + 1
    assert RunState.from_json(again) == state


def test_fields_that_a_later_release_has_added_are_ignored():
    stored = json.loads(WAITING)
    added = {**stored, "version": 1, "added": 1, "session": {**stored["session"], "added": 1}}
    assert RunState.from_json(added) == RunState.from_json(stored)


@pytest.mark.parametrize("version", [2, 0, "1", None])
def test_a_state_of_an_unknown_version_is_refused(version):
    with pytest.raises(StateUnreadable, match=r"version .* and this release reads version 1"):
        RunState.from_json({**json.loads(WAITING), "version": version})


@pytest.mark.parametrize(
    ("name", "damage"), [("messages", None), ("said", [0]), ("answer", {}), ("tool_rounds", "x"), ("session", {})]
)
def test_a_damaged_state_is_refused(name, damage):
    with pytest.raises(StateUnreadable, match="damaged"):
        RunState.from_json({**json.loads(WAITING), name: damage})
    with pytest.raises(StateUnreadable, match="damaged"):
        RunState.from_json({})
