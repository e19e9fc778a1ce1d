"""Replays that workers execute: the recorded results answer their calls, nothing is executed or remembered."""

import uuid

import pytest

from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_prompt
from tests.together import wait_until
from tests.worker_tasks import act_once
from zango_ai import get_agent, tool
from zango_ai.configuration.overrides import Overrides
from zango_ai.ledger import removal
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, Provider, ToolCall
from zango_ai.runs import replay_batch
from zango_ai.testing import Call, Reply
from zango_ai.types import PromptSpec

pytestmark = pytest.mark.usefixtures("queue_north")
on_workers = pytest.mark.parametrize("queue", ["celery", "database"], indirect=True)
on_one_worker = pytest.mark.parametrize("queue", ["database"], indirect=True)
counted = []


@tool(description="Count the patients.")
def count_for_queued_replay(ward: str) -> str:
    counted.append(ward)
    return f"{ward}: {len(counted)}"


def enqueue(count=10, overrides=None):
    """Queue replays of the agent's last runs. The batch, and what became of each."""
    batch, runs = uuid.uuid4(), replay_batch.last_runs("helper", count)
    each = replay_batch.enqueue_each(runs, overrides or Overrides(), replayed_by="9", batch_id=batch)
    return batch, list(each)


def ended(batch):
    """The rows of the batch when all have ended, in the order of the runs that they repeat."""
    rows = Invocation.objects.filter(replay_batch=batch)
    wait_until(lambda: not rows.filter(status__in=replay_batch.UNFINISHED).exists())
    return list(rows.order_by("replay_of_id"))


def results_of(row):
    calls = ToolCall.objects.filter(round__invocation=row).order_by("round__number", "position")
    return [call.result for call in calls]


def test_a_worker_replays_with_the_candidate_and_remembers_nothing(model, queue):
    prompt = make_prompt("Help {{ who }}.", "system")
    make_agent(model, system_prompt=prompt, short_term_memory=True)
    model.script("one", "two", "again", "again")
    first = get_agent("helper").run("Hello", system_variables={"who": "Ada"}, user_ref="7")
    get_agent("helper").run("And?", system_variables={"who": "Ada"}, user_ref="7", session_id=first.session_id)
    remembered = list(MemoryMessage.objects.values_list("content", flat=True))
    draft = PromptSpec(prompt.name, None, "Serve {{ who }} well.")
    batch, queued = enqueue(overrides=Overrides(model="gpt-4.1-nano", system_prompt=draft))
    rows = ended(batch)
    assert {each.replay_id for each in queued} == {row.pk for row in rows}
    assert [each.error for each in queued] == [None, None]
    for row in rows:
        assert (row.status, row.response_content, row.model) == ("success", "again", "gpt-4.1-nano")
        assert (row.replayed_by, row.triggered_by, row.user_ref) == ("9", "user", "7")
        assert (row.session_id, row.resume_state) == (first.session_id, "")
        assert (row.system_prompt_version, row.rendered_system_prompt) == (None, "Serve Ada well.")
        assert row.celery_task_id
    sent = [len(request.body["messages"]) for request in model.requests[2:]]
    assert sorted(sent) == [2, 4]  # with the history that each run has sent
    assert list(MemoryMessage.objects.values_list("content", flat=True)) == remembered


def test_no_worker_executes_a_tool(model, queue, tmp_path):
    make_agent_with(model, act_once)
    trace = tmp_path / "trace"
    known, fatal = {"where": str(trace)}, {"where": str(trace), "dies": True}
    model.script(Reply(calls=[Call("act_once", known)]), "done")
    get_agent("helper").run("Act")
    model.script(Reply(calls=[Call("act_once", known), Call("act_once", fatal)]), "replayed")
    batch, _queued = enqueue()
    (row,) = ended(batch)
    assert (row.status, row.response_content) == ("success", "replayed")
    recorded, unknown = results_of(row)
    assert recorded == "done"
    assert "with other arguments" in unknown["message"]
    assert not trace.exists()


@on_workers
def test_a_retried_replay_goes_on_with_the_next_recorded_result(model, queue):
    make_agent_with(model, count_for_queued_replay)
    counted.clear()
    again = Reply(calls=[Call("count_for_queued_replay", {"ward": "A"})])
    model.script(again, again, "two")
    get_agent("helper").run("Count twice")
    model.script(again, Reply("busy", status=503, headers={"retry-after": "0"}), again, "two again")
    batch, _queued = enqueue()
    (row,) = ended(batch)
    assert (row.status, row.response_content, row.error_type) == ("success", "two again", "")
    assert results_of(row) == ["A: 1", "A: 2"]
    assert counted == ["A", "A"]
    told = [each["content"] for each in model.requests[-1].body["messages"] if each["role"] == "tool"]
    assert told == ["A: 1", "A: 2"]


@on_one_worker
def test_a_retried_replay_finds_calls_whose_arguments_were_redacted(model, queue, settings):
    make_agent_with(model, count_for_queued_replay)
    counted.clear()
    settings.ZANGO_AI = {**settings.ZANGO_AI, "REDACT": lambda text: text.replace("Rex", "<PET>")}
    queue.use("immediate")  # the setting cannot be sent to another process
    again = Reply(calls=[Call("count_for_queued_replay", {"ward": "Rex"})])
    model.script(again, again, "two")
    get_agent("helper").run("Count twice")
    model.script(again, Reply("busy", status=503, headers={"retry-after": "0"}), again, "two again")
    batch, _queued = enqueue()
    (row,) = ended(batch)
    assert results_of(row) == ["<PET>: 1", "<PET>: 2"]


@on_workers
def test_budgets_hold_for_the_replays_of_a_batch(model, queue):
    make_priced_agent(model)
    model.script(*[QUARTER] * 6)
    for number in range(3):
        get_agent("helper").run(f"Hello {number}")
    Provider.objects.update(monthly_budget_usd="1.25")
    batch, _queued = enqueue()
    assert sorted(row.status for row in ended(batch)) == ["budget_exceeded", "success", "success"]
    assert len(model.requests) == 5


@on_workers
def test_a_batch_is_cancelled_before_a_worker_takes_it(model, queue):
    make_agent(model)
    for number in range(2):
        get_agent("helper").run(f"Hello {number}")
    queue.without_worker()
    batch, _queued = enqueue()
    other, _queued = enqueue(count=1)
    assert replay_batch.cancel(batch) == 2
    assert replay_batch.cancel(batch) == 0
    with queue.late_worker():
        assert [row.status for row in ended(other)] == ["success"]
    assert [row.status for row in ended(batch)] == ["cancelled", "cancelled"]
    assert len(model.requests) == 3


@on_one_worker
def test_a_replay_whose_run_is_gone_when_a_worker_takes_it_says_why(model, queue):
    make_agent(model)
    kept, removed = (get_agent("helper").run(f"Hello {number}").invocation_id for number in range(2))
    queue.without_worker()
    batch, _queued = enqueue()
    removal.remove_texts("north", [removed])
    removal.delete_runs("north", [kept])
    with queue.late_worker():
        gone, empty = ended(batch)
    assert (gone.error_type, empty.error_type) == ("RunNotFound", "RunNotReplayable")
    assert "Its texts were removed" in empty.error_message
    assert len(model.requests) == 2


@on_one_worker
def test_a_switched_off_agent_sends_no_replay(model, queue):
    make_agent(model)
    get_agent("helper").run("Hello")
    AgentConfig.objects.update(is_enabled=False)
    batch, _queued = enqueue()
    assert [row.error_type for row in ended(batch)] == ["AgentDisabled"]


@on_one_worker
def test_a_queue_that_is_away_ends_the_batch_at_its_first_replay(model, queue):
    make_agent(model)
    for number in range(3):
        get_agent("helper").run(f"Hello {number}")
    queue.use("away")
    batch, queued = enqueue()
    assert [type(each.error).__name__ for each in queued] == ["QueueUnavailable"]
    row = Invocation.objects.get(replay_batch=batch)
    assert (row.status, row.error_type, row.pk) == ("failed", "QueueUnavailable", queued[0].replay_id)
