"""``get_run(run_id).cancel()``: a run is stopped from another process or thread, wherever it is."""

import json
import threading
from contextlib import closing, contextmanager

import pytest
from django.db import connection

from tests.build import make_agent, make_agent_with, make_priced_agent, make_provider
from tests.children import child, said
from tests.schemas import schema_context
from tests.together import wait_until
from tests.worker_tasks import act_once, record_in_worker
from zango_ai import get_agent, get_run, tool
from zango_ai.exceptions import NotAwaitingApproval, RunCancelled, RunFailed, RunNotFound
from zango_ai.ledger import reconciliation
from zango_ai.memory import sessions
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, Spend, StreamChunk, ToolCall
from zango_ai.signals import run_finished
from zango_ai.testing import Call, Reply

TEXT = "one two three four five six seven eight"
CANCEL = """
import json, zango_ai
from zango_ai.models import Invocation
print(json.dumps(zango_ai.get_run(Invocation.objects.get().run_id).cancel()))
"""


@pytest.fixture
def live(queueing, live_north):
    """North is active, and a worker takes what is queued."""
    return queueing


on_workers = pytest.mark.parametrize("queue", ["celery", "database"], indirect=True)


def row():
    return Invocation.objects.get()


def cancelled_elsewhere():
    with child(CANCEL) as process:
        return json.loads(said(process))


@contextmanager
def running(**arguments):
    """``run()`` in a thread of its own, which ends with the block. Gets the error that it raises."""
    raised = []

    def run():
        with schema_context("north"):
            try:
                get_agent("helper").run("hi", **arguments)
            except RunFailed as exc:
                raised.append(exc)
            finally:
                connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield raised
    finally:
        thread.join()


def require_settled():
    assert list(reconciliation.find_drift("north")) == []
    assert {spend.reserved_usd for spend in Spend.objects.all()} == {0}


@on_workers
def test_a_queued_run_ends_at_once_and_no_worker_takes_it(model, queue, queue_north):
    make_agent(model)
    queue.without_worker()
    finished = []
    run_finished.connect(lambda **given: finished.append(given["status"]), weak=False, dispatch_uid="cancel")
    try:
        run = get_agent("helper").enqueue("hi")
        assert run.cancel()
    finally:
        run_finished.disconnect(dispatch_uid="cancel")
    assert (run.status, finished, row().resume_state) == ("cancelled", ["cancelled"], "")
    assert row().finished_at is not None
    with pytest.raises(RunCancelled) as caught:
        run.response()
    assert (caught.value.run_id, caught.value.invocation_id) == (run.run_id, row().pk)
    assert not run.cancel()
    queue.with_worker()
    queue.deliver_again(run.run_id)
    get_agent("helper").enqueue("second").wait(60)
    assert len(model.requests) == 1


@pytest.mark.parametrize("output_schema", ["text", "json"])
def test_a_plain_run_discards_the_answer_that_is_on_its_way(model, live_north, output_schema):
    make_priced_agent(model, output_schema=output_schema, short_term_memory=True)
    model.script(Reply("[]", delay_s=0.5))
    with running() as raised:
        model.wait_for_requests(1)
        assert get_run(row().run_id).cancel()
        assert row().status == "running"
        assert get_run(row().run_id).cancel()
    (error,) = raised
    assert type(error) is RunCancelled
    assert (error.run_id, error.invocation_id) == (row().run_id, row().pk)
    assert (row().status, row().error_type) == ("cancelled", "")
    assert row().cost_usd == row().rounds.get().cost_usd > 0
    assert not MemoryMessage.objects.exists()
    require_settled()


@tool(description="Ask to be cancelled.")
def cancels_its_run() -> bool:
    return cancelled_elsewhere()


def test_a_run_is_stopped_between_its_tool_calls_from_another_process(model, live_north):
    make_agent_with(model, cancels_its_run, act_once, short_term_memory=True)
    AgentConfig.objects.update(timeout_seconds=60)
    model.script(Reply("Let me see.", calls=[Call("cancels_its_run"), Call("act_once", {"where": "x"})]))
    with pytest.raises(RunCancelled) as caught:
        get_agent("helper").run("hi")
    assert caught.value.invocation_id == row().pk
    assert row().status == "cancelled"
    assert list(ToolCall.objects.values_list("tool_name", "status")) == [("cancels_its_run", "success")]
    assert not MemoryMessage.objects.exists()
    assert len(model.requests) == 1
    require_settled()


@tool(description="Count.", rate_limit=5)
def count_within_limit() -> int:
    return 1


CALLS = [
    Call("act_once", {"where": "x"}),
    Call("count_within_limit"),
    Call("record_in_worker", {"name": "Ada"}),
    Call("unknown"),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
def test_a_run_is_stopped_before_its_next_step(model, live_north, call):
    make_agent_with(model, act_once, count_within_limit, record_in_worker)
    model.script(Reply("Let me see.", calls=[call], delay_s=0.3))
    with running() as raised:
        model.wait_for_requests(1)
        assert get_run(row().run_id).cancel()
    assert [type(error) for error in raised] == [RunCancelled]
    assert row().status == "cancelled"
    assert set(ToolCall.objects.values_list("status", flat=True)) <= {"denied"}
    assert len(model.requests) == 1


@pytest.mark.parametrize("session_id", ["s", None])
def test_a_run_that_is_cancelled_during_its_last_call_is_not_remembered(model, live_north, session_id):
    make_agent(model, short_term_memory=True)
    model.script(Reply("too late", delay_s=0.3))
    with running(session_id=session_id) as raised:
        model.wait_for_requests(1)
        assert get_run(row().run_id).cancel()
    assert [type(error) for error in raised] == [RunCancelled]
    assert row().status == "cancelled"
    assert not MemoryMessage.objects.exists()


def test_a_run_whose_turn_was_remembered_is_not_cancelled_any_more(model, live_north, monkeypatch):
    make_agent(model, short_term_memory=True)
    store, cancelled = sessions.store_turn, []

    def store_and_cancel(*arguments):
        store(*arguments)
        cancelled.append(get_run(row().run_id).cancel())

    monkeypatch.setattr(sessions, "store_turn", store_and_cancel)
    get_agent("helper").run("hi", session_id="s")
    assert cancelled == [False]
    assert row().status == "success"
    assert MemoryMessage.objects.count() == 2


def test_a_run_that_waits_for_a_retry_is_stopped_before_it_asks_again(model, live_north):
    make_agent(model, provider=make_provider(model, max_retries=3))
    model.script(Reply("busy", status=503, headers={"retry-after": "0.5"}))
    with running() as raised:
        wait_until(lambda: Invocation.objects.filter(rounds__status="failed").exists())
        assert get_run(row().run_id).cancel()
    assert [type(error) for error in raised] == [RunCancelled]
    assert (row().status, len(model.requests)) == ("cancelled", 1)
    require_settled()


@on_workers
def test_a_background_run_that_waits_for_its_next_attempt_ends_at_once(model, queue_north):
    make_agent(model)
    model.script(Reply("busy", status=503, headers={"retry-after": "600"}))
    run = get_agent("helper").enqueue("hi")
    wait_until(lambda: Invocation.objects.filter(status="queued").exclude(error_type="").exists())
    assert run.cancel()
    assert (run.status, row().error_type) == ("cancelled", "")
    require_settled()


def test_a_run_that_fails_after_it_was_cancelled_is_not_tried_again(model, live):
    make_agent(model)
    model.script(Reply("busy", status=503, headers={"retry-after": "600"}, delay_s=0.5))
    run = get_agent("helper").enqueue("hi")
    model.wait_for_requests(1)
    assert run.cancel()
    assert run.wait(60) == "cancelled"
    assert (row().resume_state, len(model.requests)) == ("", 1)


@on_workers
def test_a_stream_of_a_worker_stops_and_its_reader_is_told(model, queue_north):
    make_priced_agent(model)
    model.script(Reply(" ".join([TEXT] * 20), trickle_s=0.05))
    run = get_agent("helper").enqueue("hi", stream=True)
    chunks = run.stream()
    seen = [next(chunks)]
    assert cancelled_elsewhere()
    with pytest.raises(RunCancelled) as caught:
        seen.extend(chunks)
    model.wait_for_abandoned(1)
    assert caught.value.invocation_id == row().pk
    assert (row().status, row().rounds.get().status) == ("cancelled", "cancelled")
    assert row().response_content == "".join(chunk.text for chunk in seen)
    assert row().rounds.get().is_usage_estimated
    require_settled()
    with pytest.raises(RunCancelled):
        list(run.stream(after=seen[-1].number))
    assert StreamChunk.objects.count() == len(seen)


def test_a_stream_of_a_worker_stops_while_the_model_is_silent(model, live):
    make_priced_agent(model)
    AgentConfig.objects.update(timeout_seconds=60)
    model.script(Reply(TEXT, stalls_after=4))
    run = get_agent("helper").enqueue("hi", stream=True)
    with closing(run.stream()) as chunks:
        next(chunks)
    assert run.cancel()
    assert run.wait(30) == "cancelled"
    model.wait_for_abandoned(1)
    assert row().cost_usd == row().rounds.get().cost_usd > 0
    require_settled()


def test_a_run_that_waits_for_an_approval_ends(model, live_north):
    make_agent_with(model, record_in_worker)
    model.script(Reply(calls=[Call("record_in_worker", {"name": "Ada"})]))
    response = get_agent("helper").run("hi")
    assert get_run(response.run_id).cancel()
    assert (row().status, ToolCall.objects.get().status) == ("cancelled", "denied")
    with pytest.raises(NotAwaitingApproval):
        get_agent("helper").resume(response.run_id, {response.pending_approvals[0].id: True})


def test_a_finished_run_is_not_cancelled(model, live_north):
    make_agent(model)
    model.script("fine", Reply("no", status=400))
    run = get_run(get_agent("helper").run("hi").run_id)
    assert not run.cancel()
    assert run.response().content == "fine"
    Invocation.objects.all().delete()
    with pytest.raises(RunNotFound):
        run.cancel()


def test_a_run_of_another_tenant_is_not_found(model, live_north):
    make_agent(model)
    run = get_run(get_agent("helper").run("hi").run_id)
    with schema_context("south"), pytest.raises(RunNotFound):
        get_run(run.run_id)


def test_a_run_is_cancelled_inside_a_test(model, north):
    make_agent_with(model, record_in_worker)
    model.script(Reply(calls=[Call("record_in_worker", {"name": "Ada"})]))
    run = get_run(get_agent("helper").run("hi").run_id)
    assert run.cancel()
    assert (run.status, run.cancel()) == ("cancelled", False)
