"""``Agent.stream()``: the chunks that a caller reads, and what remains of a run that is streamed."""

import contextlib
import threading
from decimal import Decimal
from itertools import islice

import pytest
from django.db import connection
from patients.models import Patient

from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_prompt, make_provider
from tests.schemas import active_schema, all_tenants, needs_tenants, schema_context, tenant_context
from zango_ai import LLMFile, LLMStreamChunk, LLMUsage, ToolSafety, get_agent, tool
from zango_ai.exceptions import (
    AgentNotFound,
    BudgetExceeded,
    LLMAPIError,
    LLMTimeoutError,
    NotAwaitingApproval,
    OutputParseError,
    PromptRenderError,
    WrongTenant,
)
from zango_ai.ledger import reconciliation
from zango_ai.models import AgentConfig, Invocation, InvocationFile, MemoryMessage, Spend
from zango_ai.providers.kinds import KINDS
from zango_ai.signals import run_finished
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")

TEXT = "Take two a day,\n\nwith water — and  rest."
LONG = "one two three four five six"
COLUMNS = ("status", "input_tokens", "output_tokens", "cost_usd", "response_content", "stop_reason", "rounds_count")


@tool(name="admit", description="Admit a patient.", safety=ToolSafety.WRITE)
def admit(name: str) -> dict:
    Patient.objects.create(name=name, born="1957-03-09")
    return {"schema": active_schema(), "tenant": type(getattr(connection, "tenant", None)).__name__}


@tool(name="discharge", description="Discharge a patient.", requires_approval=True)
def discharge(name: str) -> str:
    return "done"


def stream(text="hi", **arguments):
    return get_agent("helper").stream(text, **arguments)


def kinds(chunks):
    """The types, with one ``text`` for each piece that follows another."""
    types = [chunk.type for chunk in chunks]
    return [each for before, each in zip([None, *types], types, strict=False) if (before, each) != ("text", "text")]


def said(chunks):
    return "".join(chunk.delta_text for chunk in chunks)


def row():
    return Invocation.objects.order_by("-pk").first()


def spending():
    assert list(reconciliation.find_drift("north")) == []
    return {each.owner: (each.spent_usd, each.reserved_usd) for each in Spend.objects.all()}


def read_until_error(chunks, error):
    seen = []
    with pytest.raises(error) as caught:
        for chunk in chunks:
            seen.append(chunk)
    return seen, caught.value


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_is_the_answer_of_run_and_costs_the_same(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind))
    reply = Reply(TEXT, input_tokens=1000, output_tokens=200)
    model.script(reply, reply)
    chunks = list(stream())
    streamed, response = row(), chunks[-1].response
    whole = get_agent("helper").run("hi")
    assert kinds(chunks) == ["text", "round_end", "final"]
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert len(chunks) > 5
    assert said(chunks) == response.content == whole.content == TEXT
    assert [chunk.is_final for chunk in chunks].count(True) == 1
    assert chunks[-1].usage == response.usage
    assert chunks[0].usage is None
    assert response.time_to_first_token_ms is not None
    assert streamed.rounds.get().time_to_first_token_ms <= response.time_to_first_token_ms <= response.latency_ms
    assert whole.time_to_first_token_ms is None
    assert (response.invocation_id, response.stop_reason) == (streamed.pk, whole.stop_reason)
    if kind == "mistral":  # the local model server sends Mistral's usage only if asked, which Mistral cannot be
        assert streamed.rounds.get().is_usage_estimated
        return
    assert (response.usage, response.cost_usd) == (whole.usage, whole.cost_usd)
    assert [getattr(streamed, name) for name in COLUMNS] == [getattr(row(), name) for name in COLUMNS]


def test_the_first_chunk_arrives_before_the_answer_ends(model):
    make_agent(model)
    model.script(Reply(LONG, stalls_after=4))
    with contextlib.closing(stream()) as chunks:
        first = next(chunks)
        assert first == LLMStreamChunk(type="text", number=1, text="one")
        assert row().status == "running"
    model.wait_for_abandoned(1)


def test_usage_that_the_vendor_does_not_send_is_charged_as_an_estimate(model):
    make_priced_agent(model)
    model.script(Reply(TEXT, sends_usage=False))
    *_, final = stream()
    round_ = row().rounds.get()
    assert round_.is_usage_estimated
    assert 0 < final.usage.output_tokens <= 1000
    assert round_.cost_usd == row().cost_usd == spending()["provider"][0] > 0


def test_each_tool_call_is_told_before_and_after(model):
    make_agent_with(model, admit)
    calls = [Call("admit", {"name": "Ada"}, id="1"), Call("admit", {}, id="2")]
    model.script(Reply("Let me see.", calls=calls), Reply("Done."))
    chunks = stream()
    seen = [next(chunks)]
    while seen[-1].type != "tool_call":
        seen.append(next(chunks))
    assert not Patient.objects.exists()
    assert (seen[-1].tool_call.status, seen[-1].tool_call.input) == ("running", {"name": "Ada"})
    result = next(chunks)
    assert Patient.objects.get().name == "Ada"
    assert (result.tool_call.id, result.tool_call.status) == ("1", "success")
    seen += [result, *chunks]
    tools = ["tool_call", "tool_result"] * 2
    assert kinds(seen) == ["text", "round_end", *tools, "text", "round_end", "final"]
    response = seen[-1].response
    results = [chunk.tool_call for chunk in seen if chunk.type == "tool_result"]
    assert response.tool_calls == results
    assert [call.status for call in results] == ["success", "invalid_arguments"]
    assert response.content == "Done."
    assert row().rounds_count == 2


def test_the_last_chunk_has_the_calls_that_wait_for_approval(model):
    make_agent_with(model, discharge)
    model.script(Reply("I shall.", calls=[Call("discharge", {"name": "Ada"})]), "Done.")
    chunks = list(stream())
    assert kinds(chunks) == ["text", "round_end", "final"]
    response = chunks[-1].response
    assert (response.stop_reason, row().status) == ("approval_required", "awaiting_approval")
    approvals = {pending.id: True for pending in response.pending_approvals}
    assert get_agent("helper").resume(response.run_id, approvals).content == "Done."


def test_the_rest_of_a_run_streams_after_an_approval(model):
    make_agent_with(model, discharge, short_term_memory=True)
    model.script(Reply("I shall.", calls=[Call("discharge", {"name": "Ada"})]), Reply(LONG))
    paused = list(stream())[-1].response
    approvals = {pending.id: True for pending in paused.pending_approvals}
    chunks = list(get_agent("helper").resume_stream(paused.run_id, approvals, decided_by="root"))
    assert kinds(chunks) == ["tool_call", "tool_result", "text", "round_end", "final"]
    assert sum(chunk.type == "text" for chunk in chunks) > 1
    assert said(chunks) == chunks[-1].response.content == LONG
    assert (row().status, MemoryMessage.objects.count()) == ("success", 4)
    with pytest.raises(NotAwaitingApproval):
        get_agent("helper").resume_stream(paused.run_id, approvals)


def test_closing_the_stream_of_a_resumed_run_cancels_it(model):
    make_agent_with(model, discharge)
    model.script(Reply(calls=[Call("discharge", {"name": "Ada"})]), Reply(LONG))
    paused = list(stream())[-1].response
    chunks = get_agent("helper").resume_stream(paused.run_id, {paused.pending_approvals[0].id: True})
    assert next(chunk for chunk in chunks if chunk.type == "text").text
    chunks.close()
    assert (row().status, row().cost_usd is not None) == ("cancelled", True)
    assert spending()["provider"][1] == 0


@pytest.mark.parametrize(("last", "is_paused"), [("round_end", False), ("final", False), ("final", True)])
def test_closing_at_the_last_chunks_does_not_change_the_run(model, last, is_paused):
    make_agent_with(model, discharge, short_term_memory=True)
    model.script(Reply("I shall.", calls=[Call("discharge", {"name": "Ada"})] if is_paused else []))
    for chunk in stream():
        if chunk.type == last:
            break
    assert row().status == ("awaiting_approval" if is_paused else "success")
    assert MemoryMessage.objects.count() == (0 if is_paused else 2)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "bedrock"])
@pytest.mark.parametrize("fault", [{"breaks_after": 4}, {"stalls_after": 4}])
def test_a_fallback_resets_the_text_of_the_round(model, kind, fault):
    agent = make_agent(model, provider=make_provider(model, kind=kind), timeout_seconds=2)
    other = make_provider(model, name="other")
    agent.fallbacks.create(provider=other, position=1)
    model.script(Reply(LONG, **fault), Reply("Better."))
    chunks = list(stream())
    assert kinds(chunks) == ["text", "reset", "text", "round_end", "final"]
    after = [chunk.type for chunk in chunks].index("reset")
    assert said(chunks[:after]).startswith("one")
    assert said(chunks[after:]) == chunks[-1].response.content == "Better."
    first, second = row().rounds.order_by("number")
    assert (first.status, second.status) == ("timeout" if "stalls_after" in fault else "failed", "success")
    assert first.response_content == said(chunks[:after])
    assert (first.is_usage_estimated, first.cost_usd is not None) == (True, True)
    assert row().cost_usd == first.cost_usd + second.cost_usd
    assert spending()["provider"][1] == 0


def test_a_retry_resets_the_text_before_it_waits(model):
    make_agent(model, provider=make_provider(model, max_retries=1))
    model.script(Reply(LONG, breaks_after=4), Reply("Better."))
    chunks = stream()
    seen = []
    for chunk in chunks:
        seen.append(chunk)
        if chunk.type == "reset":
            assert len(model.requests) == 1
    assert kinds(seen) == ["text", "reset", "text", "round_end", "final"]


def test_a_retry_before_any_text_resets_nothing(model):
    make_agent(model, provider=make_provider(model, max_retries=1))
    model.script(Reply("busy", status=500), Reply("ok"))
    assert kinds(stream()) == ["text", "round_end", "final"]


def test_a_correction_resets_the_text_of_the_round(model):
    make_agent(model, output_schema="json", output_retries=1)
    model.script("no JSON", '{"a": 1}')
    chunks = list(stream())
    assert kinds(chunks) == ["text", "reset", "text", "round_end", "final"]
    assert chunks[-1].response.parsed_content == {"a": 1}


def test_a_correction_after_the_last_round_of_tool_calls_resets_it_too(model):
    make_agent_with(model, admit, output_schema="json", output_retries=1)
    calls = [Call("admit", {"name": "Ada"})]
    model.script(Reply("no JSON", calls=calls), '{"a": 1}')
    chunks = list(stream(max_tool_rounds=0))
    assert kinds(chunks) == ["text", "tool_call", "tool_result", "reset", "text", "round_end", "final"]
    assert [chunk.tool_call.status for chunk in chunks if chunk.type == "tool_result"] == ["denied"]


def test_an_error_is_raised_where_the_answer_would_go_on(model):
    make_agent(model, output_schema="json", output_retries=0)
    model.script("no JSON")
    seen, error = read_until_error(stream(), OutputParseError)
    assert said(seen) == "no JSON"
    assert (row().pk, row().status) == (error.invocation_id, "failed")
    assert (row().cost_usd, row().rounds.get().status) == (row().rounds.get().cost_usd, "success")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("fault", "error"), [("breaks_after", LLMAPIError), ("stalls_after", LLMTimeoutError)])
def test_a_stream_that_fails_is_logged_with_what_it_had_produced(model, kind, fault, error):
    make_agent(model, provider=make_provider(model, kind=kind), timeout_seconds=2)
    model.script(Reply(LONG, **{fault: 4}))
    seen, raised = read_until_error(stream(), error)
    assert said(seen).startswith("one")
    failed = row()
    round_ = failed.rounds.get()
    assert (failed.pk, failed.error_type) == (raised.invocation_id, type(raised).__name__)
    assert (round_.response_content, round_.is_usage_estimated) == (said(seen), True)
    assert round_.output_tokens > 0
    assert spending()["provider"] == (round_.cost_usd or Decimal(0), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_is_closed_early_is_cancelled_and_billed_for_what_came(model, kind):
    make_agent(model, provider=make_provider(model, kind=kind), short_term_memory=True)
    model.script(Reply(LONG, stalls_after=4))
    finished = []
    run_finished.connect(lambda **given: finished.append(given["status"]), weak=False, dispatch_uid="streams")
    try:
        chunks = stream()
        first = next(chunks)
        chunks.close()
    finally:
        run_finished.disconnect(dispatch_uid="streams")
    model.wait_for_abandoned(1)
    cancelled = row()
    round_ = cancelled.rounds.get()
    assert (cancelled.status, cancelled.error_type, cancelled.response_content) == ("cancelled", "", first.text)
    assert (round_.status, round_.response_content, round_.is_usage_estimated) == ("cancelled", first.text, True)
    assert 0 < round_.output_tokens < 50
    assert spending()["provider"] == (cancelled.cost_usd or 0, 0)
    assert finished == ["cancelled"]
    assert not MemoryMessage.objects.exists()
    assert list(chunks) == []


def leave_by_break(chunks):
    for _chunk in chunks:
        break


def leave_by_error(chunks):
    with contextlib.suppress(ZeroDivisionError):
        for chunk in chunks:
            chunk.number / 0


def leave_by_throw(chunks):
    next(chunks)
    with pytest.raises(LLMAPIError):
        chunks.throw(LLMAPIError("of another run", is_retryable=True))


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_throw])
def test_a_consumer_that_leaves_cancels_the_run(model, leave):
    make_priced_agent(model)
    model.script(Reply(LONG, stalls_after=4))
    leave(stream())
    model.wait_for_abandoned(1)
    assert (row().status, row().rounds.get().response_content) == ("cancelled", "one")
    spent, reserved = spending()["provider"]
    assert 0 < spent < Decimal("0.25")
    assert reserved == 0
    assert len(model.requests) == 1


@pytest.mark.parametrize("at", ["round_end", "tool_call", "tool_result"])
def test_a_stream_that_is_closed_between_calls_keeps_what_is_settled(model, at):
    make_agent_with(model, admit, short_term_memory=True)
    model.script(Reply("Let me see.", calls=[Call("admit", {"name": "Ada"})]), Reply("Done."))
    chunks = stream()
    while next(chunks).type != at:
        pass
    chunks.close()
    assert (row().status, row().rounds.get().status) == ("cancelled", "success")
    assert row().cost_usd == row().rounds.get().cost_usd
    assert spending()["provider"] == (row().cost_usd, 0)
    assert Patient.objects.exists() == (at == "tool_result")
    assert not MemoryMessage.objects.exists()
    assert len(model.requests) == 1


def test_an_invalid_answer_of_a_cancelled_run_is_not_remembered(model):
    make_agent(model, short_term_memory=True, output_schema="json", output_retries=1)
    model.script("no JSON", Reply(LONG, stalls_after=4))
    chunks = stream()
    while next(chunks).type != "reset":
        pass
    next(chunks)
    chunks.close()
    assert (row().status, row().rounds_count) == ("cancelled", 2)
    assert not MemoryMessage.objects.exists()


def test_a_stream_that_nobody_reads_sends_nothing_and_leaves_its_row(model):
    make_agent(model, short_term_memory=True)
    chunks = stream()
    chunks.close()
    del chunks
    assert (row().status, row().rounds_count, row().cost_usd) == ("cancelled", 0, 0)
    assert model.requests == []


@needs_tenants
def test_wrong_arguments_are_raised_at_the_call(model):
    agent = make_agent(model, user_prompt=make_prompt("{{ name }}"))
    with pytest.raises(TypeError, match=r"stream\(\) got an unexpected keyword argument 'varables'"):
        stream(varables={})
    assert not Invocation.objects.exists()
    with pytest.raises(TypeError, match="input"):
        stream(5)
    with pytest.raises(PromptRenderError):
        stream(None, variables={"nam": "Ada"})
    helper = get_agent("helper")
    with schema_context("south"), pytest.raises(WrongTenant):
        helper.stream("hi")
    agent.delete()
    with pytest.raises(AgentNotFound):
        helper.stream("hi")
    assert set(Invocation.objects.values_list("status", flat=True)) == {"failed"}
    assert model.requests == []


def test_a_budget_holds_for_streams(model):
    make_priced_agent(model, monthly_budget_usd="0.4")
    model.script(QUARTER)
    open_stream = stream()
    next(open_stream)
    read_until_error(stream(), BudgetExceeded)
    *_, final = open_stream
    assert final.usage == LLMUsage(100, 1000)
    assert spending()["provider"] == (Decimal("0.25"), 0)


@needs_tenants
def test_a_stream_keeps_to_its_tenant_whichever_is_active(model):
    make_agent_with(model, admit, short_term_memory=True)
    model.script(Reply("Let me see.", calls=[Call("admit", {"name": "Ada"})]), Reply("Done."))
    with tenant_context(all_tenants()["north"]):
        chunks = stream(session_id="s")
    seen = []
    for schema in ["south", "public"] * 10:
        with schema_context(schema):
            seen += islice(chunks, 1)
            assert active_schema() == schema
    assert seen[-1].is_final
    assert seen[-1].response.tool_calls[0].result == {"schema": "north", "tenant": "Clinic"}
    assert (row().status, Patient.objects.count(), MemoryMessage.objects.count()) == ("success", 1, 4)
    with schema_context("south"):
        assert not Invocation.objects.exists()
        assert not Patient.objects.exists()


@needs_tenants
def test_a_stream_that_is_closed_in_another_tenant_is_cancelled_in_its_own(model):
    make_agent(model)
    model.script(Reply(LONG, stalls_after=4))
    chunks = stream()
    next(chunks)
    with schema_context("south"):
        chunks.close()
        assert active_schema() == "south"
        assert not Invocation.objects.exists()
    assert row().status == "cancelled"


def test_a_stream_may_be_read_in_other_threads(model):
    make_agent_with(model, admit)
    model.script(Reply("Let me see.", calls=[Call("admit", {"name": "Ada"})]), Reply("Done."))
    chunks, seen = stream(), []

    def read_one():
        try:
            seen.extend(islice(chunks, 1))
        finally:
            connection.close()

    while not seen or not seen[-1].is_final:
        thread = threading.Thread(target=read_one)
        thread.start()
        thread.join(timeout=20)
    assert seen[-1].response.tool_calls[0].result["schema"] == "north"
    assert (Patient.objects.count(), row().status) == (1, "success")


@needs_tenants
def test_streams_of_two_tenants_may_be_read_in_turns(model):
    streams = []
    model.script(Reply("a b c", pieces=["a", "b", "c"]), Reply("d e f", pieces=["d", "e", "f"]))
    for schema in ("north", "south"):
        with schema_context(schema):
            make_agent(model)
            streams.append(stream(user_ref=schema))
    pairs = list(zip(*streams, strict=True))
    assert [(a.text, b.text) for a, b in pairs[:3]] == [("a", "d"), ("b", "e"), ("c", "f")]
    for schema in ("north", "south"):
        with schema_context(schema):
            assert (row().status, row().user_ref) == ("success", schema)


def test_memory_and_files_work_as_without_streaming(model):
    make_agent(model, short_term_memory=True)
    model.script("Hello Ada.", "Ada.")
    *_, first = stream("I am Ada.", files=[LLMFile.from_bytes(b"a,1\n", "text/plain", "report.txt")])
    *_, second = stream("Who am I?", session_id=first.response.session_id)
    assert second.response.session_id == first.response.session_id
    assert [message["role"] for message in model.requests[1].body["messages"]] == ["user", "assistant", "user"]
    assert "a,1" in str(model.requests[0].body["messages"])
    assert InvocationFile.objects.get().invocation_id == first.response.invocation_id
    assert MemoryMessage.objects.count() == 4


def test_an_agent_that_is_switched_off_between_two_calls_stops(model):
    make_agent_with(model, admit)
    model.script(Reply("Let me see.", calls=[Call("admit", {"name": "Ada"})]), Reply("Done."))
    chunks = stream()
    while next(chunks).type != "tool_result":
        pass
    AgentConfig.objects.update(is_enabled=False)
    with pytest.raises(Exception, match="disabled"):
        next(chunks)
    assert row().status == "failed"
    assert len(model.requests) == 1
