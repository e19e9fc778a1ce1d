"""What the recorder logs for streamed, cancelled and agentless runs. ``Agent.run()`` needs none of them yet."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db.models import F

from tests.build import make_priced_agent
from zango_ai.configuration import agents
from zango_ai.exceptions import BudgetExceeded, RateLimitExceeded
from zango_ai.ledger import maintenance, reconciliation
from zango_ai.ledger.recording import record_run
from zango_ai.models import AgentConfig, Invocation, InvocationRound, Provider, Spend
from zango_ai.types import Estimate, LLMMessage, LLMUsage, ModelAnswer, ModelRequest, Target

pytestmark = pytest.mark.usefixtures("live_north")

REQUEST = ModelRequest("gpt-4o-mini", (LLMMessage("user", "hi"),), 0.7, 1000, 30.0)
ESTIMATE = Estimate(2000, Decimal("0.25"))
PARTIAL = ModelAnswer(
    "a qua",
    "gpt-4o-mini",
    "end_turn",
    LLMUsage(100, 40),
    Decimal("0.01"),
    {},
    time_to_first_token_ms=12,
    is_usage_estimated=True,
)


def record(agent):
    name = "" if agent is None else agent.name
    return record_run("north", agent_name=name, triggered_by="user")


def reserve(recorder, agent):
    if agent is not None:
        recorder.note_agent(agent)
    provider = agents.read_agent("helper").provider
    recorder.reserve_round(Target(provider, "gpt-4o-mini"), REQUEST, ESTIMATE)


@pytest.fixture
def agent(model):
    make_priced_agent(model, monthly_budget_usd="0.5")
    return agents.read_agent("helper")


def logged(run):
    return Invocation.objects.get(run_id=run.run_id)


def spending():
    assert list(reconciliation.find_drift("north")) == []
    return {row.owner: (row.spent_usd, row.reserved_usd) for row in Spend.objects.all()}


def test_a_streamed_answer_is_logged_with_its_first_token_and_as_estimated(agent):
    with record(agent) as recorder:
        reserve(recorder, agent)
        recorder.settle_round(PARTIAL, is_last=True)
        recorder.succeed()
    round_ = logged(recorder).rounds.get()
    assert (round_.status, round_.time_to_first_token_ms, round_.is_usage_estimated) == ("success", 12, True)


def test_a_cancelled_run_is_billed_for_what_it_has_produced(agent):
    with record(agent) as recorder:
        reserve(recorder, agent)
        recorder.cancel(PARTIAL)
    row = logged(recorder)
    assert (row.status, row.response_content, row.error_type) == ("cancelled", "a qua", "")
    assert (row.cost_usd, row.output_tokens, row.rounds_count) == (Decimal("0.01"), 40, 1)
    assert (row.rounds.get().status, row.rounds.get().is_usage_estimated) == ("cancelled", True)
    assert spending() == {"provider": (Decimal("0.01"), 0), "agent": (Decimal("0.01"), 0)}


def test_a_cancelled_run_that_has_produced_nothing_yet_is_charged_what_it_had_reserved(agent):
    with record(agent) as recorder:
        reserve(recorder, agent)
        recorder.cancel()
    row = logged(recorder)
    assert (row.status, row.cost_usd, row.rounds.get().status) == ("cancelled", None, "cancelled")
    assert spending()["provider"] == (Decimal("0.25"), 0)


def test_a_run_that_is_cancelled_before_its_first_call_costs_nothing(agent):
    with record(agent) as recorder:
        recorder.note_agent(agent)
        recorder.cancel()
    row = logged(recorder)
    assert (row.status, row.cost_usd, row.rounds_count) == ("cancelled", 0, 0)


@pytest.mark.parametrize("error", [GeneratorExit, ValueError])
def test_an_error_after_the_cancellation_does_not_change_the_row(agent, error):
    """A closed stream raises GeneratorExit after its driver has cancelled the run."""
    with pytest.raises(error) as caught, record(agent) as recorder:
        reserve(recorder, agent)
        recorder.cancel(PARTIAL)
        raise error
    row = logged(recorder)
    assert (row.status, row.cost_usd, row.error_type) == ("cancelled", Decimal("0.01"), "")
    assert caught.value.invocation_id == row.pk


def test_a_run_without_an_agent_is_charged_to_its_provider_alone(agent):
    with record(None) as recorder:
        reserve(recorder, None)
        recorder.settle_round(PARTIAL, is_last=True)
        recorder.succeed()
    row = logged(recorder)
    assert (row.status, row.agent_id, row.agent_name, row.provider_name) == ("success", None, "", "main")
    assert (row.rounds.get().agent_month, row.cost_usd) == (None, Decimal("0.01"))
    assert spending() == {"provider": (Decimal("0.01"), 0)}


def test_a_run_without_an_agent_keeps_to_its_providers_budget_and_limits(agent):
    AgentConfig.objects.update(monthly_budget_usd=0)  # of no concern to it
    Provider.objects.update(monthly_budget_usd="0.2")
    with pytest.raises(BudgetExceeded, match="Provider 'main'"), record(None) as recorder:
        reserve(recorder, None)
    assert logged(recorder).status == "budget_exceeded"
    Provider.objects.update(monthly_budget_usd=None, rate_limit_rpm=1)
    with record(None) as recorder:
        reserve(recorder, None)
        recorder.cancel(PARTIAL)
    with pytest.raises(RateLimitExceeded), record(None) as recorder:
        reserve(recorder, None)
    assert logged(recorder).status == "rate_limited"
    assert spending() == {"provider": (Decimal("0.01"), 0)}


def test_maintenance_gives_back_what_an_abandoned_run_without_an_agent_has_reserved(agent):
    class Killed(BaseException):
        """The process ends here: nothing more is written."""

    with pytest.raises(Killed), record(None) as recorder:
        reserve(recorder, None)
        recorder.fail = lambda exc: None
        raise Killed
    Invocation.objects.update(updated_at=F("updated_at") - timedelta(hours=1))
    assert maintenance.abandon_orphans("north") == maintenance.Abandoned(1, Decimal("0.25"))
    assert InvocationRound.objects.get().status == "abandoned"
    assert spending() == {"provider": (0, 0)}
