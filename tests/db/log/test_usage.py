"""The usage figures: each run is counted once, on the day and in the hour in which it ended."""

import contextlib
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_prompt, make_provider
from tests.db.log.test_maintenance import let_pass, maintained
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import LLMMessage, ToolSafety, get_agent, get_provider, tool
from zango_ai.exceptions import ZangoAIError
from zango_ai.ledger import reconciliation, stored_runs, usage
from zango_ai.models import AgentConfig, Invocation, Provider, ToolCall, UsageRollup
from zango_ai.testing import Call, Reply


@tool(description="Say yes.")
def say_yes_again() -> str:
    return "yes"


@tool(description="Write it.", safety=ToolSafety.WRITE, requires_approval=True)
def write_it_down() -> str:
    return "written"


def hours():
    return UsageRollup.objects.exclude(day=UsageRollup.ALL_TIME)


def ask(*replies, model, name="helper", **arguments):
    model.script(*replies)
    with contextlib.suppress(ZangoAIError):
        return get_agent(name).run(*([] if arguments else ["hi"]), **arguments)


def decide(model, is_approved=True):
    asked = ask(Reply("May I?", calls=[Call("write_it_down")]), model=model)
    model.script("done")
    return get_agent("helper").resume(asked.run_id, {call.id: is_approved for call in asked.pending_approvals})


def call_directly(model):
    model.script("hello")
    get_provider("main").complete([LLMMessage("user", "hi")])


def leave_early(model):
    model.script("one two three four")
    chunks = get_agent("helper").stream("hi")
    next(chunks)
    chunks.close()


def abandon(model):
    row = Invocation.objects.create(agent_name="helper", triggered_by="user", status="running")
    let_pass(10_000)
    maintained()
    return row


def expire(model):
    ask(Reply("May I?", calls=[Call("write_it_down")]), model=model)
    ToolCall.objects.update(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    maintained()


def queue_unsent(model):
    Invocation.objects.create(agent_name="helper", triggered_by="user", status="queued", cost_usd=0)
    let_pass(8 * 86_400)
    maintained()


def fail_queued(model):
    row = Invocation.objects.create(agent_name="helper", triggered_by="user", status="queued", cost_usd=0)
    stored_runs.fail_queued("north", row.run_id, error_type="X", message="no broker")


ENDINGS = {
    "success": (lambda model: ask("hello", model=model), "success"),
    "tool call": (lambda model: ask(Reply(calls=[Call("say_yes_again")]), "done", model=model), "success"),
    "approved": (decide, "success"),
    "denied": (lambda model: decide(model, is_approved=False), "success"),
    "direct call": (call_directly, "success"),
    "vendor's error": (lambda model: ask(Reply("bad", status=400), model=model), "failed"),
    "vendor's limit": (lambda model: ask(Reply("busy", status=429), model=model), "rate_limited"),
    "before the first round": (lambda model: ask(model=model, variables={"wrong": 1}), "failed"),
    "stream closed early": (leave_early, "cancelled"),
    "process killed": (abandon, "abandoned"),
    "approval expired": (expire, "failed"),
    "queued in a transaction that was rolled back": (queue_unsent, "cancelled"),
    "no broker": (fail_queued, "failed"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_run_is_counted_once_however_it_ends(model, north, ending):
    make_agent_with(model, say_yes_again, write_it_down, user_prompt=make_prompt("Hi {{name}}"))
    end, status = ENDINGS[ending]
    end(model)
    row, counted = Invocation.objects.get(), hours().get()
    assert (row.status, counted.status, counted.runs) == (status, status, 1)
    assert counted.agent_id == (row.agent_id or 0)
    assert (counted.agent_name, counted.model) == (row.agent_name, row.model)
    assert (counted.input_tokens, counted.output_tokens) == (row.input_tokens, row.output_tokens)
    assert counted.latency_ms == (row.latency_ms or 0)
    assert (counted.cost_usd, counted.unpriced_runs) == (row.cost_usd or 0, int(row.cost_usd is None))
    assert list(reconciliation.find_drift("north")) == []


@pytest.mark.usefixtures("live_north")
def test_a_run_that_was_abandoned_too_early_and_continues_is_counted_once(model):
    make_priced_agent(model, timeout_seconds=20)
    model.script(Reply("a quarter", input_tokens=1, output_tokens=1000, delay_s=1))
    statuses = []

    def run():
        with schema_context("north"):
            get_agent("helper").run("hi")

    def give_up():
        model.wait_for_requests(1)
        with schema_context("north"):
            let_pass(10_000)
            maintained()
            statuses.extend(hours().values_list("status", "runs"))

    run_together([run, give_up])
    assert statuses == [("abandoned", 1)]
    assert dict(hours().values_list("status", "runs")) == {"abandoned": 0, "success": 1}
    assert usage.total().last_24h.cost_usd == Decimal("0.25")
    assert usage.total().last_24h.unpriced_runs == 0
    assert list(reconciliation.find_drift("north")) == []


def test_a_rollback_inside_a_test_changes_no_figures(model, north):
    make_agent(model)
    get_agent("helper").run("hi")
    with contextlib.suppress(ZeroDivisionError), transaction.atomic():
        get_agent("helper").run("hi")
        raise ZeroDivisionError
    assert usage.header().runs == 2
    assert list(reconciliation.find_drift("north")) == []


def at(monkeypatch, moment: str):
    when = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    monkeypatch.setattr("zango_ai.ledger.clock.now", lambda: when)


def test_a_day_ends_at_the_tenants_own_midnight(model, north, monkeypatch):
    make_agent(model)
    monkeypatch.setattr("zango_ai.ledger.time_zones._cache", {})
    type(north).objects.update(timezone="Asia/Kathmandu")  # 5:45 ahead of UTC
    for moment in ("2026-03-01T18:14", "2026-03-01T18:16", "2026-03-01T19:30"):
        at(monkeypatch, moment)
        get_agent("helper").run("hi")
    assert usage.header().runs_today == 2
    days = usage.per_day("agent")
    assert [(day.day.isoformat(), day.name, day.figures.runs) for day in days] == [
        ("2026-03-01", "helper", 1),
        ("2026-03-02", "helper", 2),
    ]
    found = hours().order_by("day", "hour").values_list("hour", "runs")
    assert [(hour.astimezone(UTC).hour, runs) for hour, runs in found] == [(18, 1), (18, 1), (19, 1)]


def test_maintenance_merges_past_hours_and_the_figures_stay(model, north, monkeypatch):
    make_priced_agent(model)
    for moment in ("2026-03-01T08:00", "2026-03-01T09:00", "2026-03-03T09:00", "2026-03-04T10:00"):
        at(monkeypatch, moment)
        ask(QUARTER, model=model)
    before = usage.total(), usage.per_day("model"), usage.header()
    maintained()
    assert hours().count() == 3
    assert (usage.total(), usage.per_day("model"), usage.header()) == before
    assert before[0].last_24h.runs == 1
    assert before[0].last_30_days.cost_usd == 1
    maintained()
    assert hours().count() == 3
    assert list(reconciliation.find_drift("north")) == []


def rebuilt() -> str:
    out = StringIO()
    call_command("zango_ai_reconcile", schema="north", rebuild_usage=True, stdout=out)
    return out.getvalue()


def test_wrong_figures_are_found_and_corrected_and_those_of_deleted_runs_stay(model, north):
    make_priced_agent(model)
    for _ in range(3):
        ask(QUARTER, model=model)
    right = usage.total()
    assert rebuilt() == "north: 0 usage figures corrected\nnorth: adds up\n"
    hours().update(runs=2, cost_usd=0)
    drift = [str(each) for each in reconciliation.find_drift("north")]
    assert any(each.endswith("runs is 2 and should be 3") for each in drift)
    assert any(each.startswith("total usage of helper") and "runs is 3 and should be 2" in each for each in drift)
    assert rebuilt() == "north: 1 usage figures corrected\nnorth: adds up\n"
    assert usage.total() == right
    UsageRollup.objects.all().delete()
    assert rebuilt().startswith("north: 2 usage figures corrected")
    assert usage.total() == right
    Invocation.objects.all().delete()
    assert rebuilt().startswith("north: 0 usage figures corrected")
    assert usage.total() == right


def test_figures_by_agent_provider_and_model(model, north):
    provider = make_provider(model)
    provider.models.create(model_id="gpt-4o-mini", input_cost_per_mtok=0, output_cost_per_mtok=250)
    make_agent(model, "first", provider=provider, max_tokens=1000)
    other = make_provider(model, name="other", default_model="gpt-4o")
    second = make_agent(model, "second", provider=other)
    ask(QUARTER, model=model, name="first")
    ask(QUARTER, model=model, name="first")
    ask(Reply("bad", status=400), model=model, name="first")
    model.reset()
    ask("hello", model=model, name="second")
    AgentConfig.objects.filter(pk=second.pk).update(name="renamed")
    Provider.objects.filter(pk=other.pk).update(name="elsewhere")
    agents = {each.name: each.last_24h for each in usage.per_agent()}
    assert list(agents) == ["first", "renamed"]
    assert (agents["first"].runs, agents["first"].successes, agents["first"].errors) == (3, 2, 1)
    assert agents["first"].cost_usd == Decimal("0.5")
    assert agents["first"].success_rate == pytest.approx(2 / 3)
    assert agents["first"].average_latency_ms is not None
    assert [(each.name, each.last_30_days.runs) for each in usage.per_provider()] == [("elsewhere", 1), ("main", 3)]
    assert [(each.provider_name, each.name) for each in usage.per_model()] == [
        ("elsewhere", "gpt-4o"),
        ("main", "gpt-4o-mini"),
    ]
    assert [each.name for each in usage.per_model(provider.pk)] == ["gpt-4o-mini"]
    assert [(each.name, each.figures.runs) for each in usage.per_day("provider")] == [("elsewhere", 1), ("main", 3)]
    top = usage.header()
    assert (top.runs, top.runs_today, top.errors_24h) == (4, 4, 1)
    assert top.cost_today_usd == sum(each.cost_usd for each in agents.values())


def test_each_set_of_figures_is_one_query_and_nothing_is_zero_not_an_error(north):
    empty = usage.Figures()
    asked = {
        usage.total: usage.Usage(id=None, name="", last_24h=empty, last_30_days=empty),
        usage.per_agent: [],
        usage.per_provider: [],
        usage.per_model: [],
        usage.header: usage.Header(runs=0, runs_today=0, errors_24h=0, cost_today_usd=Decimal(0)),
    }
    for figures, expected in asked.items():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert figures() == expected
        assert len([query for query in queries if query["sql"].startswith("SELECT")]) == 1
    for by in ("agent", "provider", "model"):
        assert usage.per_day(by) == []
    assert (empty.success_rate, empty.average_latency_ms) == (None, None)
