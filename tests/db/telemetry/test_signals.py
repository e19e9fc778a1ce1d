"""The signals of a run: which are sent, in which order, and with what."""

import asyncio
import logging
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.db.models import F

from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_provider
from tests.schemas import active_schema
from zango_ai import LLMMessage, LLMUsage, aget_agent, get_agent, get_provider, tool
from zango_ai.exceptions import InputRequired, LLMAPIError
from zango_ai.ledger import maintenance
from zango_ai.models import Invocation, InvocationRound
from zango_ai.runs.resumption import execute_queued
from zango_ai.signals import round_finished
from zango_ai.testing import Call, Reply

SECRET = "Ada Berger, HIV positive"


@tool(name="signalled_lookup", description="Look a patient up.")
def signalled_lookup(name: str) -> str:
    return f"Result of {name}"


@tool(name="signalled_send", description="Send a letter.", requires_approval=True)
def signalled_send(name: str) -> str:
    return "sent"


def order(received):
    return [name for name, _ in received]


def of(received, signal):
    return [arguments for name, arguments in received if name == signal]


WHOLE = ["run_started", "round_finished", "run_finished"]


def test_a_run_with_a_tool_sends_each_signal_after_its_row_is_written(model, north, received):
    make_agent_with(model, signalled_lookup)
    model.script(Reply(calls=[Call("signalled_lookup", {"name": SECRET})]), "done")
    response = get_agent("helper").run(SECRET)
    assert order(received) == [
        "run_started",
        "round_finished",
        "tool_called",
        "round_finished",
        "run_finished",
    ]
    run = {
        "sender": Invocation,
        "schema": "north",
        "run_id": response.run_id,
        "invocation_id": response.invocation_id,
        "agent_name": "helper",
        "triggered_by": "user",
        "provider_name": "main",
        "model": "gpt-4o-mini",
    }
    assert all(arguments.items() >= run.items() for _, arguments in received)
    first, last = of(received, "round_finished")
    assert (first["number"], first["status"], first["stop_reason"]) == (1, "success", "tool_use")
    assert (last["number"], last["stop_reason"], last["time_to_first_token_ms"]) == (2, "end_turn", None)
    assert first["usage"] + last["usage"] == response.usage
    assert isinstance(last["cost_usd"], Decimal)
    (called,) = of(received, "tool_called")
    assert (called["number"], called["tool_name"], called["status"]) == (1, "signalled_lookup", "success")
    assert called["duration_ms"] >= 0
    (ended,) = of(received, "run_finished")
    assert (ended["status"], ended["rounds_count"], ended["error_type"]) == ("success", 2, "")
    assert (ended["usage"], float(ended["cost_usd"])) == (response.usage, response.cost_usd)
    assert ended["latency_ms"] == response.latency_ms
    assert SECRET not in str(received)


def test_a_receiver_works_in_the_tenant_and_sees_the_row_and_its_error_is_only_logged(model, live_north, caplog):
    make_agent(model)
    seen = []

    def receive(invocation_id, **_):
        status = Invocation.objects.values_list("status", flat=True).get(pk=invocation_id)
        statuses = list(InvocationRound.objects.values_list("status", flat=True))
        seen.append((active_schema(), status, statuses))
        raise RuntimeError("a broken receiver")

    round_finished.connect(receive)
    try:
        with caplog.at_level(logging.ERROR, "django.dispatch"):
            assert get_agent("helper").run("hi").content
    finally:
        round_finished.disconnect(receive)
    assert seen == [("north", "success", ["success"])]
    assert "a broken receiver" in caplog.text


@pytest.mark.parametrize("way", ["stream", "arun", "background", "direct"])
def test_every_way_to_ask_sends_the_same_signals(way, model, live_north, received):
    make_agent(model)
    if way == "stream":
        list(get_agent("helper").stream("hi"))
    elif way == "arun":

        async def ask():
            return await (await aget_agent("helper")).arun("hi")

        asyncio.run(ask())
    elif way == "background":
        with transaction.atomic():  # the task would be sent at the commit
            run = get_agent("helper").enqueue("hi")
            transaction.on_commit(lambda: None)
            connection.run_on_commit.clear()
        assert received == []
        execute_queued(str(run.run_id), celery_task_id="1")
    else:
        get_provider("main").complete([LLMMessage("user", "hi")])
    assert order(received) == WHOLE
    assert {arguments["agent_name"] for _, arguments in received} == {"" if way == "direct" else "helper"}
    (finished,) = of(received, "round_finished")
    assert (finished["time_to_first_token_ms"] is not None) == (way == "stream")


def test_a_closed_stream_ends_round_and_run_as_cancelled(model, live_north, received):
    make_agent(model)
    model.script("one two three four")
    chunks = get_agent("helper").stream("hi")
    next(chunks)
    chunks.close()
    assert order(received) == WHOLE
    assert [arguments.get("status") for _, arguments in received] == [None, "cancelled", "cancelled"]


def test_a_run_that_fails_before_its_first_call_was_not_started(model, north, received):
    make_agent(model)
    with pytest.raises(InputRequired):
        get_agent("helper").run()
    assert order(received) == ["run_finished"]
    (ended,) = of(received, "run_finished")
    assert (ended["status"], ended["error_type"], ended["provider_name"]) == ("failed", "InputRequired", "main")
    assert ended["usage"] == LLMUsage()


def test_a_failed_call_names_its_error_and_not_the_message(model, north, received):
    make_agent(model)
    model.script(Reply(SECRET, status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert order(received) == WHOLE
    assert {arguments["error_type"] for _, arguments in received[1:]} == {"LLMAPIError"}
    assert SECRET not in str(received)


def test_a_retried_call_is_a_round_and_a_run_is_started_once(model, north, received):
    make_agent(model, provider=make_provider(model, max_retries=1))
    model.script(Reply("busy", status=503, headers={"retry-after": "0"}), "fine")
    get_agent("helper").run("hi")
    assert order(received) == ["run_started", "round_finished", "round_finished", "run_finished"]
    assert [each["status"] for each in of(received, "round_finished")] == ["failed", "success"]


def test_a_run_that_waits_for_an_approval_finishes_when_it_is_resumed(model, north, received):
    make_agent_with(model, signalled_send)
    model.script(Reply(calls=[Call("signalled_send", {"name": "x"})]), "done")
    response = get_agent("helper").run("hi")
    assert order(received) == ["run_started", "round_finished"]
    get_agent("helper").resume(response.run_id, {response.pending_approvals[0].id: True})
    assert order(received)[2:] == ["tool_called", "round_finished", "run_finished"]
    assert {arguments["run_id"] for _, arguments in received} == {response.run_id}


def test_maintenance_says_what_an_abandoned_run_had_used(model, north, received):
    make_priced_agent(model)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    old = timedelta(hours=1)
    Invocation.objects.update(
        status="running", finished_at=None, finished_on=None, updated_at=F("updated_at") - old
    )
    received.clear()
    maintenance.abandon_orphans("north")
    assert order(received) == ["run_finished"]
    (ended,) = of(received, "run_finished")
    assert (ended["status"], ended["error_type"], ended["rounds_count"]) == ("abandoned", "Abandoned", 1)
    assert (ended["cost_usd"], ended["provider_name"]) == (Invocation.objects.get().cost_usd, "main")
    assert ended["usage"].input_tokens == Invocation.objects.get().input_tokens
