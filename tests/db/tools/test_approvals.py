"""Tool calls that a person has to approve: the run stops, and goes on later, elsewhere, once."""

import json
import uuid
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from threading import Barrier

import pytest
from django.db import Error, connection, transaction
from django.utils import timezone
from patients.models import Patient

from tests.build import make_agent, make_agent_with, make_provider
from tests.children import child, said
from tests.db.log.test_maintenance import let_pass, maintained
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import LLMFile, ToolSafety, get_agent, get_run, tool
from zango_ai.exceptions import (
    AgentDisabled,
    LLMAPIError,
    NotAwaitingApproval,
    OutputParseError,
    RunFailed,
    RunStateUnreadable,
)
from zango_ai.ledger import expiry
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, ToolCall
from zango_ai.runs.resumption import execute_queued
from zango_ai.signals import run_finished
from zango_ai.testing import Call, Reply

BORN = "1957-03-09"


@tool(description="Record a patient.", safety=ToolSafety.WRITE, requires_approval=True)
def record(name: str) -> dict:
    return {"pk": Patient.objects.create(name=name, born=BORN).pk}


@tool(description="Look a patient up.")
def look_up(name: str) -> dict:
    return {"known": Patient.objects.filter(name=name).exists()}


ADA = Call("record", {"name": "Ada"}, id="ada")
BEN = Call("record", {"name": "Ben"}, id="ben")


def start(model, *calls, **arguments):
    model.script(Reply("I shall record it.", calls=calls or (ADA,)))
    return get_agent("helper").run("Record Ada.", **arguments)


def decide(response, decision, **arguments):
    approvals = {pending.id: decision for pending in response.pending_approvals}
    return get_agent("helper").resume(response.run_id, approvals, **arguments)


@pytest.fixture
def agent(model, request):
    request.getfixturevalue("north" if "live" not in request.fixturenames else "live_north")
    return make_agent_with(model, record, look_up)


def test_a_run_stops_where_a_person_has_to_approve(model, agent):
    response = start(model)
    assert (response.stop_reason, response.content) == ("approval_required", "I shall record it.")
    (pending,) = response.pending_approvals
    assert (pending.tool_name, pending.arguments) == ("record", {"name": "Ada"})
    assert timedelta(hours=71) < pending.expires_at - timezone.now() < timedelta(hours=73)
    assert [call.status for call in response.tool_calls] == ["awaiting_approval"]
    assert not Patient.objects.exists()
    row = Invocation.objects.get()
    assert (row.status, row.finished_at) == ("awaiting_approval", None)
    assert ToolCall.objects.get().status == "awaiting_approval"


def test_an_approved_call_is_made_and_the_run_goes_on(model, agent):
    response = start(model)
    model.script("Recorded.")
    done = decide(response, True, decided_by="dr.berger")
    assert (done.content, done.stop_reason, done.pending_approvals) == ("Recorded.", "end_turn", [])
    assert (done.run_id, done.invocation_id) == (response.run_id, response.invocation_id)
    assert [(call.name, call.status) for call in done.tool_calls] == [("record", "success")]
    assert Patient.objects.get().name == "Ada"
    assert done.usage.input_tokens > response.usage.input_tokens
    assert done.latency_ms >= response.latency_ms
    row = Invocation.objects.get()
    assert (row.status, row.rounds_count, row.resume_state) == ("success", 2, "")
    assert row.finished_at is not None
    assert row.input_tokens == done.usage.input_tokens
    call = ToolCall.objects.get()
    assert (call.status, call.decision, call.decided_by) == ("success", "approved", "dr.berger")
    sent = [message["role"] for message in model.requests[1].body["messages"]]
    assert sent == ["user", "assistant", "tool"]


@pytest.mark.parametrize(("decision", "reason"), [(False, ""), ("She is known already.", "She is known already.")])
def test_a_denied_call_is_not_made_and_the_model_is_told_why(model, agent, decision, reason):
    response = start(model)
    model.script("As you wish.")
    done = decide(response, decision)
    assert (done.content, done.tool_calls[0].status) == ("As you wish.", "denied")
    assert not Patient.objects.exists()
    told = model.requests[1].body["messages"][-1]["content"]
    assert "denied" in told
    assert reason in told
    call = ToolCall.objects.get()
    assert (call.status, call.decision) == ("denied", f"denied {reason}".strip())


def let_approvals_expire():
    ToolCall.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


def test_an_approval_that_comes_too_late_has_expired(model, agent):
    response = start(model)
    let_approvals_expire()
    model.script("Too late.")
    done = decide(response, True, decided_by="dr.berger")
    assert (done.content, done.tool_calls[0].status) == ("Too late.", "expired")
    assert not Patient.objects.exists()
    call = ToolCall.objects.get()
    assert (call.status, call.decision, call.decided_by) == ("expired", "expired", "dr.berger")
    assert "in time" in model.requests[1].body["messages"][-1]["content"]


@pytest.mark.parametrize("reason", ["", "approved"])
def test_a_refusal_is_one_whatever_its_words_and_however_late(model, agent, reason):
    """The words were compared with the text "approved"."""
    response = start(model)
    let_approvals_expire()
    model.script("As you wish.")
    assert decide(response, reason).tool_calls[0].status == "denied"
    assert not Patient.objects.exists()
    assert ToolCall.objects.get().decision == f"denied {reason}".rstrip()


def test_maintenance_ends_a_run_whose_approval_nobody_has_given(model, agent):
    AgentConfig.objects.update(short_term_memory=True)
    look = Call("look_up", {"name": "Ada"}, id="before")
    response = start(model, look, ADA, session_id="talk")
    assert expiry.end_expired_approvals("north") == 0
    let_approvals_expire()
    finished = []

    def note(sender, status, run_id, **kwargs):
        finished.append((status, run_id))

    run_finished.connect(note)
    try:
        assert maintained() == "north: 1 runs ended because an approval expired\n"
    finally:
        run_finished.disconnect(note)
    assert finished == [("failed", response.run_id)]
    row = Invocation.objects.get()
    assert (row.status, row.error_type, row.resume_state) == ("failed", "ApprovalExpired", "")
    assert row.finished_at is not None
    call = ToolCall.objects.get(tool_name="record")
    assert (call.status, call.decision, call.result) == ("expired", "expired", None)
    assert ToolCall.objects.get(tool_name="look_up").status == "success"
    assert not MemoryMessage.objects.exists()
    with pytest.raises(NotAwaitingApproval, match="failed"):
        decide(response, True)
    with pytest.raises(RunFailed) as caught:
        get_run(response.run_id).response()
    assert caught.value.error_type == "ApprovalExpired"
    assert maintained() == ""


def test_a_run_that_waits_again_has_its_time_again(model, agent):
    response = start(model)
    model.script(Reply(calls=[BEN]))
    decide(response, False)
    ToolCall.objects.filter(call_id="ada").update(expires_at=timezone.now() - timedelta(days=9))
    assert expiry.end_expired_approvals("north") == 0


def test_a_run_that_cannot_be_ended_stops_no_other(model, live_north):
    make_agent_with(model, record, look_up)
    bad, good = start(model), start(model)
    let_approvals_expire()
    with connection.cursor() as cursor:
        cursor.execute(f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'a bad row'; END $$;
            CREATE TRIGGER refuse BEFORE UPDATE ON zango_ai_invocation FOR EACH ROW
            WHEN (OLD.id = {bad.invocation_id}) EXECUTE FUNCTION refuse()
        """)
    try:
        with pytest.raises(Error, match="a bad row"):
            expiry.end_expired_approvals("north")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER refuse ON zango_ai_invocation; DROP FUNCTION refuse()")
    assert Invocation.objects.get(pk=good.invocation_id).status == "failed"
    assert Invocation.objects.get(pk=bad.invocation_id).status == "awaiting_approval"
    assert ToolCall.objects.get(round__invocation=bad.invocation_id).status == "awaiting_approval"
    assert expiry.end_expired_approvals("north") == 1


def test_how_long_approvals_wait_can_be_set(model, settings, agent):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "APPROVAL_TTL_HOURS": 1}
    assert start(model).pending_approvals[0].expires_at < timezone.now() + timedelta(hours=2)


def test_calls_are_made_in_order_up_to_the_first_that_waits(model, agent):
    look = Call("look_up", {"name": "Ada"}, id="before")
    look_again = Call("look_up", {"name": "Ada"}, id="after")
    response = start(model, look, ADA, look_again, BEN)
    assert [call.status for call in response.tool_calls] == ["success", "awaiting_approval", "awaiting_approval"]
    ada, ben = response.pending_approvals
    model.script("done")
    done = get_agent("helper").resume(response.run_id, {ada.id: True, ben.id: "Not him."})
    assert [(c.id, c.status) for c in done.tool_calls] == [
        ("before", "success"),
        ("ada", "success"),
        ("after", "success"),
        ("ben", "denied"),
    ]
    assert [c.result["known"] for c in done.tool_calls if c.name == "look_up"] == [False, True]
    assert ToolCall.objects.filter(tool_name="look_up").count() == 2  # each was made once
    results = [m["tool_call_id"] for m in model.requests[1].body["messages"] if m["role"] == "tool"]
    assert results == ["before", "ada", "after", "ben"]


def test_a_run_may_wait_more_than_once(model, agent):
    response = start(model)
    model.script(Reply(calls=[BEN]))
    again = decide(response, True)
    assert (again.stop_reason, [p.arguments["name"] for p in again.pending_approvals]) == (
        "approval_required",
        ["Ben"],
    )
    assert Invocation.objects.get().status == "awaiting_approval"
    model.script("Both.")
    done = decide(again, True)
    assert (done.content, [call.id for call in done.tool_calls]) == ("Both.", ["ada", "ben"])
    assert Patient.objects.count() == 2


def test_what_does_not_fit_waits_for_nobody(model, agent):
    model.script(Reply(calls=[Call("record", {"nome": "Ada"})]), "I see.")
    response = get_agent("helper").run("hi")
    assert (response.content, response.tool_calls[0].status) == ("I see.", "invalid_arguments")


def test_every_call_has_to_be_decided_and_no_other(model, agent):
    response = start(model, ADA, BEN)
    ada, ben = response.pending_approvals
    helper = get_agent("helper")
    for approvals, words in [
        ({}, "record"),
        ({ada.id: True}, ben.id),
        ({ada.id: True, ben.id: True, "other": True}, "other"),
    ]:
        with pytest.raises(ValueError, match=words):
            helper.resume(response.run_id, approvals)
    for wrong in (None, 1, ["yes"]):
        with pytest.raises(TypeError, match="reason"):
            helper.resume(response.run_id, {ada.id: True, ben.id: wrong})
    assert Invocation.objects.get().status == "awaiting_approval"  # nothing is lost by that
    model.script("done")
    assert helper.resume(str(response.run_id), {ada.id: True, ben.id: False}).content == "done"


def test_a_run_goes_on_once(model, agent):
    response = start(model)
    decide(response, False)
    with pytest.raises(NotAwaitingApproval) as caught:
        decide(response, True)
    assert caught.value.run_id == response.run_id
    assert not Patient.objects.exists()


def test_only_the_agents_own_runs_that_wait_go_on(model, agent):
    response = start(model)
    make_agent(model, "other", provider=agent.provider)
    approvals = {response.pending_approvals[0].id: True}
    for run_id in (uuid.uuid4(), "no id"):
        with pytest.raises(NotAwaitingApproval):
            get_agent("helper").resume(run_id, approvals)
    with pytest.raises(NotAwaitingApproval):
        get_agent("other").resume(response.run_id, approvals)


def test_an_agent_that_was_switched_off_since_does_not_go_on(model, agent):
    response = start(model)
    AgentConfig.objects.update(is_enabled=False)
    helper = get_agent.__globals__["Agent"]("helper", "north")
    with pytest.raises(AgentDisabled) as caught:
        helper.resume(response.run_id, {response.pending_approvals[0].id: True})
    assert caught.value.invocation_id == response.invocation_id
    assert Invocation.objects.get().status == "failed"


def test_a_provider_that_fails_afterwards_leaves_the_run_failed_and_the_call_made(model, agent):
    response = start(model)
    model.script(Reply("no", status=400))
    with pytest.raises(LLMAPIError):
        decide(response, True)
    assert Invocation.objects.get().status == "failed"
    assert Patient.objects.count() == 1


def test_the_system_may_be_trusted(model, agent):
    AgentConfig.objects.update(auto_approve_system_runs=True)
    model.script(Reply(calls=[ADA]), "done")
    assert get_agent("helper").run("hi", triggered_by="system").content == "done"
    assert Patient.objects.count() == 1
    assert start(model, triggered_by="user").stop_reason == "approval_required"
    AgentConfig.objects.update(auto_approve_system_runs=False)
    assert start(model, triggered_by="system").stop_reason == "approval_required"


def test_a_conversation_remembers_the_turn_when_it_is_over(model, agent):
    AgentConfig.objects.update(short_term_memory=True)
    response = start(model, user_ref="ada")
    assert not MemoryMessage.objects.exists()
    model.script("Recorded.", "second")
    assert decide(response, True).session_id == response.session_id
    get_agent("helper").run("next", session_id=response.session_id, user_ref="ada")
    roles = [message["role"] for message in model.requests[-1].body["messages"]]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_a_run_with_an_output_type_goes_on_with_it(model, agent):
    response = start(model, output_type=Verdict)
    model.script('{"cost": "0.10"}')
    assert decide(response, True, output_type=Verdict).parsed_content == Verdict(Decimal("0.10"))
    response = start(model, output_type=Verdict)
    model.script("no JSON")
    with pytest.raises(OutputParseError):
        decide(response, True)


@dataclass
class Verdict:
    cost: Decimal


def test_files_and_prompts_are_there_when_the_run_goes_on(model, agent, request):
    provider = make_provider(model, name="seeing", default_model="gpt-4o")
    AgentConfig.objects.update(provider=provider)
    picture = b"\x89PNG\r\n\x1a\n" + b"0" * 40
    files = [
        LLMFile.from_bytes(picture, "image/png", "scan.png"),
        LLMFile.from_bytes("größe,1\n".encode(), "text/csv", "lab.csv"),
        LLMFile.from_url("https://cdn.example.com/x.png"),
    ]
    response = start(model, files=files)
    model.script("Seen.")
    decide(response, True)
    first, second = (r.body["messages"][0]["content"] for r in model.requests)
    assert first == second
    assert len(first) == 4


def test_a_run_waits_across_the_callers_rollback_and_goes_on_in_another_process(model, live_north):
    make_agent_with(model, record, look_up)
    try:
        with transaction.atomic():
            response = start(model)
            raise RuntimeError("the request fails")
    except RuntimeError:
        pass
    model.script("Recorded elsewhere.")
    code = f"""
import tests.db.tools.test_approvals
response = get_agent("helper").resume("{response.run_id}", {{"{response.pending_approvals[0].id}": True}})
print(response.content, response.usage.input_tokens)
"""
    with child(code) as process:
        assert said(process).startswith("Recorded elsewhere.")
    assert Patient.objects.get().name == "Ada"


def test_of_many_who_approve_at_once_one_goes_on(model, live_north):
    """Looking at the status and then setting it, five of six had the note written."""
    make_agent_with(model, record, look_up)
    response = start(model)
    barrier, outcomes = Barrier(6), []

    def approve():
        with schema_context("north"):
            barrier.wait()
            try:
                outcomes.append(decide(response, True).stop_reason)
            except NotAwaitingApproval:
                outcomes.append("not awaiting")

    run_together([approve] * 6)
    assert sorted(outcomes) == ["end_turn"] + ["not awaiting"] * 5
    assert Patient.objects.count() == 1


STORED_BEFORE = {
    "messages": [{"role": "user", "content": "Record Ada."}],
    "said": [0, 1],
    "exchanged": [],
    "answer": {
        "content": "I shall record it.",
        "model": "gpt-4o-mini",
        "tool_calls": [{"id": "ada", "name": "record", "arguments": '{"name": "Ada"}'}],
    },
    "tool_rounds": 10,
    "has_used_tools": False,
    "corrections": 0,
    "session": None,
    "opens": None,
    "output_json_schema": None,
}
"""What a release without versions and overrides has stored."""


def test_a_run_that_waits_since_before_a_deployment_goes_on_after_it(model, agent):
    response = start(model)
    Invocation.objects.update(resume_state=json.dumps(STORED_BEFORE))
    model.script("Recorded.")
    assert decide(response, True).content == "Recorded."
    assert Patient.objects.get().name == "Ada"
    assert [m["role"] for m in model.requests[1].body["messages"]] == ["user", "assistant", "tool"]


def test_a_run_that_a_newer_release_has_stored_keeps_waiting(model, agent):
    response = start(model)
    stored = Invocation.objects.get().resume_state
    Invocation.objects.update(resume_state=json.dumps({**json.loads(stored), "version": 2}))
    with pytest.raises(RunStateUnreadable, match="version 2") as caught:
        decide(response, True)
    assert caught.value.run_id == response.run_id
    assert Invocation.objects.get().status == "awaiting_approval"
    assert len(get_run(response.run_id).response().pending_approvals) == 1
    Invocation.objects.update(resume_state=stored)
    model.script("Recorded.")
    assert decide(response, True).content == "Recorded."


def test_a_worker_leaves_a_run_that_a_newer_release_has_queued_to_others(model, agent):
    run = get_agent("helper").enqueue("Hello")  # in the test's transaction, so no task is sent
    stored = Invocation.objects.get().resume_state
    Invocation.objects.update(resume_state=json.dumps({**json.loads(stored), "version": 2}))
    assert execute_queued(str(run.run_id), celery_task_id="old") == 60
    assert run.status == "queued"
    assert model.requests == []
    Invocation.objects.update(resume_state=stored)
    model.script("Hello, too.")
    assert execute_queued(str(run.run_id), celery_task_id="new") == 0
    assert run.response().content == "Hello, too."


def test_a_run_that_waits_is_no_orphan(model, live_north):
    make_agent_with(model, record)
    start(model)
    let_pass(100_000)
    assert maintained() == ""
    assert Invocation.objects.get().status == "awaiting_approval"
