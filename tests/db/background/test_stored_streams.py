"""Streams of background runs: stored while a worker writes them, and read in any process, live or afterwards."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from tests.build import make_agent, make_agent_with, make_priced_agent
from tests.children import child, said
from tests.db.log.test_maintenance import let_pass, maintained
from tests.schemas import schema_context
from tests.together import run_together, wait_until
from tests.worker_tasks import act_once, record_in_worker
from tests.workers import app, worker
from zango_ai import get_agent, get_run
from zango_ai.database import ledger_connection
from zango_ai.exceptions import RunFailed, RunNotFound
from zango_ai.models import Invocation, Spend, StreamChunk
from zango_ai.runs import stored_stream
from zango_ai.runs.resumption import execute_queued
from zango_ai.testing import Call, Reply

TEXT = "Take two a day,\n\nwith water — and  rest."
SLOW = Reply(TEXT, trickle_s=0.06)


@pytest.fixture
def live(queueing, live_north):
    """North is active, and a worker takes what is queued."""
    return queueing


def enqueue(text="hi", **arguments):
    return get_agent("helper").enqueue(text, stream=True, **arguments)


def kinds(chunks):
    """The types, with one ``text`` for each piece that follows another."""
    types = [chunk.type for chunk in chunks]
    return [each for before, each in zip([None, *types], types, strict=False) if (before, each) != ("text", "text")]


def text_of(chunks):
    return "".join(chunk.delta_text for chunk in chunks)


def numbers(chunks):
    return [chunk.number for chunk in chunks]


def row():
    return Invocation.objects.get()


def test_every_reader_sees_the_same_text_live_and_afterwards(model, queue, queue_north):
    make_priced_agent(model)
    model.script(SLOW)
    run = enqueue(user_ref="7")
    seen = {}
    run_together([lambda name=name: seen.update({name: list(run.stream())}) for name in ("one", "two")])
    afterwards = list(get_run(run.run_id).stream())
    assert seen["one"] == seen["two"] == afterwards
    assert kinds(afterwards) == ["text", "round_end", "final"]
    assert len(afterwards) > 4
    assert numbers(afterwards) == list(range(1, len(afterwards) + 1))
    assert text_of(afterwards) == afterwards[-1].response.content == TEXT
    assert afterwards[-1].response == run.response()
    assert len(model.requests) == 1
    assert Spend.objects.get(owner="provider").spent_usd == row().cost_usd > 0
    with schema_context("south"):
        assert not StreamChunk.objects.exists()
        assert list(run.stream()) == afterwards  # an EnqueuedRun keeps to its tenant
        with pytest.raises(RunNotFound):
            get_run(run.run_id)


def test_a_stream_is_read_before_the_answer_ends(model, live):
    make_agent(model)
    model.script(Reply(TEXT, stalls_after=4))
    run = enqueue()
    with closing(run.stream()) as chunks:
        first = next(chunks)
        assert (first.type, first.number) == ("text", 1)
        assert TEXT.startswith(first.text)
        assert run.status == "running"


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_reader_that_comes_back_goes_on_without_gap_or_repetition(model, live, after):
    make_agent(model)
    model.script(SLOW)
    run = enqueue()
    seen = []
    with closing(run.stream()) as chunks:
        while len(seen) < after:
            seen.append(next(chunks))
    rest = list(get_run(run.run_id).stream(after=after))
    assert numbers([*seen, *rest]) == list(range(1, len(rest) + after + 1))
    assert text_of([*seen, *rest]) == TEXT
    assert list(run.stream(after=rest[-1].number)) == []


READ = """
import sys, zango_ai
for chunk in zango_ai.get_run("{run_id}").stream(after={after}):
    print(chunk.number, chunk.type, repr(chunk.text), flush=True)
"""


def test_a_reader_in_another_process_may_be_killed_and_started_again(model, live):
    make_agent(model)
    model.script(SLOW)
    run = enqueue()
    with child(READ.format(run_id=run.run_id, after=0)) as process:
        first = process.stdout.readline()
        process.kill()
    with child(READ.format(run_id=run.run_id, after=1)) as process:
        rest = said(process)
    told = [f"{chunk.number} {chunk.type} {chunk.text!r}" for chunk in run.stream()]
    assert (first + rest).splitlines() == told
    assert len(model.requests) == 1


def test_many_async_readers_share_a_few_threads(model, live):
    make_agent(model)
    model.script(SLOW)
    run = enqueue()

    async def read():
        return [chunk async for chunk in run.astream()]

    async def read_all():
        readers = asyncio.gather(*(read() for _ in range(40)))
        await asyncio.sleep(0.05)
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("zango_ai")]
        assert len(names) <= 5, names
        return await readers

    with ThreadPoolExecutor(1) as server:
        seen = server.submit(asyncio.run, read_all()).result()
    assert seen == [list(run.stream())] * 40


def test_a_stream_goes_on_when_the_listening_connection_is_lost(model, live, monkeypatch):
    monkeypatch.setattr(stored_stream, "_MAX_POLL_S", 0.25)
    make_agent(model)
    model.script(SLOW)
    run = enqueue()
    with closing(run.stream()) as chunks:
        seen = [next(chunks)]
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%%'")
        seen += chunks
    assert text_of(seen) == TEXT


def test_a_stream_polls_where_listening_is_impossible(model, live, monkeypatch):
    def refuse(channel):
        raise OSError("This pooler knows no LISTEN")

    monkeypatch.setattr(ledger_connection, "listening", refuse)
    make_agent(model)
    model.script(SLOW)
    assert text_of(enqueue().stream()) == TEXT


def test_an_attempt_that_is_retried_resets_its_text(model, live):
    make_agent(model)
    model.script(Reply(TEXT, breaks_after=4), Reply("Better."))
    run = enqueue()
    wait_until(lambda: run.status == "queued" and StreamChunk.objects.exists())
    ends_retry_wait(run)
    chunks = list(run.stream())
    assert kinds(chunks) == ["text", "reset", "text", "round_end", "final"]
    assert numbers(chunks) == list(range(1, len(chunks) + 1))
    after_reset = chunks[[chunk.type for chunk in chunks].index("reset") :]
    assert text_of(after_reset) == chunks[-1].response.content == "Better."


def ends_retry_wait(run):
    """As if the time until the next attempt had passed."""
    execute_queued(str(run.run_id), celery_task_id="again", can_wait=False)


def test_tool_calls_are_stored_and_a_paused_stream_goes_on_after_the_approval(model, live):
    make_agent_with(model, act_once, record_in_worker)
    model.script(
        Reply("One.", calls=[Call("act_once", {"where": "x"}, id="1")]),
        Reply("Two.", calls=[Call("record_in_worker", {"name": "Ada"}, id="2")]),
        Reply("Done."),
    )
    run = enqueue()
    paused = list(run.stream())
    assert kinds(paused) == ["text", "round_end", "tool_call", "tool_result", "text", "round_end", "final"]
    calls = [chunk.tool_call for chunk in paused if chunk.tool_call]
    assert [(call.name, call.status, call.result) for call in calls] == [
        ("act_once", "running", None),
        ("act_once", "success", "done"),
    ]
    response = paused[-1].response
    assert response.stop_reason == "approval_required"
    assert list(run.stream(after=paused[-1].number)) == []
    answer = get_agent("helper").resume(run.run_id, {pending.id: True for pending in response.pending_approvals})
    rest = list(run.stream(after=paused[-1].number))
    assert kinds(rest) == ["tool_call", "tool_result", "text", "round_end", "final"]
    assert rest[0].number == paused[-1].number + 1
    assert rest[-1].response.content == answer.content == "Done."
    assert list(run.stream()) == [*paused[:-1], *rest]


def test_a_failed_run_raises_where_its_chunks_end(model, live):
    make_agent(model, output_schema="json", output_retries=0)
    model.script("no JSON")
    run = enqueue()
    seen = []
    with pytest.raises(RunFailed) as caught:
        for chunk in run.stream():
            seen.append(chunk)
    assert text_of(seen) == "no JSON"
    assert (caught.value.error_type, caught.value.run_id) == ("OutputParseError", run.run_id)


def test_readers_of_a_worker_that_is_killed_end_with_an_error(model, live, redis_url):
    make_agent(model)
    model.script(Reply(TEXT, stalls_after=4))
    live.conf.task_default_queue = "doomed"
    run = enqueue()
    with worker(redis_url, "doomed", "--pool", "threads", "-c", "1") as doomed:
        chunks = run.stream()
        seen = [next(chunks)]
        doomed.kill()
    let_pass(1_000)
    with pytest.raises(RunFailed) as caught:
        seen.extend(chunks)
    assert (caught.value.status, row().status) == ("abandoned", "abandoned")
    assert len(model.requests) == 1


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_run_without_stored_chunks_has_its_text_in_one_chunk(model, live, is_streamed):
    make_agent(model)
    model.script(Reply(TEXT, delay_s=0.2))
    run = get_agent("helper").enqueue("hi", stream=is_streamed)
    if is_streamed:
        list(run.stream())
        Invocation.objects.update(finished_at="2020-01-01T00:00:00Z")
        assert "stored chunks of streams deleted" in maintained()
        assert not StreamChunk.objects.exists()
    chunks = list(run.stream())
    assert [(chunk.type, chunk.number, chunk.text) for chunk in chunks] == [("text", 1, TEXT), ("final", 2, "")]
    assert list(run.stream(after=1)) == chunks[1:]
    assert list(run.stream(after=2)) == list(run.stream(after=5)) == []


def test_inside_a_test_eager_celery_stores_the_chunks_in_its_transaction(
    model, north, django_capture_on_commit_callbacks
):
    make_agent(model)
    model.script(TEXT)
    with app("memory://") as made:
        made.conf.task_always_eager = True
        with django_capture_on_commit_callbacks(execute=True):
            run = enqueue()

    async def read():
        return [chunk async for chunk in run.astream()]

    chunks = list(run.stream())
    assert text_of(chunks) == TEXT
    assert async_to_sync(read)() == chunks
    assert StreamChunk.objects.exists()
