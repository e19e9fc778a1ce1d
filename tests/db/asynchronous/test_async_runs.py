"""``arun()`` and ``astream()``: they are ``run()`` and ``stream()`` on an event loop."""

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
from functools import partial

import pytest
from asgiref.current_thread_executor import CurrentThreadExecutor
from asgiref.sync import AsyncToSync, async_to_sync, sync_to_async
from django.db import connection, connections, transaction

from tests.build import QUARTER, make_agent, make_priced_agent, make_provider
from tests.children import new_interpreter, said
from tests.schemas import active_schema, all_tenants, needs_tenants, schema_context, tenant_context
from zango_ai import LLMFile, LLMMessage, aget_agent, get_agent, get_provider
from zango_ai.exceptions import (
    AgentNotFound,
    BudgetExceeded,
    InputRequired,
    LLMAPIError,
    LLMTimeoutError,
    OutputParseError,
    RateLimitExceeded,
    WrongTenant,
)
from zango_ai.ledger import reconciliation
from zango_ai.ledger.recorder import RunRecorder
from zango_ai.models import AgentConfig, Invocation, InvocationFile, MemoryMessage, Spend
from zango_ai.providers.kinds import KINDS
from zango_ai.runs import async_context
from zango_ai.testing import Reply

TEXT = "Take two a day,\n\nwith water — and  rest."
LONG = "one two three four five six"
COLUMNS = ("status", "input_tokens", "output_tokens", "cost_usd", "response_content", "stop_reason", "rounds_count")


def row():
    return Invocation.objects.order_by("-pk").first()


def spending():
    assert list(reconciliation.find_drift("north")) == []
    return {each.owner: (each.spent_usd, each.reserved_usd) for each in Spend.objects.all()}


async def arun(text="hi", **arguments):
    agent = await aget_agent("helper")
    return await agent.arun(text, **arguments)


async def astream(text="hi", **arguments):
    agent = await aget_agent("helper")
    return [chunk async for chunk in agent.astream(text, **arguments)]


async def streamed(text="hi", **arguments):
    return (await astream(text, **arguments))[-1].response


def run_loop(coroutine):
    """In the thread that has the tenant, as a script does."""
    return asyncio.run(coroutine)


def run_from_sync_code(coroutine):
    """In another thread than the tenant's, as Django does for an async view under WSGI."""

    async def call():
        return await coroutine

    return async_to_sync(call)()


@pytest.mark.parametrize("way", [arun, streamed])
@pytest.mark.parametrize("kind", KINDS)
def test_an_async_answer_is_that_of_run_and_costs_the_same(model, live_north, kind, way):
    make_agent(model, provider=make_provider(model, kind=kind))
    reply = Reply(TEXT, input_tokens=1000, output_tokens=200)
    model.script(reply, reply)
    response = asyncio.run(way())
    asynchronous = row()
    whole = get_agent("helper").run("hi")
    assert response.content == whole.content == TEXT
    first, second = model.requests
    assert {**first.body, "stream": None, "stream_options": None} == {
        **second.body,
        "stream": None,
        "stream_options": None,
    }
    if kind == "mistral" and way is streamed:  # the local model server sends no usage there
        return
    assert (response.usage, response.cost_usd) == (whole.usage, whole.cost_usd)
    assert [getattr(asynchronous, name) for name in COLUMNS] == [getattr(row(), name) for name in COLUMNS]


@pytest.mark.parametrize("run", [run_loop, run_from_sync_code])
def test_an_async_stream_arrives_while_the_model_writes(model, live_north, run):
    make_agent(model)
    model.script(Reply(LONG, stalls_after=4))

    async def main():
        agent = await aget_agent("helper")
        async with contextlib.aclosing(agent.astream("hi")) as chunks:
            return await anext(chunks)

    first = run(main())
    assert (first.type, first.number, first.text) == ("text", 1, "one")
    model.wait_for_abandoned(1)
    assert (row().status, row().response_content) == ("cancelled", "one")


def test_a_run_whose_thread_has_ended_is_settled(model, live_north, monkeypatch):
    make_agent(model)
    model.script(Reply(LONG, stalls_after=4))
    tenant = all_tenants()["north"]
    monkeypatch.setattr(async_context, "of_event_loop", lambda: async_context._CallersThread(tenant))
    ended = CurrentThreadExecutor(None)
    ended._broken = True

    async def main():
        agent = await aget_agent("helper")
        async with contextlib.aclosing(agent.astream("hi")) as chunks:
            await anext(chunks)
            await sync_to_async(connections.close_all)()
            AsyncToSync.executors.current = ended

    asyncio.run(main())
    model.wait_for_abandoned(1)
    assert (row().status, row().response_content) == ("cancelled", "one")


@pytest.mark.parametrize("run", [run_loop, run_from_sync_code])
@pytest.mark.parametrize("way", [arun, streamed])
def test_an_async_run_is_rolled_back_with_its_test(model, north, run, way):
    agent = make_agent(model, short_term_memory=True)
    response = run(way("hi", session_id="s"))
    assert row().status == "success"
    assert response.invocation_id == row().pk
    assert MemoryMessage.objects.filter(session__agent=agent).count() == 2
    threads = {thread.name for thread in threading.enumerate()}
    with contextlib.suppress(KeyError), transaction.atomic():
        run(way("again", session_id="s"))
        raise KeyError
    assert Invocation.objects.count() == 2  # the log survives the rollback of the code under test
    assert "zango-ai-sync-tool" not in threads


@pytest.mark.parametrize("run", [run_loop, run_from_sync_code])
def test_an_async_run_sees_what_its_caller_has_not_committed(model, live_north, run):
    with contextlib.suppress(KeyError), transaction.atomic():
        make_agent(model)
        assert run(arun()).content
        raise KeyError
    assert not AgentConfig.objects.exists()
    assert row().status == "success"


@pytest.mark.parametrize("way", [arun, streamed])
@pytest.mark.parametrize(
    ("reply", "error", "status"),
    [
        (Reply("no", status=500), LLMAPIError, "failed"),
        (Reply("slow down", status=429, headers={"retry-after": "7"}), RateLimitExceeded, "rate_limited"),
        (Reply(hang_up=True), LLMAPIError, "failed"),
        (Reply(delay_s=5), LLMTimeoutError, "timeout"),
        (Reply(raw=b"<html>"), LLMAPIError, "failed"),
        (Reply("no json"), OutputParseError, "failed"),
    ],
    ids=["500", "429", "hang-up", "timeout", "html", "json"],
)
def test_an_async_run_raises_the_errors_of_run(model, live_north, way, reply, error, status):
    schema = "json" if error is OutputParseError else "text"
    make_agent(model, timeout_seconds=1, output_schema=schema, output_retries=0)
    model.script(reply)
    with pytest.raises(error) as caught:
        asyncio.run(way())
    assert caught.value.invocation_id == row().pk
    assert row().status == status
    model.script(reply)
    with pytest.raises(error) as synchronous:
        get_agent("helper").run("hi")
    assert type(caught.value) is type(synchronous.value)
    if way is arun:
        assert str(caught.value) == str(synchronous.value)


@pytest.mark.parametrize("way", [arun, streamed])
def test_an_async_run_is_retried_and_falls_back(model, live_north, way):
    provider = make_provider(model, max_retries=1)
    make_agent(model, provider=provider)
    model.script(Reply(status=500), Reply("Late."))
    assert asyncio.run(way()).content == "Late."
    assert [each.status for each in row().rounds.order_by("number")] == ["failed", "success"]


def test_limits_and_memory_hold_in_async_runs(model, live_north):
    agent = make_priced_agent(model, monthly_budget_usd=1, short_term_memory=True)
    model.script(*[QUARTER] * 4)

    async def main():
        one = await aget_agent("helper")
        results = await asyncio.gather(
            *(one.arun(f"q{number}", session_id="s") for number in range(8)), return_exceptions=True
        )
        return [type(result).__name__ for result in results]

    results = asyncio.run(main())
    assert sorted(results) == ["BudgetExceeded"] * 4 + ["LLMResponse"] * 4
    assert spending()["provider"] == (1, 0)
    messages = MemoryMessage.objects.filter(session__agent=agent).order_by("sequence")
    assert [each.sequence for each in messages] == list(range(1, 9))
    assert [each.role for each in messages] == ["user", "assistant"] * 4


def test_arguments_are_those_of_run(model, live_north):
    make_agent(model)

    async def main():
        agent = await aget_agent("helper")
        with pytest.raises(TypeError, match=r"arun\(\) got an unexpected keyword argument 'sesion_id'"):
            await agent.arun("hi", sesion_id="s")
        with pytest.raises(ValueError, match="triggered_by"):
            await agent.arun("hi", triggered_by="robot")
        with pytest.raises(TypeError, match=r"astream\(\) got an unexpected keyword argument"):
            agent.astream("hi", sesion_id="s")
        with pytest.raises(InputRequired):
            await agent.arun()
        with pytest.raises(AgentNotFound, match="Did you mean 'helper'"):
            await aget_agent("helpr")
        file = LLMFile.from_bytes(b"a,b", "text/csv", "a.csv")
        return await agent.arun(messages=[LLMMessage("user", "hi")], files=[file], output_type={"type": "object"})

    model.script('{"a": 1}')
    assert asyncio.run(main()).parsed_content == {"a": 1}
    assert InvocationFile.objects.get().filename == "a.csv"


@needs_tenants
def test_runs_of_two_tenants_on_one_loop_stay_apart(model, live_tenants):
    for schema in ("north", "south"):
        with schema_context(schema):
            make_agent(model)
    clinics = all_tenants()

    async def ask(schema, number):
        with tenant_context(clinics[schema]):
            agent = await aget_agent("helper")
            response = await agent.arun(f"{schema} {number}")
            chunks = [chunk async for chunk in agent.astream(f"{schema} {number}")]
            return schema, response.run_id, chunks[-1].response.run_id

    async def main():
        runs = [ask(schema, number) for number in range(6) for schema in clinics]
        results = await asyncio.gather(*runs)
        with tenant_context(clinics["north"]):
            agent = await aget_agent("helper")
        with tenant_context(clinics["south"]), pytest.raises(WrongTenant):
            await agent.arun("hi")
        with pytest.raises(WrongTenant):
            await agent.arun("hi")
        return results

    results = asyncio.run(main())
    for schema in clinics:
        with schema_context(schema):
            expected = {run_id for each, *run_ids in results if each == schema for run_id in run_ids}
            rows = Invocation.objects.filter(status="success")
            assert set(rows.values_list("run_id", flat=True)) == expected
            assert all(text.startswith(schema) for text in rows.values_list("rendered_user_prompt", flat=True))
    assert active_schema() == "public"


@needs_tenants
def test_no_tenant_is_an_error_that_says_so(model, live_tenants):
    with pytest.raises(AgentNotFound, match="No tenant is active"):
        asyncio.run(aget_agent("helper"))


@needs_tenants
def test_what_an_earlier_event_loop_has_left_active_is_not_the_tenant(model, live_tenants):
    with schema_context("north"):
        make_agent(model)
    south = all_tenants()["south"]
    shared = contextvars.copy_context()

    async def leave_active():
        connection.set_tenant(south)
        with pytest.raises(AgentNotFound):
            await aget_agent("helper")

    with asyncio.Runner() as runner:
        runner.run(leave_active(), context=shared)
    with schema_context("north"), asyncio.Runner() as runner:
        assert runner.run(arun(), context=shared).invocation_id == Invocation.objects.get().pk


def test_two_hundred_runs_need_no_thread_each(model, live_north):
    make_agent(model)
    model.script(*[Reply("ok", delay_s=0.3)] * 200)
    most = 0

    async def main():
        nonlocal most
        agent = await aget_agent("helper")
        tasks = [asyncio.create_task(agent.arun(f"q{number}")) for number in range(200)]
        while not all(task.done() for task in tasks):
            own = [thread for thread in threading.enumerate() if thread.name.startswith(("zango", "asyncio"))]
            most = max(most, len(own))
            await asyncio.sleep(0.02)
        return await asyncio.gather(*tasks)

    responses = asyncio.run(main())
    assert len({response.run_id for response in responses}) == 200
    assert most <= 16
    assert Invocation.objects.filter(status="success").count() == 200


def waiting_for_the_model(model):
    """A coroutine that ends when the model server has a request."""
    return asyncio.to_thread(model.wait_for_requests, 1)


@pytest.mark.parametrize("run", [run_loop, run_from_sync_code])
def test_cancelling_the_task_ends_the_run_as_cancelled(model, live_north, run):
    make_priced_agent(model)
    model.script(Reply("never", delay_s=30))

    async def main():
        task = asyncio.create_task(arun())
        await waiting_for_the_model(model)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert (row().status, row().rounds.get().status) == ("cancelled", "cancelled")
    spent, reserved = spending()["provider"]
    assert spent > 0
    assert reserved == 0


@pytest.mark.parametrize("way", [arun, streamed])
def test_a_run_that_is_cancelled_before_it_sends_costs_nothing(model, live_north, way, monkeypatch):
    make_priced_agent(model)
    reserve_round = RunRecorder.reserve_round
    tasks = []

    def reserve_and_be_cancelled(*arguments):
        reserve_round(*arguments)
        cancelled = threading.Event()
        loop = tasks[0].get_loop()
        loop.call_soon_threadsafe(tasks[0].cancel)
        loop.call_soon_threadsafe(cancelled.set)
        assert cancelled.wait(10)

    monkeypatch.setattr(RunRecorder, "reserve_round", reserve_and_be_cancelled)

    async def main():
        tasks.append(asyncio.create_task(way()))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]

    asyncio.run(main())
    assert (row().status, row().cost_usd, row().rounds.get().cost_usd) == ("cancelled", 0, 0)
    assert spending()["provider"] == (0, 0)
    assert model.requests == []


def test_a_timeout_around_an_async_run_cancels_it(model, live_north):
    make_priced_agent(model)
    model.script(Reply("never", delay_s=30))

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await arun()

    asyncio.run(main())
    assert row().status == "cancelled"
    assert spending()["provider"][1] == 0


def test_cancelling_a_reader_bills_what_the_model_has_written(model, live_north):
    make_priced_agent(model, short_term_memory=True)
    model.script(Reply(LONG, stalls_after=4))
    begun = asyncio.Event()

    async def read(agent):
        async for _chunk in agent.astream("hi", session_id="s"):
            begun.set()

    async def main():
        task = asyncio.create_task(read(await aget_agent("helper")))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    model.wait_for_abandoned(1)
    assert row().status == "cancelled"
    assert row().response_content == "one two three"[: len(row().response_content)]
    assert row().rounds.get().is_usage_estimated
    assert spending()["provider"][1] == 0
    assert not MemoryMessage.objects.exists()


def test_an_abandoned_async_stream_is_cancelled(model, live_north):
    make_priced_agent(model)
    model.script(Reply(LONG, stalls_after=4))

    async def main():
        agent = await aget_agent("helper")
        async for _chunk in agent.astream("hi"):
            break
        unread = agent.astream("never read")
        del unread
        gc.collect()
        await asyncio.to_thread(model.wait_for_abandoned, 1)

    asyncio.run(main())  # at its end, the loop waits for the run's end
    assert [each.status for each in Invocation.objects.all()] == ["cancelled"]
    assert spending()["provider"][1] == 0


@pytest.mark.parametrize("is_busy", [False, True], ids=["begun", "waiting for a thread"])
def test_a_step_is_completed_by_a_loop_that_ends(live_north, is_busy):
    done = []

    def step():
        time.sleep(0.3)
        done.append("step")

    async def main():
        context = await async_context.of_caller()
        before = [context.complete(partial(time.sleep, 0.3)) for _ in range(async_context.STEP_THREADS * is_busy)]
        tasks = [asyncio.create_task(each) for each in (*before, context.complete(step))]
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks)

    asyncio.run(main())
    assert done == ["step"]


def test_a_loop_that_ends_cancels_its_runs(model, live_north):
    make_priced_agent(model)
    model.script(Reply("never", delay_s=30))
    tasks = []

    async def main():
        tasks.append(asyncio.create_task(arun()))
        await waiting_for_the_model(model)

    asyncio.run(main())
    assert row().status == "cancelled"
    assert spending()["provider"][1] == 0


def test_sessions_and_queue_from_async_code(model, live_north, settings):
    agent = make_agent(model, short_term_memory=True)
    settings.CELERY_TASK_ALWAYS_EAGER = True

    async def main():
        one = await aget_agent("helper")
        await one.arun("hi", session_id="s")
        return await one.aclear_session("s"), await one.aclear_session("s")

    assert asyncio.run(main()) == (True, False)
    assert not MemoryMessage.objects.filter(session__agent=agent).exists()


def test_a_provider_streams_without_an_agent(model, live_north):
    make_provider(model)
    messages = [LLMMessage("user", "hi")]
    model.script(*[TEXT] * 3)
    chunks = list(get_provider("main").stream(messages, user_ref="7"))
    assert "".join(chunk.delta_text for chunk in chunks) == chunks[-1].response.content == TEXT
    assert (row().status, row().agent_id, row().user_ref) == ("success", None, "7")

    async def main():
        provider = await asyncio.to_thread(in_north, lambda: get_provider("main"))
        response = await provider.acomplete(messages)
        return response, [chunk async for chunk in provider.astream(messages)]

    response, chunks = asyncio.run(main())
    assert response.content == chunks[-1].response.content == TEXT
    assert Invocation.objects.filter(status="success", agent=None).count() == 3


def in_north(work):
    try:
        with schema_context("north"):
            return work()
    finally:
        connection.close()


def test_closing_a_providers_stream_cancels_the_call(model, live_north):
    make_provider(model)
    model.script(Reply(LONG, stalls_after=4))
    chunks = get_provider("main").stream([LLMMessage("user", "hi")])
    next(chunks)
    chunks.close()
    assert row().status == "cancelled"


def test_a_budget_of_nothing_refuses_an_async_run(model, live_north):
    make_priced_agent(model, monthly_budget_usd=0)
    with pytest.raises(BudgetExceeded):
        asyncio.run(arun())
    assert not model.requests


UNCLOSED = """
import asyncio, os, warnings
os.dup2(1, 2)
warnings.simplefilter("always", ResourceWarning)
from zango_ai import aget_agent
async def ask():
    return (await (await aget_agent("helper")).arun("hi")).content
loop = asyncio.new_event_loop()
print(get_agent("helper").run("hi").content, loop.run_until_complete(ask()))
"""


def test_a_process_that_ends_closes_its_connections_to_providers(model, live_north):
    make_agent(model)
    model.script("sync", "async")
    with new_interpreter(UNCLOSED) as process:
        printed = said(process)
    assert printed.startswith("sync async")
    assert "socket" not in printed
