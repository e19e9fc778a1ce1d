"""``zango_ai_spend`` shows what each tenant spends. These tests commit."""

import json
from datetime import date
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.build import QUARTER, make_priced_agent
from tests.schemas import schema_context
from zango_ai import get_agent
from zango_ai.models import AgentConfig, Provider, Spend

pytestmark = pytest.mark.usefixtures("live_tenants")


def told(*arguments: str) -> str:
    out = StringIO()
    call_command("zango_ai_spend", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def spent(model):
    """North has spent a quarter, south two, and south's agent is deleted."""
    for schema, times in (("north", 1), ("south", 2)):
        with schema_context(schema):
            make_priced_agent(model, monthly_budget_usd="9")
            for _ in range(times):
                model.script(QUARTER)
                get_agent("helper").run("hi")
    with schema_context("south"):
        AgentConfig.objects.get().delete()


def test_all_tenants_are_shown_with_totals(spent):
    lines = [line.split() for line in told().splitlines()]
    month = str(date.fromisoformat(lines[1][3]))
    assert lines == [
        ["tenant", "type", "name", "month", "from", "spent", "reserved", "limit"],
        ["north", "provider", "main", month, "$0.25", "$0.00", "$9.00"],
        ["north", "agent", "helper", month, "$0.25", "$0.00", "-"],
        ["north", "total", "$0.25", "$0.00"],
        ["south", "provider", "main", month, "$0.50", "$0.00", "$9.00"],
        ["south", "agent", "helper", month, "$0.50", "$0.00", "-"],
        ["south", "total", "$0.50", "$0.00"],
        ["all", "total", "$0.75", "$0.00"],
    ]


def test_json_has_the_amounts_as_text(spent):
    found = json.loads(told("--json"))
    assert (found["spent_usd"], found["reserved_usd"]) == ("0.75000000", "0.00000000")
    north, south = found["tenants"]
    assert (north["schema"], south["spent_usd"]) == ("north", "0.50000000")
    row = north["rows"][0]
    assert row.pop("month_start")
    assert row == {
        "owner": "provider",
        "name": "main",
        "spent_usd": "0.25000000",
        "reserved_usd": "0.00000000",
        "limit_usd": "9.0000",
        "calls": 1,
        "unknown_calls": 0,
    }


def test_one_tenant_and_one_month_can_be_chosen(spent):
    with schema_context("north"):
        Spend.objects.filter(owner="agent").update(month_start="2020-02-15")
    lines = told("--schema", "north", "--month", "2020-02").splitlines()
    assert [line.split()[:4] for line in lines[1:-2]] == [["north", "agent", "helper", "2020-02-15"]]
    assert "south" not in told("--schema", "north")
    assert "2020" not in told()
    with pytest.raises(CommandError, match="YYYY-MM"):
        told("--month", "november")


def test_a_month_under_way_began_on_the_budgets_own_day(spent):
    with schema_context("north"):
        Provider.objects.update(budget_reset_day=date.today().day % 28 + 1)
        assert [row["owner"] for row in json.loads(told("--json"))["tenants"][0]["rows"]] == ["agent"]


def test_calls_of_unknown_cost_are_named_beside_the_spending(spent):
    with schema_context("north"):
        Spend.objects.filter(owner="provider").update(spent_usd=0, unknown_calls=16)
        Spend.objects.filter(owner="agent").update(unknown_calls=1)
    lines = told("--schema", "north").splitlines()
    assert "$0.00 + 16 calls of unknown cost" in lines[1]
    assert "$0.25 + 1 call of unknown cost " in lines[2]
    assert [line.count("$0.00 + 16 calls of unknown cost") for line in lines[3:]] == [1, 1]
    assert json.loads(told("--json"))["unknown_calls"] == 16


def test_a_mistyped_schema_is_corrected(spent):
    with pytest.raises(CommandError, match=r"No tenant has the schema 'nort'. Did you mean 'north'\?"):
        told("--schema", "nort")
