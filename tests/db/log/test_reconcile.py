"""The ledger adds up, whatever happens to runs; and where it is made not to, that is named. These tests commit."""

import random
from contextlib import suppress
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F, Sum

from tests.build import QUARTER, make_agent, make_agent_with, make_priced_agent, make_provider, price_models
from tests.db.log.test_maintenance import let_pass, maintained
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import get_agent, tool
from zango_ai.exceptions import ZangoAIError
from zango_ai.ledger import reconciliation
from zango_ai.models import Fallback, Invocation, InvocationRound, Spend, ToolUsage
from zango_ai.testing import Call, Reply


@tool(description="How many beds are free?")
def count_beds() -> int:
    return 12


pytestmark = pytest.mark.usefixtures("live_north")


def reconciled() -> tuple[str, str]:
    """What the command said, on its two streams."""
    out, err = StringIO(), StringIO()
    try:
        call_command("zango_ai_reconcile", stdout=out, stderr=err)
    except CommandError as exc:
        err.write(str(exc))
    return out.getvalue(), err.getvalue()


FATES = [
    QUARTER,
    Reply("short", input_tokens=3, output_tokens=7),
    Reply("cached", input_tokens=900, cache_read_tokens=300, output_tokens=10),
    Reply("down", status=503, headers={"retry-after": "0"}),
    Reply("bad", status=400),
    Reply("busy", status=429, headers={"retry-after": "0"}),
    Reply(raw=b"<html>"),
    Reply(hang_up=True),
    Reply("late", delay_s=8),
    Reply("counted nothing", input_tokens=0, output_tokens=0),
]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_ledger_adds_up_for_any_interleaving(model, seed):
    """Successes, retries, fallbacks, timeouts, refusals and abandoned runs, in threads of two agents."""
    chance = random.Random(seed)
    agent = make_priced_agent(model, monthly_budget_usd="4", max_retries=1, timeout_seconds=3)
    other = make_provider(model, name="other", max_retries=1, monthly_budget_usd="2")
    price_models(other)
    Fallback.objects.create(agent=agent, provider=other)
    make_agent(model, "second", provider=other, max_tokens=1000, monthly_budget_usd="1", timeout_seconds=3)
    weights = [8, 8, 4, 3, 2, 2, 1, 1, 1, 1]
    model.script(*chance.choices(FATES, weights, k=160))

    def work():
        with schema_context("north"):
            for _ in range(6):
                with suppress(ZangoAIError):
                    get_agent(chance.choice(["helper", "second"])).run("hi")
                assert list(reconciliation.find_drift("north")) == []  # at any moment

    def abandon():
        with schema_context("north"):
            for _ in range(3):
                let_pass(10_000)
                maintained()

    failures = []

    def watched(task):
        def call():
            try:
                task()
            except BaseException as exc:
                failures.append(exc)

        return call

    run_together([watched(work)] * 8 + [watched(abandon)])
    assert failures == []
    let_pass(10_000)
    maintained()
    assert reconciled() == ("north: adds up\nsouth: adds up\n", "")
    for status in ("success", "budget_exceeded", "failed"):
        assert Invocation.objects.filter(status=status).exists(), status
    assert not Invocation.objects.filter(status="running").exists()
    charged = InvocationRound.objects.aggregate(total=Sum("charged_usd"))["total"]
    for owner in ("provider", "agent"):
        months = Spend.objects.filter(owner=owner)
        assert months.aggregate(total=Sum("spent_usd"))["total"] == charged
        assert months.aggregate(total=Sum("reserved_usd"))["total"] == 0


DRIFTS = {
    "spend": (
        Spend,
        {"spent_usd": F("spent_usd") + Decimal("0.00000001")},
        "spent_usd is 0.25000001 and should be",
    ),
    "reservation": (Spend, {"reserved_usd": Decimal("0.5")}, "reserved_usd is 0.50000000 and should be 0"),
    "calls": (Spend, {"calls": 0}, "calls is 0 and should be 1"),
    "unknown": (Spend, {"unknown_calls": 3}, "unknown_calls is 3 and should be 0"),
    "run": (Invocation, {"cost_usd": Decimal("0.2")}, "cost_usd is 0.20000000 and should be 0.25000000"),
    "run unknown": (Invocation, {"cost_usd": None}, "cost_usd is unknown and should be 0.25000000"),
    "tokens": (Invocation, {"output_tokens": 1}, "output_tokens is 1 and should be 1000"),
    "rounds": (Invocation, {"rounds_count": 2}, "rounds_count is 2 and should be 1"),
    "round": (InvocationRound, {"cost_usd": Decimal("0.3")}, "charged_usd is 0.25000000 and should be 0.30000000"),
    "holding": (InvocationRound, {"reserved_usd": Decimal(1)}, "reserved_usd is 1.00000000 and should be 0"),
}


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_named_and_fails(model, name):
    make_priced_agent(model)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    assert reconciled()[1] == ""
    rows, change, words = DRIFTS[name]
    rows.objects.update(**change)
    out, err = reconciled()
    assert words in err
    assert "north: " in err
    assert "Failed for: north" in err
    assert out == "south: adds up\n"


def test_a_month_without_a_counter_and_a_counter_without_calls_are_named(model):
    make_priced_agent(model)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    Spend.objects.filter(owner="agent").delete()
    Spend.objects.update(month_start="2020-01-01", calls=0)
    err = reconciled()[1]
    assert err.count("spent_usd is 0 and should be 0.25000000") == 2
    assert "provider 'main', month from 2020-01-01: spent_usd is 0.25000000 and should be 0" in err


def test_rows_that_were_deleted_are_told_apart_from_money_that_is_wrong(model):
    make_priced_agent(model)
    for user in ("ada", "ada", "ben"):
        model.script(QUARTER)
        get_agent("helper").run("hi", user_ref=user)
    Invocation.objects.filter(user_ref="ada").delete()
    out, err = reconciled()
    assert err == ""
    month = Spend.objects.get(owner="agent").month_start
    assert f"north: agent 'helper', month from {month}: 2 of 3 calls were deleted from the log" in out
    assert "north: adds up" in out
    Spend.objects.filter(owner="agent").update(spent_usd=Decimal("0.1"))
    assert "agent 'helper'" in (err := reconciled()[1])
    assert "spent_usd is 0.10000000 and should be 0.25000000" in err


def test_what_a_deleted_call_still_holds_is_named(model):
    make_priced_agent(model)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    Spend.objects.update(reserved_usd=1)
    Invocation.objects.all().delete()
    assert "reserved_usd is 1.00000000 and should be 0" in reconciled()[1]


def test_a_wrong_figure_of_a_tool_is_named(model):
    make_agent_with(model, count_beds)
    model.script(Reply(calls=[Call("count_beds"), Call("count_beds"), Call("invented")]), "12")
    get_agent("helper").run("hi")
    assert reconciled()[1] == ""
    ToolUsage.objects.update(calls=1, duration_ms=0)
    assert "calls of count_beds with status success: calls is 1 and should be 2" in reconciled()[1]
    ToolUsage.objects.update(calls=5)  # three runs were deleted
    assert "calls is" not in reconciled()[1]
