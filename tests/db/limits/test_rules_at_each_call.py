"""Budgets and switches hold at each call to a provider, not only at the start of a run. These tests commit."""

from decimal import Decimal

import pytest
from django.db import transaction

from tests.build import make_agent_with, make_provider, price_models
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.exceptions import AgentDisabled, BudgetExceeded, LLMAPIError, ProviderDisabled
from zango_ai.models import AgentConfig, Fallback, Invocation, Provider, Spend
from zango_ai.testing import Call, Reply


@tool(description="Say yes.")
def agree() -> str:
    return "yes"


@tool(description="Switch the agent off.", safety=ToolSafety.WRITE)
def switch_off() -> str:
    AgentConfig.objects.update(is_enabled=False)
    return "off"


SLOW_CALL = Reply(calls=[Call("agree")], delay_s=0.6)


@pytest.fixture
def agent(model, live_north):
    agent = make_agent_with(model, agree, max_tokens=1000)
    price_models(agent.provider)
    return agent


def run_while(model, change, *script, name="helper"):
    """Run the agent, and change something in another connection while its first call is at the model."""
    caught = []
    model.script(*script)

    def ask():
        with schema_context("north"):
            try:
                caught.append(get_agent(name).run("hi"))
            except Exception as exc:
                caught.append(exc)

    def meddle():
        model.wait_for_requests(1)
        with schema_context("north"):
            change()

    run_together([ask, meddle])
    return caught[0]


CHANGES = {
    "agent off": (lambda: AgentConfig.objects.update(is_enabled=False), AgentDisabled),
    "provider off": (lambda: Provider.objects.update(is_enabled=False), ProviderDisabled),
    "agent deleted": (lambda: AgentConfig.objects.get().delete(), AgentDisabled),
    "agent's budget": (lambda: AgentConfig.objects.update(monthly_budget_usd=0), BudgetExceeded),
    "provider's budget": (lambda: Provider.objects.update(monthly_budget_usd=0), BudgetExceeded),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_run_under_way_stops_before_its_next_call(model, agent, name):
    change, error = CHANGES[name]
    exc = run_while(model, change, SLOW_CALL, "a second, paid answer")
    assert type(exc) is error, exc
    assert len(model.requests) == 1
    row = Invocation.objects.get()
    assert exc.invocation_id == row.pk
    assert (row.status, row.rounds_count) == (
        "budget_exceeded" if error is BudgetExceeded else "failed",
        1,
    )
    assert row.rounds.count() == 1
    assert {spend.reserved_usd for spend in Spend.objects.all()} == {0}


def test_the_errors_have_their_usual_attributes(model, agent):
    exc = run_while(model, lambda: AgentConfig.objects.update(monthly_budget_usd=0), SLOW_CALL)
    assert (exc.provider_name, exc.budget_limit, exc.agent_name) == ("main", Decimal(0), "helper")
    AgentConfig.objects.update(monthly_budget_usd=None)
    model.reset()
    exc = run_while(model, CHANGES["provider off"][0], SLOW_CALL)
    assert exc.name == "main"
    assert "Provider 'main' was disabled" in str(exc)


def test_a_budget_that_was_raised_lets_the_run_go_on(model, agent):
    AgentConfig.objects.update(monthly_budget_usd="0.30")
    raise_it = lambda: AgentConfig.objects.update(monthly_budget_usd=5)  # noqa: E731
    response = run_while(model, raise_it, Reply(calls=[Call("agree")], output_tokens=900, delay_s=0.6), "done")
    assert response.content == "done"


def test_a_retry_is_a_call_too(model, agent):
    Provider.objects.update(max_retries=3)
    down = Reply("down", status=503, headers={"retry-after": "0"}, delay_s=0.5)
    exc = run_while(model, CHANGES["provider off"][0], down, "a second, paid answer")
    assert type(exc) is ProviderDisabled
    assert len(model.requests) == 1


def test_a_fallback_that_was_disabled_meanwhile_is_skipped(model, agent):
    other = make_provider(model, name="other")
    third = make_provider(model, name="third")
    for position, provider in enumerate((other, third)):
        Fallback.objects.create(agent=agent, provider=provider, position=position)
    disable = lambda: Provider.objects.filter(name="other").update(is_enabled=False)  # noqa: E731
    down = Reply("down", status=503, delay_s=0.5)
    assert run_while(model, disable, down, "from the third").content == "from the third"
    assert list(Invocation.objects.get().rounds.values_list("provider_name", flat=True)) == ["main", "third"]


def test_where_all_fallbacks_were_disabled_the_first_error_is_told(model, agent):
    Fallback.objects.create(agent=agent, provider=make_provider(model, name="other"))
    disable = lambda: Provider.objects.filter(name="other").update(is_enabled=False)  # noqa: E731
    exc = run_while(model, disable, Reply("down", status=503, delay_s=0.5), "a second, paid answer")
    assert type(exc) is LLMAPIError
    assert len(model.requests) == 1


def test_a_fallbacks_own_budget_is_the_one_of_now(model, agent):
    Fallback.objects.create(agent=agent, provider=make_provider(model, name="other"))
    forbid = lambda: Provider.objects.filter(name="other").update(monthly_budget_usd=0)  # noqa: E731
    exc = run_while(model, forbid, Reply("down", status=503, delay_s=0.5), "a second, paid answer")
    assert type(exc) is BudgetExceeded
    assert exc.provider_name == "other"


@pytest.mark.parametrize("name", CHANGES)
def test_so_it_does_inside_the_callers_transaction(model, agent, name):
    change, error = CHANGES[name]
    model.script(SLOW_CALL, "a second, paid answer")

    def ask():
        with schema_context("north"), transaction.atomic():
            Provider.objects.count()
            with pytest.raises(error):
                get_agent("helper").run("hi")

    def meddle():
        model.wait_for_requests(1)
        with schema_context("north"):
            change()

    run_together([ask, meddle])
    assert len(model.requests) == 1


@pytest.mark.parametrize("in_savepoint", [False, True])
def test_what_the_callers_transaction_has_changed_and_not_committed_holds_for_its_runs(model, agent, in_savepoint):
    """The ledger's connection sees the rows as they were."""
    AgentConfig.objects.update(is_enabled=False, monthly_budget_usd=0)
    Provider.objects.update(is_enabled=False, monthly_budget_usd=0)
    model.script(Reply(calls=[Call("agree")]), "done")
    with transaction.atomic():
        if in_savepoint:
            with transaction.atomic():
                enable()
        else:
            enable()
        assert get_agent("helper").run("hi").content == "done"
    model.script(Reply(calls=[Call("agree")]), "done")
    assert get_agent("helper").run("hi").content == "done"


def enable():
    AgentConfig.objects.update(is_enabled=True, monthly_budget_usd=1)
    Provider.objects.update(is_enabled=True, monthly_budget_usd=1)


def test_in_a_test_case_too(model, north):
    make_agent_with(model, agree, switch_off)
    model.script(Reply(calls=[Call("switch_off")]), "a second, paid answer")
    with pytest.raises(AgentDisabled):
        get_agent("helper").run("hi")
    assert len(model.requests) == 1


def test_in_a_test_case_the_log_outlives_a_rollback_that_brings_a_switch_back(model, north):
    make_agent_with(model, agree)
    Provider.objects.update(is_enabled=False)
    with pytest.raises(RuntimeError), transaction.atomic():
        Provider.objects.update(is_enabled=True)
        get_agent("helper").run("hi")
        raise RuntimeError
    assert Invocation.objects.get().rounds.count() == 1
