"""What may be spent in a month. These tests commit, so that threads and processes meet at the same counters."""

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.test import override_settings

from tests.build import QUARTER, make_agent, make_priced_agent, make_provider, price_models
from tests.children import child, said
from tests.schemas import IS_PLAIN, active_schema, get_tenant_model, needs_tenants, schema_context, set_schema
from tests.together import run_together
from zango_ai import get_agent
from zango_ai.exceptions import BudgetExceeded, LLMAPIError, LLMTimeoutError, PriceUnknown
from zango_ai.models import AgentConfig, Fallback, Invocation, InvocationRound, Provider, Spend
from zango_ai.signals import budget_threshold_crossed
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_north")


def spend(owner="provider", **filters) -> Spend:
    return Spend.objects.get(owner=owner, **filters)


def try_to_run(name="helper") -> str:
    """What became of a run: "paid", or the error's name."""
    try:
        get_agent(name).run("hi")
    except BudgetExceeded as exc:
        return type(exc).__name__
    return "paid"


def test_a_run_that_could_pass_the_budget_is_refused_and_sends_nothing(model):
    make_priced_agent(model, monthly_budget_usd="0.24")
    with pytest.raises(BudgetExceeded) as caught:
        get_agent("helper").run("hi")
    assert (caught.value.provider_name, caught.value.budget_limit) == ("main", Decimal("0.24"))
    assert caught.value.agent_name is None
    assert "Raise the budget" in str(caught.value)
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.rounds_count, row.rounds.count(), row.cost_usd) == ("budget_exceeded", 0, 0, 0)
    assert model.requests == []
    assert (spend().spent_usd, spend().reserved_usd) == (0, 0)


def test_what_a_run_costs_is_reserved_while_the_provider_works_and_settled_after(model):
    make_priced_agent(model, monthly_budget_usd="1")
    seen = []

    def look():
        model.wait_for_requests(1)
        with schema_context("north"):
            row = InvocationRound.objects.get()
            seen.append((spend().spent_usd, spend().reserved_usd, spend("agent").reserved_usd, row.reserved_usd))

    def ask():
        with schema_context("north"):
            get_agent("helper").run("hi")

    model.script(Reply("short", input_tokens=5, output_tokens=400, delay_s=0.5))
    run_together([look, ask])
    assert seen == [(0, Decimal("0.25"), Decimal("0.25"), Decimal("0.25"))]
    for counter in (spend(), spend("agent")):
        assert (counter.spent_usd, counter.reserved_usd, counter.unknown_calls) == (Decimal("0.1"), 0, 0)
    row = InvocationRound.objects.get()
    assert (row.cost_usd, row.charged_usd, row.reserved_usd) == (Decimal("0.1"), Decimal("0.1"), 0)


def test_of_32_runs_at_once_no_more_pay_than_the_budget_has(model):
    """Check-then-spend, which looks at what is spent and adds to it after the call, let 19 pay: $4.75 of $1."""
    make_priced_agent(model, monthly_budget_usd="1")
    get_agent("helper")
    model.script(*[Reply("a quarter", input_tokens=100, output_tokens=1000, delay_s=0.3)] * 32)
    outcomes = []

    def ask():
        with schema_context("north"):
            outcomes.append(try_to_run())

    run_together([ask] * 32)
    assert sorted(outcomes) == ["BudgetExceeded"] * 28 + ["paid"] * 4
    assert (spend().spent_usd, spend().reserved_usd) == (1, 0)
    assert Invocation.objects.filter(status="budget_exceeded").count() == 28


def test_processes_share_a_budget(model):
    """Check-then-spend let 20 of the 24 runs of three processes pay, where 6 may."""
    make_priced_agent(model, monthly_budget_usd="1.5")
    model.script(*[Reply("a quarter", input_tokens=100, output_tokens=1000, delay_s=0.2)] * 24)
    code = """
from tests.together import run_together
from zango_ai.exceptions import BudgetExceeded
from zango_ai.providers import litellm_import
litellm_import.load()
paid = []
def ask():
    with schema_context("north"):
        try:
            get_agent("helper").run("hi")
            paid.append(1)
        except BudgetExceeded:
            pass
run_together([ask] * 8)
print(len(paid))
"""
    with child(code) as one, child(code) as two:
        assert int(said(one)) + int(said(two)) == 6
    assert (spend().spent_usd, spend().reserved_usd) == (Decimal("1.5"), 0)


def test_the_budget_is_looked_at_each_time_that_one_agent_runs(model):
    make_priced_agent(model, monthly_budget_usd="0.6")
    model.script(QUARTER, QUARTER, QUARTER)
    agent = get_agent("helper")
    agent.run("one")
    agent.run("two")
    with pytest.raises(BudgetExceeded):
        agent.run("three")
    Provider.objects.update(monthly_budget_usd="0.75")
    agent.run("three")
    assert spend().spent_usd == Decimal("0.75")


@pytest.mark.parametrize("budget", ["0.25", "0.5"])
def test_a_budget_can_be_used_up_to_the_cent(model, budget):
    make_priced_agent(model, monthly_budget_usd=budget)
    model.script(*[QUARTER] * 4)
    outcomes = [try_to_run() for _ in range(4)]
    assert outcomes.count("paid") == Decimal(budget) / Decimal("0.25")


def test_a_budget_of_nothing_is_no_missing_budget(model):
    make_priced_agent(model, monthly_budget_usd=0)
    assert try_to_run() == "BudgetExceeded"
    Provider.objects.update(monthly_budget_usd=None)
    assert try_to_run() == "paid"


def test_many_small_costs_add_up_exactly(model):
    provider = make_provider(model, monthly_budget_usd="0.01")
    price_models(provider, output_usd=100)  # a token costs a ten-thousandth of a dollar
    make_agent(model, provider=provider, max_tokens=1)
    model.script(*[Reply("x", input_tokens=1, output_tokens=1)] * 100)
    agent = get_agent("helper")
    for _ in range(100):
        assert agent.run("hi").cost_usd == 0.0001
    assert spend().spent_usd == Decimal("0.01")
    assert try_to_run() == "BudgetExceeded"


def test_an_agents_own_budget_holds_beside_the_providers(model):
    make_priced_agent(model, monthly_budget_usd="10")
    provider = Provider.objects.get()
    make_agent(model, "frugal", provider=provider, max_tokens=1000, monthly_budget_usd="0.3")
    model.script(*[QUARTER] * 4)
    assert [try_to_run("frugal"), try_to_run("frugal"), try_to_run("helper")] == ["paid", "BudgetExceeded", "paid"]
    with pytest.raises(BudgetExceeded, match="Agent 'frugal' has a budget of") as caught:
        get_agent("frugal").run("hi")
    assert (caught.value.agent_name, caught.value.budget_limit) == ("frugal", Decimal("0.3"))
    assert spend().spent_usd == Decimal("0.5")
    assert {row.owner_name: row.spent_usd for row in Spend.objects.filter(owner="agent")} == {
        "frugal": Decimal("0.25"),
        "helper": Decimal("0.25"),
    }


def test_a_call_that_was_refused_by_the_vendor_costs_nothing(model):
    make_priced_agent(model, monthly_budget_usd="0.25")
    model.script(Reply("bad", status=400), Reply("down", status=503), QUARTER)
    for _ in range(2):
        with pytest.raises(LLMAPIError):
            get_agent("helper").run("hi")
    assert try_to_run() == "paid"
    assert (spend().spent_usd, spend().unknown_calls) == (Decimal("0.25"), 0)


def test_a_call_that_may_have_been_billed_counts_at_its_estimate(model):
    """The vendor may have worked on it: counted as nothing, a budget would let a slow vendor be asked for ever."""
    make_priced_agent(model, monthly_budget_usd="1.1", timeout_seconds=3)
    model.script(
        Reply(delay_s=8),
        Reply(raw=b"<html>"),
        Reply("half", headers={"Content-Length": "900"}, hang_up_after=True),
        Reply("the gateway gave up", status=504),
    )
    for error in (LLMTimeoutError, LLMAPIError, LLMAPIError, LLMAPIError):
        with pytest.raises(error):
            get_agent("helper").run("hi")
    assert (spend().spent_usd, spend().reserved_usd, spend().unknown_calls) == (Decimal("1"), 0, 4)
    assert [row.cost_usd for row in Invocation.objects.all()] == [None] * 4
    assert try_to_run() == "BudgetExceeded"


def test_a_call_that_never_reached_the_vendor_costs_nothing(model):
    agent = make_priced_agent(model, monthly_budget_usd="1")
    agent.provider.credentials["api_base"] = f"{model.url.rpartition(':')[0]}:1/v1"
    agent.provider.save()
    with override_settings(ZANGO_AI={"ALLOWED_API_BASES": ["http://127.0.0.1:1"]}), pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")
    assert (spend().spent_usd, spend().unknown_calls, Invocation.objects.get().cost_usd) == (0, 0, 0)


def test_each_try_is_reserved_and_counted(model):
    make_priced_agent(model, monthly_budget_usd="0.5", max_retries=2, timeout_seconds=20)
    model.script(Reply("down", status=503, headers={"retry-after": "0"}), QUARTER)
    get_agent("helper").run("hi")
    assert [row.charged_usd for row in InvocationRound.objects.order_by("number")] == [0, Decimal("0.25")]
    assert spend().spent_usd == Decimal("0.25")


def test_a_fallback_is_asked_where_the_budget_does_not_allow_the_first(model):
    agent = make_priced_agent(model, monthly_budget_usd="0.1")
    other = make_provider(model, name="other")
    price_models(other)
    Fallback.objects.create(agent=agent, provider=other)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    row = Invocation.objects.get()
    assert (row.provider_name, row.status, row.rounds_count) == ("other", "success", 1)
    assert spend(owner_name="main").spent_usd == 0
    assert spend(owner_name="other").spent_usd == Decimal("0.25")


def test_an_answer_that_outruns_its_estimate_is_counted_in_full_and_is_the_last(model):
    make_priced_agent(model, monthly_budget_usd="0.3")
    model.script(Reply("long", input_tokens=1, output_tokens=8000))
    get_agent("helper").run("hi")
    assert spend().spent_usd == 2
    assert try_to_run() == "BudgetExceeded"


def make_unpriced_agent(model, whose, budget):
    """An agent whose model has no price; the agent or its provider has the budget."""
    agent = make_agent(model, provider=make_provider(model, default_model="home-grown"))
    row = agent.provider if whose == "provider" else agent
    row.monthly_budget_usd = budget
    row.save()


@pytest.mark.parametrize("whose", ["provider", "agent"])
def test_a_model_without_a_price_is_refused_under_a_budget(model, whose):
    make_unpriced_agent(model, whose, 5)
    with pytest.raises(PriceUnknown) as caught:
        get_agent("helper").run("hi")
    assert (caught.value.model, caught.value.provider_name) == ("home-grown", "main")
    assert model.requests == []


@pytest.mark.parametrize("whose", ["provider", "agent"])
def test_a_budget_of_zero_is_exceeded_also_by_a_model_without_a_price(model, whose):
    make_unpriced_agent(model, whose, 0)
    with pytest.raises(BudgetExceeded) as caught:
        get_agent("helper").run("hi")
    assert caught.value.budget_limit == 0
    assert str(caught.value).endswith("Raise the budget.")
    assert model.requests == []


def test_an_unknown_price_says_whose_budget_needs_it_and_where_to_allow_it(model):
    agent = make_agent(model, monthly_budget_usd=5, provider=make_provider(model, default_model="home-grown"))
    with pytest.raises(PriceUnknown, match=r"^The agent has a monthly budget.*tick 'Allow models without a price'"):
        get_agent("helper").run("hi")
    agent.provider.monthly_budget_usd = 5
    agent.provider.save()
    with pytest.raises(PriceUnknown, match=r"^Provider 'main' has a monthly budget"):
        get_agent("helper").run("hi")


def test_a_model_without_a_price_that_is_allowed_is_counted_as_unknown_and_not_as_nothing(model):
    provider = make_provider(model, default_model="home-grown", allow_unpriced=True, monthly_budget_usd=5)
    make_agent(model, provider=provider)
    response = get_agent("helper").run("hi")
    assert not response.is_cost_known
    assert (spend().spent_usd, spend().unknown_calls) == (0, 1)
    Provider.objects.update(monthly_budget_usd=0)
    assert try_to_run() == "BudgetExceeded"  # nothing may be spent, and this may be something


# Months


def at(monkeypatch, moment: datetime) -> None:
    """Set the clock that months are told by."""
    monkeypatch.setattr("zango_ai.ledger.clock.now", lambda: moment)


def test_a_new_month_is_a_new_budget(model, monkeypatch):
    make_priced_agent(model, monthly_budget_usd="0.25", budget_reset_day=15)
    model.script(QUARTER, QUARTER)
    at(monkeypatch, datetime(2026, 11, 14, 12, tzinfo=UTC))
    assert [try_to_run(), try_to_run()] == ["paid", "BudgetExceeded"]
    at(monkeypatch, datetime(2026, 11, 15, 12, tzinfo=UTC))
    assert [try_to_run(), try_to_run()] == ["paid", "BudgetExceeded"]
    months = Spend.objects.filter(owner="provider").order_by("month_start")
    assert [(str(row.month_start), row.spent_usd) for row in months] == [
        ("2026-10-15", Decimal("0.25")),
        ("2026-11-15", Decimal("0.25")),
    ]


@pytest.fixture
def set_zone(settings, monkeypatch, live_north):
    """Have the tenant, or the project without tenants, be there until the end of the test."""

    def set_zone(zone):
        monkeypatch.setattr("zango_ai.ledger.time_zones._cache", {})
        if IS_PLAIN:
            settings.TIME_ZONE = zone
        else:
            get_tenant_model().objects.filter(schema_name="north").update(timezone=zone)

    yield set_zone
    if not IS_PLAIN:
        get_tenant_model().objects.update(timezone="Europe/Berlin")


def test_the_month_begins_at_midnight_where_the_tenant_is(model, monkeypatch, set_zone):
    make_priced_agent(model, monthly_budget_usd="1")
    set_zone("Pacific/Auckland")
    at(monkeypatch, datetime(2026, 11, 30, 10, 59, tzinfo=UTC))  # 23:59 in Auckland
    get_agent("helper").run("hi")
    at(monkeypatch, datetime(2026, 11, 30, 11, 1, tzinfo=UTC))
    get_agent("helper").run("hi")
    assert {str(row.month_start) for row in Spend.objects.all()} == {"2026-11-01", "2026-12-01"}


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "Europe", "x" * 60])
def test_the_projects_time_zone_is_the_tenants_where_it_has_none(model, monkeypatch, set_zone, zone):
    make_priced_agent(model, monthly_budget_usd="1")
    set_zone(zone)
    at(monkeypatch, datetime(2026, 11, 30, 23, 30, tzinfo=UTC))  # 0:30 in Berlin
    get_agent("helper").run("hi")
    assert {str(row.month_start) for row in Spend.objects.all()} == {"2026-12-01"}


def test_a_run_that_a_new_month_finds_at_work_is_settled_where_it_was_reserved(model, monkeypatch):
    make_priced_agent(model, monthly_budget_usd="0.5")
    model.script(Reply("a quarter", input_tokens=1, output_tokens=1000, delay_s=0.6), QUARTER)
    moments = [datetime(2026, 11, 30, 12, tzinfo=UTC), datetime(2026, 12, 1, 12, tzinfo=UTC)]
    at(monkeypatch, moments[0])

    def long():
        with schema_context("north"):
            get_agent("helper").run("begun in November")

    def next_month():
        model.wait_for_requests(1)
        at(monkeypatch, moments[1])
        with schema_context("north"):
            get_agent("helper").run("December")

    run_together([long, next_month])
    months = Spend.objects.filter(owner="provider").order_by("month_start")
    assert [(row.month_start.month, row.spent_usd, row.reserved_usd) for row in months] == [
        (11, Decimal("0.25"), 0),
        (12, Decimal("0.25"), 0),
    ]


# Alerts


@pytest.fixture
def alerts():
    received = []

    def receive(sender, **values):
        received.append((sender, values))

    budget_threshold_crossed.connect(receive)
    yield received
    budget_threshold_crossed.disconnect(receive)


def test_the_threshold_is_told_once(model, alerts):
    make_priced_agent(model, monthly_budget_usd="1", budget_alert_threshold=50)
    model.script(*[QUARTER] * 4)
    counts = []
    for _ in range(4):
        get_agent("helper").run("hi")
        counts.append(len(alerts))
    assert counts == [0, 1, 1, 1]
    ((sender, values),) = alerts
    assert sender is Provider
    assert (values["schema"], values["provider_name"], values["agent_name"]) == ("north", "main", None)
    assert (values["budget_limit"], values["spent_usd"], values["percent"]) == (1, Decimal("0.5"), 50)
    assert values["month_start"].day == 1


@pytest.mark.parametrize("error", [OperationalError, KeyboardInterrupt])
def test_an_alert_whose_confirmation_is_lost_is_sent_all_the_same(model, alerts, monkeypatch, error):
    """The spending is committed; what cuts in comes before the signal."""
    from zango_ai.database import ledger_connection, writer

    make_priced_agent(model, monthly_budget_usd="0.25")
    model.script(QUARTER, QUARTER)
    really, left = writer.execute_on, [1]

    def once(own, sql, params):
        rows = really(own, sql, params)
        if "charged" in params and left.pop() if left else False:
            ledger_connection.own_connection().close()
            raise error
        return rows

    monkeypatch.setattr(writer, "execute_on", once)
    with suppress(KeyboardInterrupt):
        get_agent("helper").run("hi")
    assert len(alerts) == 1


@needs_tenants
def test_the_receiver_works_in_the_runs_tenant_whatever_was_switched_meanwhile(model, monkeypatch):
    from zango_ai.providers.calls import PreparedCall

    seen = []

    def receive(sender, **values):
        seen.append(active_schema())

    def ask(*args):
        set_schema("south")
        return really(*args)

    really = PreparedCall.send
    monkeypatch.setattr(PreparedCall, "send", ask)
    budget_threshold_crossed.connect(receive)
    try:
        make_priced_agent(model, monthly_budget_usd="0.25")
        model.script(QUARTER)
        get_agent("helper").run("hi")
    finally:
        budget_threshold_crossed.disconnect(receive)
    assert seen == ["north"]


def test_the_threshold_is_told_once_by_runs_at_the_same_time(model, alerts):
    make_priced_agent(model, monthly_budget_usd="5", budget_alert_threshold=10)
    model.script(*[Reply("a quarter", input_tokens=1, output_tokens=1000, delay_s=0.2)] * 12)

    def ask():
        with schema_context("north"):
            get_agent("helper").run("hi")

    run_together([ask] * 12)
    assert len(alerts) == 1
    assert spend().spent_usd == 3


def test_each_month_and_each_budget_has_an_alert_of_its_own(model, alerts, monkeypatch):
    make_priced_agent(model, monthly_budget_usd="0.25")
    AgentConfig.objects.update(monthly_budget_usd="0.25")
    model.script(QUARTER, QUARTER)
    for month in (10, 11):
        at(monkeypatch, datetime(2026, month, 10, tzinfo=UTC))
        get_agent("helper").run("hi")
    assert sorted((sender.__name__, values["month_start"].month) for sender, values in alerts) == [
        ("AgentConfig", 10),
        ("AgentConfig", 11),
        ("Provider", 10),
        ("Provider", 11),
    ]


def test_a_receiver_that_fails_does_not_reach_the_caller(model, caplog):
    def receive(sender, **values):
        raise RuntimeError("mail server is down")

    budget_threshold_crossed.connect(receive)
    try:
        make_priced_agent(model, monthly_budget_usd="0.25")
        model.script(QUARTER)
        assert get_agent("helper").run("hi").content == "a quarter"
    finally:
        budget_threshold_crossed.disconnect(receive)
    assert "mail server is down" in caplog.text


# Transactions of the caller


def test_spending_stays_when_the_caller_rolls_back(model):
    make_priced_agent(model, monthly_budget_usd="0.25")
    model.script(QUARTER)

    class Undo(Exception):
        pass

    with pytest.raises(Undo), transaction.atomic():
        get_agent("helper").run("hi")
        raise Undo
    assert spend().spent_usd == Decimal("0.25")
    assert try_to_run() == "BudgetExceeded"


def test_a_caller_that_has_just_saved_the_provider_can_run(model):
    """A ledger that writes what is spent on the provider's own row waits here for its own caller, for ever."""
    make_priced_agent(model, monthly_budget_usd="1")
    model.script(QUARTER)
    with transaction.atomic():
        provider = Provider.objects.select_for_update().get()
        provider.description = "changed"
        provider.save()
        AgentConfig.objects.select_for_update().get().save()
        assert get_agent("helper").run("hi").content == "a quarter"


def test_transactions_that_use_two_agents_in_opposite_order_do_not_wait_for_each_other(model):
    """Where a run's locks last until its caller commits, these two deadlock."""
    make_priced_agent(model, monthly_budget_usd="100")
    make_agent(model, "other", provider=Provider.objects.get(), max_tokens=1000, monthly_budget_usd="100")
    done = []

    def work(names):
        with schema_context("north"), transaction.atomic():
            for name in names * 5:
                get_agent(name).run("hi")
            done.append(names)

    run_together(partial(work, names) for names in (["helper", "other"], ["other", "helper"]) * 3)
    assert len(done) == 6
    assert Invocation.objects.filter(status="success").count() == 60


def test_spending_is_read_from_the_tenant_alone(model):
    make_priced_agent(model, monthly_budget_usd="0.25")
    with schema_context("south"):
        make_priced_agent(model, monthly_budget_usd="0.25")
    model.script(QUARTER, QUARTER)
    assert [try_to_run(), try_to_run()] == ["paid", "BudgetExceeded"]
    with schema_context("south"):
        assert [try_to_run(), try_to_run()] == ["paid", "BudgetExceeded"]
        assert spend().spent_usd == Decimal("0.25")


def test_no_figure_passes_through_a_float(model):
    make_priced_agent(model, monthly_budget_usd="1")
    model.script(Reply("x", input_tokens=1, output_tokens=3))
    get_agent("helper").run("hi")
    with connection.cursor() as cursor:
        cursor.execute("SELECT spent_usd::text FROM zango_ai_spend WHERE owner = 'provider'")
        assert json.loads(f'["{cursor.fetchone()[0]}"]') == ["0.00075000"]


def test_a_cost_that_no_column_holds_is_counted_as_the_most_that_one_does(model):
    provider = make_provider(model)
    price_models(provider, output_usd=100_000)
    make_agent(model, provider=provider, max_tokens=1)
    model.script(Reply("x", input_tokens=1, output_tokens=10**12))
    get_agent("helper").run("hi")
    assert spend().spent_usd == 10**10


def test_a_negative_price_or_budget_cannot_be_saved(model):
    provider = make_provider(model)
    price_models(provider)
    for change in (
        lambda: provider.models.update(output_cost_per_mtok=-1),
        lambda: Provider.objects.update(monthly_budget_usd=-1),
        lambda: Provider.objects.update(budget_reset_day=0),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            change()
