"""Agents run on each queue: queued with the caller's commit, executed once, tried again where that may help."""

import time
import uuid
from dataclasses import dataclass
from datetime import date

import pytest
from celery import current_app
from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel

from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_prompt
from tests.children import child, said
from tests.db.log.test_maintenance import let_pass, maintained
from tests.schemas import active_schema, schema_context
from tests.worker_tasks import act_once, record_in_worker
from tests.workers import app, wait_for, worker
from zango_ai import LLMFile, get_agent, get_run
from zango_ai.exceptions import (
    AgentDisabled,
    LLMFileError,
    OutputParseError,
    OutputValidationError,
    PromptRenderError,
    QueueUnavailable,
    RunFailed,
    RunNotFinished,
    RunNotFound,
    SessionNotOwned,
)
from zango_ai.models import AgentConfig, Invocation, InvocationRound, ToolCall
from zango_ai.signals import run_finished
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_tenants")

POOLS = ("prefork", "threads")
on_workers = pytest.mark.parametrize("queue", ["celery", "database"], indirect=True)


@pytest.fixture
def north(queueing):
    with schema_context("north"):
        yield


def row():
    return Invocation.objects.get()


def test_an_agent_is_run_and_its_answer_fetched_anywhere(model, queue, queue_north):
    make_agent(
        model, user_prompt=make_prompt("Tell of {{ name }}."), system_prompt=make_prompt("Be brief.", "system")
    )
    model.script(Reply("She is well.", input_tokens=11, output_tokens=4))
    run = get_agent("helper").enqueue(variables={"name": "Ada"}, user_ref="7")
    assert run.wait(timeout=60) == "success"
    response = run.response()
    assert (response.content, response.stop_reason, response.run_id) == ("She is well.", "end_turn", run.run_id)
    assert (response.usage.input_tokens, response.usage.output_tokens, response.model) == (11, 4, "gpt-4o-mini")
    assert get_run(str(run.run_id)).response() == response
    assert row().pk == response.invocation_id
    assert (row().triggered_by, row().user_ref) == ("task", "7")
    if queue.name == "celery":
        assert row().celery_task_id == str(run.run_id)
    assert row().celery_task_id != ""
    assert row().rendered_user_prompt == "Tell of Ada."
    assert row().resume_state == ""
    assert row().started_at > row().created_at
    assert model.requests[0].body["messages"][-1]["content"] == "Tell of Ada."
    with schema_context("south"), pytest.raises(RunNotFound):
        get_run(run.run_id)
    with pytest.raises(RunNotFound):
        get_run(uuid.uuid4())


def test_an_answer_of_a_worker_that_forks_is_fetched_in_another_process(model, queueing, north):
    queueing.conf.task_default_queue = "prefork"
    make_agent(model)
    model.script("She is well.")
    run = get_agent("helper").enqueue("hi")
    assert run.wait(60) == "success"
    code = f"""
import zango_ai
print(zango_ai.get_run("{run.run_id}").response().content)
"""
    with child(code) as process:
        assert said(process) == "She is well."


def test_the_row_is_there_at_once_and_the_task_goes_with_the_commit(model, queue_north):
    make_agent(model)
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        assert run.status == "queued"
        assert (row().status, row().celery_task_id) == ("queued", "")
        time.sleep(0.3)
        assert model.requests == []
        with pytest.raises(TimeoutError):
            run.wait(timeout=0.1)
        with pytest.raises(RunNotFinished) as caught:
            run.response()
        assert caught.value.status == "queued"
    assert run.wait(60) == "success"


def test_what_was_queued_in_a_transaction_that_rolls_back_is_never_run_and_ends(model, queue_north):
    make_agent(model)
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        transaction.set_rollback(True)
    assert run.status == "queued"
    let_pass(1_000)
    assert maintained() == ""
    let_pass(4_000)
    assert "1 queued runs ended that no worker will start" in maintained()
    assert run.status == "cancelled"
    assert "not committed" in row().error_message
    with pytest.raises(RunFailed):
        run.response()
    assert model.requests == []


def test_tenants_do_not_mix(model, queue):
    runs = {}
    for schema in ("north", "south"):
        with schema_context(schema):
            make_agent(model)
    for number in range(20):
        schema = ("north", "south")[number % 2]
        current_app.conf.task_default_queue = POOLS[number // 2 % 2]
        with schema_context(schema):
            runs[get_agent("helper").enqueue(f"{schema} {number}")] = schema
    for run, schema in runs.items():
        assert run.wait(60) == "success"  # in whatever tenant is active
        with schema_context(schema):
            assert schema in Invocation.objects.get(run_id=run.run_id).rendered_user_prompt
    for schema in ("north", "south"):
        with schema_context(schema):
            assert Invocation.objects.count() == 10


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"input": 7}, TypeError),
        ({"variables": {}}, PromptRenderError),
        ({"input": "x", "session_id": ""}, ValueError),
        ({"input": "x", "files": [LLMFile.from_bytes(b"", "image/png")]}, LLMFileError),
        ({"input": "x", "unknown": 1}, TypeError),
        ({"input": "x", "triggered_by": "cron"}, ValueError),
        ({"input": "x", "max_tool_rounds": -1}, ValueError),
        ({"input": "x", "output_type": object()}, TypeError),
    ],
)
def test_arguments_are_checked_before_anything_is_queued(model, north, arguments, error):
    make_agent(model, user_prompt=make_prompt("{{ name }}"))
    with pytest.raises(error):
        get_agent("helper").enqueue(**arguments)
    assert not Invocation.objects.filter(status="queued").exists()


def test_a_session_of_another_is_refused_at_once(model, north):
    make_agent(model, short_term_memory=True)
    session_id = get_agent("helper").run("hi", user_ref="ada").session_id
    with pytest.raises(SessionNotOwned):
        get_agent("helper").enqueue("hi", session_id=session_id, user_ref="ben")


def test_conversations_files_types_and_tools_go_along(model, queue_north):
    class Finding(BaseModel):
        value: str
        also: int

    agent = make_agent_with(model, act_once, record_in_worker, short_term_memory=True)
    AgentConfig.objects.filter(pk=agent.pk).update(model="gpt-4o")
    model.script("first", Reply("looking", calls=[Call("act_once", {"where": "x"})]), '{"value": "6.4", "also": 1}')
    helper = get_agent("helper")
    opened = helper.enqueue("first")
    opened.wait(60)
    session_id = opened.response().session_id
    run = helper.enqueue(
        "And now?",
        session_id=session_id,
        files=[LLMFile.from_bytes(b"HbA1c,6.4\n", "text/csv", "lab.csv")],
        output_type=Finding,
    )
    assert run.wait(60) == "success"
    response = run.response()
    assert response.parsed_content == Finding(value="6.4", also=1)
    assert [(call.name, call.status) for call in response.tool_calls] == [("act_once", "success")]
    assert response.session_id == session_id
    sent = model.requests[1].body
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert "HbA1c,6.4" in str(sent["messages"][-1])
    assert list(sent["response_format"]["json_schema"]["schema"]["properties"]) == ["value", "also"]
    last = helper.run("Again?", session_id=session_id)
    assert len(model.requests[-1].body["messages"]) == 7
    assert last.session_id == session_id


def test_a_run_that_needs_approval_waits_and_goes_on_here(model, queue_north):
    make_agent_with(model, record_in_worker)
    model.script(Reply(calls=[Call("record_in_worker", {"name": "Ada"})]), "Recorded.")
    run = get_agent("helper").enqueue("hi")
    assert run.wait(60) == "awaiting_approval"
    response = run.response()
    assert response.stop_reason == "approval_required"
    (pending,) = response.pending_approvals
    assert (pending.tool_name, pending.arguments) == ("record_in_worker", {"name": "Ada"})
    assert pending.expires_at > timezone.now()
    assert get_agent("helper").resume(run.run_id, {pending.id: True}).content == "Recorded."
    assert run.response().content == "Recorded."


BUSY = Reply("busy", status=429, headers={"retry-after": "1"})
DOWN = Reply("down", status=503, headers={"retry-after": "0"})


@pytest.mark.parametrize(
    ("queue", "fault"),
    [
        ("celery", BUSY),
        ("celery", DOWN),
        ("celery", Reply("late", delay_s=8)),
        ("database", BUSY),
        ("database", DOWN),
        ("immediate", BUSY),
    ],
    indirect=["queue"],
)
def test_what_may_pass_is_tried_again_from_where_it_stood(model, queue_north, fault):
    """The tool is not called again: the run goes on after it."""
    make_agent_with(model, act_once, timeout_seconds=3)
    model.script(Reply(calls=[Call("act_once", {"where": "y"})]), fault, "At last.")
    run = get_agent("helper").enqueue("hi")
    assert run.wait(60) == "success"
    assert run.response().content == "At last."
    assert ToolCall.objects.count() == 1
    assert list(InvocationRound.objects.values_list("number", flat=True)) == [1, 2, 3]
    assert (row().rounds_count, row().error_type) == (3, "")


def test_a_decided_run_goes_on_where_it_is_queued(model, queue_north):
    make_agent_with(model, record_in_worker)
    model.script(Reply(calls=[Call("record_in_worker", {"name": "Ada"})]), "Recorded.")
    response = get_agent("helper").run("hi")
    run = get_agent("helper").enqueue_resume(response.run_id, {response.pending_approvals[0].id: True})
    assert run.wait(60) == "success"
    assert run.response().content == "Recorded."


@pytest.mark.parametrize("fault", [Reply("no", status=400), Reply(raw=b"<html>")])
def test_what_does_not_pass_is_not_tried_again(model, queue, queue_north, fault):
    make_agent(model)
    model.script(fault, "never asked")
    run = get_agent("helper").enqueue("hi")
    assert run.wait(60) == "failed"
    with pytest.raises(RunFailed) as caught:
        run.response()
    assert (caught.value.error_type, caught.value.status) == ("LLMAPIError", "failed")
    assert caught.value.invocation_id == row().pk
    time.sleep(0 if queue.is_immediate else 0.3)
    assert len(model.requests) == 1


def test_a_budget_is_not_tried_again(model, north):
    make_priced_agent(model, monthly_budget_usd="0.3")
    model.script(QUARTER)
    assert get_agent("helper").run("hi").cost_usd == 0.25
    run = get_agent("helper").enqueue("hi")
    assert run.wait(60) == "budget_exceeded"
    with pytest.raises(RunFailed, match="BudgetExceeded"):
        run.response()


def test_an_agent_that_was_switched_off_since_fails(model, queue_north):
    make_agent(model)
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        AgentConfig.objects.update(is_enabled=False)
    assert run.wait(60) == "failed"
    assert row().error_type == AgentDisabled.__name__


def test_a_task_that_is_delivered_twice_runs_the_agent_once(model, queue, queue_north):
    make_agent(model)
    model.script(Reply("once", delay_s=0.5))
    run = get_agent("helper").enqueue("hi")
    for pool in POOLS * 3:
        current_app.conf.task_default_queue = pool
        queue.deliver_again(run.run_id)
    assert run.wait(60) == "success"
    time.sleep(0 if queue.is_immediate else 1)
    assert len(model.requests) == 1
    assert row().rounds_count == 1


def test_a_worker_that_is_killed_leaves_rows_that_tell_the_truth(model, queueing, north, redis_url, tmp_path):
    """Redelivered, the task finds the run begun and does nothing: what was done outside is not done twice."""
    make_agent_with(model, act_once)
    outside = tmp_path / "outside"
    model.script(Reply(calls=[Call("act_once", {"where": str(outside), "dies": True})]), "never asked")
    queueing.conf.task_default_queue = "doomed"
    run = get_agent("helper").enqueue("hi")
    with worker(redis_url, "doomed", "--pool", "prefork", "-c", "1") as doomed:
        doomed.wait_until_ready()
        # The pool has a new process, and the task is delivered again.
        wait_for(lambda: doomed.log.read_text().count("zango_ai.run") >= 3, doomed.process, doomed.log)
    assert outside.read_text() == "x"
    assert run.status == "running"
    let_pass(200)
    assert "1 abandoned" in maintained()
    assert run.status == "abandoned"
    assert ToolCall.objects.get().status == "error"
    assert outside.read_text() == "x"


@on_workers
def test_a_run_that_was_queued_while_no_worker_was_there_is_run_by_the_next(model, queue, queue_north):
    make_agent(model)
    queue.without_worker()
    run = get_agent("helper").enqueue("hi")
    with queue.late_worker():
        assert run.wait(60) == "success"


def test_a_database_worker_that_is_killed_leaves_rows_that_tell_the_truth(model, tasks, tmp_path):
    with schema_context("north"):
        make_agent_with(model, act_once)
        outside = tmp_path / "outside"
        model.script(Reply(calls=[Call("act_once", {"where": str(outside), "dies": True})]), "never asked")
        tasks.without_worker()
        run = get_agent("helper").enqueue("hi")
        with tasks.late_worker() as doomed:
            doomed.process.wait(60)
        assert outside.read_text() == "x"
        assert run.status == "running"
        let_pass(200)
        assert "1 abandoned" in maintained()
        tasks.use("immediate")
        tasks.deliver_again(run.run_id)
        assert run.status == "abandoned"
        assert outside.read_text() == "x"


def test_a_broker_that_is_away_is_told_and_the_run_has_failed(model, queueing, north):
    make_agent(model)
    with app("redis://127.0.0.1:1/0") as dead:
        dead.conf.task_publish_retry = False
        with pytest.raises(QueueUnavailable, match="CELERY_BROKER_URL"):
            get_agent("helper").enqueue("hi")
        assert (row().status, row().error_type) == ("failed", "QueueUnavailable")
        Invocation.objects.all().delete()
        with transaction.atomic():
            run = get_agent("helper").enqueue("hi")
        assert run.status == "failed"


def test_the_end_of_a_run_is_told(model, north):
    told = []

    def listen(**said):
        told.append((said["agent_name"], said["status"], said["schema"], active_schema()))
        raise RuntimeError("a receiver that fails harms nothing")

    run_finished.connect(listen)
    try:
        make_agent(model)
        model.script("fine", Reply("no", status=400))
        get_agent("helper").run("hi")
        with pytest.raises(Exception, match="400"):
            get_agent("helper").run("hi")
        with transaction.atomic():
            get_agent("helper").enqueue("hi")
            transaction.set_rollback(True)
        let_pass(10_000)
        maintained()
    finally:
        run_finished.disconnect(listen)
    assert [status for _, status, *_ in told] == ["success", "failed", "cancelled"]
    assert {each[2:] for each in told} == {("north", "north")}


class Finding(BaseModel):
    value: str


def test_a_type_holds_through_retries_and_approvals(model, queue_north):
    """Only the first attempt knew of it: what did not match was a success after a retry."""
    make_agent_with(model, record_in_worker)
    down = Reply("down", status=503, headers={"retry-after": "0"})
    helper = get_agent("helper")
    model.script(down, '{"value": "6.4"}')
    first = helper.enqueue("hi", output_type=Finding)
    assert first.wait(60) == "success"
    assert first.response().parsed_content == Finding(value="6.4")
    assert get_run(first.run_id).response().parsed_content == {"value": "6.4"}
    model.script(down, '{"other": 1}')
    assert helper.enqueue("hi", output_type=Finding).wait(60) == "failed"
    model.script(Reply(calls=[Call("record_in_worker", {"name": "Ada"})]), '{"other": 1}')
    third = get_agent("helper").enqueue("hi", output_type=Finding)
    assert third.wait(60) == "awaiting_approval"
    with pytest.raises(OutputValidationError):
        get_agent("helper").resume(third.run_id, {third.response().pending_approvals[0].id: True})
    assert all("response_format" in request.body for request in model.requests)


@dataclass
class Dated:
    day: date


def test_a_type_is_named_again_in_another_process(model, queue_north):
    make_agent(model)
    model.script('{"day": "2026-01-02"}')
    run = get_agent("helper").enqueue("hi", output_type=Dated, stream=True)
    assert run.wait(60) == "success"
    found = get_run(run.run_id, output_type=Dated)
    expected = Dated(date(2026, 1, 2))
    assert [each.response().parsed_content for each in (run, found)] == [expected, expected]
    assert list(run.stream())[-1].response.parsed_content == expected
    assert get_run(str(run.run_id)).response().parsed_content == {"day": "2026-01-02"}


def test_a_stored_answer_that_is_not_of_the_type_is_an_error_of_that_run(model, queue_north):
    make_agent(model)
    model.script('{"value": "6.4"}', "Six.")
    run = get_agent("helper").enqueue("hi", output_type=Finding)
    assert run.wait(60) == "success"
    text = get_agent("helper").enqueue("hi")
    assert text.wait(60) == "success"
    with pytest.raises(OutputValidationError, match="day") as caught:
        get_run(run.run_id, output_type=Dated).response()
    assert caught.value.invocation_id == Invocation.objects.get(run_id=run.run_id).pk
    with pytest.raises(OutputParseError):
        get_run(text.run_id, output_type=Dated).response()
    assert text.response().parsed_content is None
    with pytest.raises(TypeError, match="output_type is the str"):
        get_run(run.run_id, output_type="Dated")


def test_a_limit_of_rounds_holds_through_retries(model, queue_north):
    make_agent_with(model, act_once)
    down = Reply("down", status=503, headers={"retry-after": "0"})
    model.script(Reply(calls=[Call("act_once", {"where": "x"})]), down, "final")
    run = get_agent("helper").enqueue("hi", max_tool_rounds=1)
    run.wait(60)
    assert run.response().stop_reason == "max_tool_rounds"


@on_workers
def test_a_task_that_is_delivered_twice_while_it_is_to_wait_waits(model, queue, queue_north):
    """Each delivery asked the provider again, whatever it had said about waiting."""
    make_agent(model)
    model.script(Reply("busy", status=429, headers={"retry-after": "4"}), "at last")
    run = get_agent("helper").enqueue("hi")
    deadline = time.monotonic() + 30
    while row().error_type == "" and time.monotonic() < deadline:
        time.sleep(0.05)
    for _ in range(4):
        queue.deliver_again(run.run_id)
    time.sleep(1.5)
    assert len(model.requests) == 1
    assert run.wait(60) == "success"
    assert len(model.requests) == 2


def test_the_caller_owns_the_conversation_that_is_opened_again(model, north):
    agent = make_agent(model, short_term_memory=True)
    helper = get_agent("helper")
    helper.run("hi", session_id="s")  # without an owner
    with transaction.atomic():
        run = helper.enqueue("secret", session_id="s", user_ref="ada")
        helper.clear_session("s")
    assert run.wait(60) == "success"
    with pytest.raises(SessionNotOwned):
        helper.run("tell me", session_id="s", user_ref="ben")
    assert agent.pk


def test_an_agent_that_takes_a_deleted_ones_name_takes_not_its_runs(model, north):
    agent = make_agent(model)
    with transaction.atomic():
        run = get_agent("helper").enqueue("hi")
        provider = agent.provider
        agent.delete()
        make_agent(model, provider=provider)
    assert run.wait(60) == "failed"
    assert row().error_type == "AgentNotFound"
    assert model.requests == []


def test_eager_celery_runs_it_with_the_commit(model, live_north):
    make_agent(model)
    with app("memory://") as made:
        made.conf.task_always_eager = True
        model.script(Reply("down", status=503, headers={"retry-after": "30"}), "here")
        with transaction.atomic():
            run = get_agent("helper").enqueue("hi")
            assert run.status == "queued"
        assert run.status == "success"
        assert run.response().content == "here"


def test_a_broker_that_refuses_is_told_as_the_end(model, queueing, north):
    told = []

    def listen(**said):
        told.append(said["status"])

    run_finished.connect(listen)
    make_agent(model)
    try:
        with app("redis://127.0.0.1:1/0") as dead:
            dead.conf.task_publish_retry = False
            with pytest.raises(QueueUnavailable) as caught:
                get_agent("helper").enqueue("hi")
    finally:
        run_finished.disconnect(listen)
    assert told == ["failed"]
    assert caught.value.invocation_id == row().pk
