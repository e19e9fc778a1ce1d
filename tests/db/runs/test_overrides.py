"""``run(model=..., temperature=..., max_tokens=...)``: for one call, with all that follows from it."""

from decimal import Decimal

import pytest

from tests.build import make_agent, make_agent_with, make_priced_agent, make_prompt, make_provider
from tests.workers import app
from zango_ai import LLMFile, get_agent, tool
from zango_ai.configuration.overrides import Overrides
from zango_ai.exceptions import BudgetExceeded, LLMAPIError, LLMFileError, ModelNotAvailable, ProviderNotFound
from zango_ai.models import AgentConfig, Fallback, Invocation, InvocationRound
from zango_ai.testing import Call, Reply
from zango_ai.types import PromptSpec

pytestmark = pytest.mark.usefixtures("north")

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


def sent(model, number=-1):
    body = model.requests[number].body
    return body["model"], body.get("temperature"), body.get("max_tokens")


def test_one_call_uses_them_and_the_rows_say_so(model):
    make_agent(model, temperature=0.7, max_tokens=2000)
    agent = get_agent("helper")
    response = agent.run("hi", model="gpt-4o", temperature=0, max_tokens=50)
    assert sent(model) == ("gpt-4o", 0, 50)
    row, round_ = Invocation.objects.get(), InvocationRound.objects.get()
    assert (row.model, round_.model, response.model) == ("gpt-4o",) * 3
    assert (round_.request_params["temperature"], round_.request_params["max_tokens"]) == (0, 50)
    agent.run("hi")
    assert sent(model) == ("gpt-4o-mini", 0.7, 2000)
    assert AgentConfig.objects.get().max_tokens == 2000


@pytest.mark.parametrize("call", ["run", "enqueue"])
def test_the_model_must_be_allowed_on_the_provider(model, call):
    config = make_agent(model)
    config.provider.models.create(model_id="gpt-4o-mini")
    config.provider.models.create(model_id="gpt-4o", is_enabled=False)
    for name in ("gpt-4o", "gpt-5"):
        with pytest.raises(ModelNotAvailable, match=name) as caught:
            getattr(get_agent("helper"), call)("hi", model=name)
        assert (caught.value.model, caught.value.provider_name) == (name, "main")
        row = Invocation.objects.get(pk=caught.value.invocation_id)
        assert (row.status, row.model) == ("failed", name)
    assert model.requests == []


def test_a_model_of_the_call_stands_in_for_one_that_is_not_allowed_or_not_there(model):
    config = make_agent(model, model="gpt-5")
    config.provider.models.create(model_id="gpt-4o-mini")
    assert get_agent("helper").run("hi", model="gpt-4o-mini").model == "gpt-4o-mini"


def test_budgets_and_prices_follow_the_model_and_its_tokens(model):
    config = make_priced_agent(model, monthly_budget_usd="0.3")
    config.provider.models.create(model_id="dear", input_cost_per_mtok=0, output_cost_per_mtok=2500)
    agent = get_agent("helper")
    with pytest.raises(BudgetExceeded):
        agent.run("hi", model="dear")  # a thousand tokens of it are estimated at $2.50
    with pytest.raises(BudgetExceeded):
        agent.run("hi", max_tokens=2000)
    model.script(Reply("ok", input_tokens=1, output_tokens=100))
    agent.run("hi", model="dear", max_tokens=100)
    assert Invocation.objects.first().cost_usd == Decimal("0.25")


def test_what_files_a_model_takes_follows_the_model(model):
    config = make_agent(model)
    config.provider.models.create(model_id="gpt-4o-mini")
    config.provider.models.create(model_id="blind", accepts_images=False)
    image = LLMFile.from_bytes(PNG, "image/png", "a.png")
    get_agent("helper").run("hi", files=[image])
    with pytest.raises(LLMFileError):
        get_agent("helper").run("hi", files=[image], model="blind")


def test_a_fallback_keeps_its_model_and_takes_the_rest(model):
    config = make_agent(model)
    Fallback.objects.create(
        agent=config, provider=make_provider(model, name="second", default_model="gpt-4.1-mini")
    )
    model.script(Reply("down", status=503), "from the second")
    get_agent("helper").run("hi", model="gpt-4o", temperature=0.1, max_tokens=50)
    assert [sent(model, number) for number in (0, 1)] == [("gpt-4o", 0.1, 50), ("gpt-4.1-mini", 0.1, 50)]
    assert Invocation.objects.get().model == "gpt-4.1-mini"


WRONG = [
    ({"model": 3}, TypeError),
    ({"model": ""}, ValueError),
    ({"model": " gpt-4o"}, ValueError),
    ({"model": "x" * 201}, ValueError),
    ({"model": "a\0b"}, ValueError),
    ({"model": "\ud800"}, ValueError),
    ({"temperature": "0.5"}, TypeError),
    ({"temperature": True}, TypeError),
    ({"temperature": Decimal("0.5")}, TypeError),
    ({"temperature": -0.1}, ValueError),
    ({"temperature": 2.1}, ValueError),
    ({"temperature": float("nan")}, ValueError),
    ({"temperature": 10**400}, ValueError),
    ({"max_tokens": "5"}, TypeError),
    ({"max_tokens": 5.0}, TypeError),
    ({"max_tokens": True}, TypeError),
    ({"max_tokens": 0}, ValueError),
    ({"max_tokens": 2**31}, ValueError),
    ({"max_tokens": 10**5000}, ValueError),
]


@pytest.mark.parametrize("call", ["run", "enqueue"])
@pytest.mark.parametrize(("arguments", "error"), WRONG)
def test_a_value_that_no_agent_could_have_is_refused_before_anything_happens(model, call, arguments, error):
    make_agent(model)
    with pytest.raises(error, match=next(iter(arguments))):
        getattr(get_agent("helper"), call)("hi", **arguments)
    assert not Invocation.objects.exists()
    assert model.requests == []


def test_they_outlast_a_pause_for_approval(model):
    @tool(name="write_it", description="Write.", requires_approval=True)
    def write_it() -> str:
        return "written"

    make_agent_with(model, write_it)
    model.script(Reply(calls=[Call("write_it")]), "done")
    paused = get_agent("helper").run("hi", model="gpt-4o", temperature=0.2, max_tokens=50)
    (pending,) = paused.pending_approvals
    get_agent("helper").resume(paused.run_id, {pending.id: True})
    assert [sent(model, number) for number in (0, 1)] == [("gpt-4o", 0.2, 50)] * 2
    assert Invocation.objects.get().model == "gpt-4o"


def test_they_reach_the_worker_and_are_checked_there_again(model, django_capture_on_commit_callbacks):
    config = make_agent(model)
    config.provider.models.create(model_id="gpt-4o-mini")
    other = config.provider.models.create(model_id="gpt-4o")
    with app("memory://") as made:
        made.conf.task_always_eager = True
        with django_capture_on_commit_callbacks(execute=True):
            run = get_agent("helper").enqueue("hi", model="gpt-4o", temperature=0.2, max_tokens=50)
        assert run.response().model == "gpt-4o"
        assert sent(model) == ("gpt-4o", 0.2, 50)
        with django_capture_on_commit_callbacks() as callbacks:
            run = get_agent("helper").enqueue("hi", model="gpt-4o")
        other.delete()
        callbacks[0]()
    assert (run.status, len(model.requests)) == ("failed", 1)
    assert Invocation.objects.get(run_id=run.run_id).error_type == "ModelNotAvailable"


def test_a_draft_of_a_prompt_is_sent_once_and_logged_without_a_version(model):
    make_agent(
        model,
        system_prompt=make_prompt("Be {{ tone }}.", "system", name="manner"),
        user_prompt=make_prompt("Greet {{ name }}.", name="greeting"),
    )
    draft = PromptSpec("greeting", version=None, content="Greet {{ name }} warmly.")
    agent = get_agent("helper").with_overrides(Overrides(user_prompt=draft))
    agent.run(variables={"name": "Ada"}, system_variables={"tone": "brief"})
    get_agent("helper").run(variables={"name": "Ada"})
    assert [request.body["messages"][-1]["content"] for request in model.requests] == [
        "Greet Ada warmly.",
        "Greet Ada.",
    ]
    row = Invocation.objects.last()
    assert (row.user_prompt_name, row.user_prompt_version) == ("greeting", None)
    assert (row.system_prompt_version, row.rendered_user_prompt) == (1, "Greet Ada warmly.")


def test_another_provider_is_used_with_its_own_model_and_without_fallbacks(model):
    config = make_agent(model, model="gpt-4o")
    other = make_provider(model, name="second", default_model="gpt-4.1-mini")
    Fallback.objects.create(agent=config, provider=config.provider, model="gpt-4o-mini")
    agent = get_agent("helper").with_overrides(Overrides(provider_id=other.pk))
    assert agent.run("hi").model == "gpt-4.1-mini"
    assert agent.run("hi", model="gpt-5").model == "gpt-5"
    assert list(Invocation.objects.values_list("provider_name", "model")) == [
        ("second", "gpt-5"),
        ("second", "gpt-4.1-mini"),
    ]
    model.script(*[Reply("down", status=400)] * 3)
    with pytest.raises(LLMAPIError):
        agent.run("hi")
    other.delete()
    with pytest.raises(ProviderNotFound, match="Choose another one"):
        agent.run("hi")


def test_a_draft_and_another_provider_outlast_a_pause_for_approval(model):
    @tool(name="write_it", description="Write.", requires_approval=True)
    def write_it() -> str:
        return "written"

    make_agent_with(model, write_it, user_prompt=make_prompt("Write.", name="order"))
    other = make_provider(model, name="second", default_model="gpt-4.1-mini")
    draft = PromptSpec("order", version=None, content="Write it.")
    agent = get_agent("helper").with_overrides(Overrides(provider_id=other.pk, user_prompt=draft))
    model.script(Reply(calls=[Call("write_it")]), "done")
    paused = agent.run()
    (pending,) = paused.pending_approvals
    get_agent("helper").resume(paused.run_id, {pending.id: True})
    row = Invocation.objects.get()
    assert (row.status, row.provider_name, row.user_prompt_version) == ("success", "second", None)
    assert sent(model)[0] == "gpt-4.1-mini"
