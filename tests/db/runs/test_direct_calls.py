"""``get_provider(name).complete()`` and ``get_prompt(name).render()``: a model and a prompt without an agent."""

import pickle
from datetime import timedelta
from decimal import Decimal
from inspect import signature

import pytest
from django.db import transaction

from tests.build import API_KEY, QUARTER, make_prompt, make_provider, price_models
from tests.schemas import schema_context
from tests.statements import statements
from zango_ai import LLMFile, LLMMessage, get_prompt, get_provider, get_run
from zango_ai.exceptions import (
    BudgetExceeded,
    InputRequired,
    LLMAPIError,
    LLMFileError,
    ModelNotAvailable,
    PriceUnknown,
    PromptNotFound,
    PromptRenderError,
    ProviderDisabled,
    ProviderNotFound,
    RateLimitExceeded,
    WrongTenant,
)
from zango_ai.ledger import reconciliation
from zango_ai.models import (
    AgentConfig,
    Invocation,
    InvocationFile,
    Prompt,
    Provider,
    RateLimitState,
    Spend,
)
from zango_ai.testing import Call, Reply

HELLO = [LLMMessage("user", "Hello")]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32


def complete(messages=HELLO, **arguments):
    return get_provider("main").complete(messages, **arguments)


def row_of(exc, status="failed"):
    row = Invocation.objects.get(pk=exc.invocation_id)
    assert (row.status, row.error_type, row.provider_name) == (status, type(exc).__name__, "main")
    assert (row.agent, row.agent_name) == (None, "")
    return row


def test_a_direct_call_is_logged_as_a_run_without_agent(model, north):
    provider = make_provider(model)
    model.script(Reply("Good day.", input_tokens=100, output_tokens=10))
    messages = [LLMMessage("system", "Be brief."), LLMMessage("user", "Hello")]
    response = complete(messages, user_ref="nurse-7", triggered_by="system")
    assert (response.content, response.stop_reason, response.session_id) == ("Good day.", "end_turn", None)
    assert (response.usage.input_tokens, response.cost_usd, response.is_cost_known) == (100, 0.000021, True)
    row = Invocation.objects.get()
    assert (row.pk, row.run_id) == (response.invocation_id, response.run_id)
    assert (row.agent, row.agent_name, row.provider, row.provider_name) == (None, "", provider, "main")
    assert (row.status, row.model, row.user_ref, row.triggered_by) == (
        "success",
        "gpt-4o-mini",
        "nurse-7",
        "system",
    )
    assert (row.rendered_system_prompt, row.rendered_user_prompt) == ("Be brief.", "Hello")
    assert (row.response_content, row.cost_usd, row.rounds_count) == ("Good day.", Decimal("0.000021"), 1)
    assert (row.timeout_seconds, row.rounds.get().status) == (30, "success")
    assert get_run(response.run_id).response().content == "Good day."
    assert [(m["role"], m["content"]) for m in model.requests[0].body["messages"]] == [
        ("system", "Be brief."),
        ("user", "Hello"),
    ]


def test_without_arguments_it_uses_the_default_model_and_the_settings_of_a_new_agent(model, north):
    make_provider(model)
    complete()
    complete(model="gpt-4o", temperature=0, max_tokens=50)
    first, second = (request.body for request in model.requests)
    new = AgentConfig()
    assert (first["model"], first["temperature"], first["max_tokens"]) == (
        "gpt-4o-mini",
        new.temperature,
        new.max_tokens,
    )
    assert (second["model"], second["temperature"], second["max_tokens"]) == ("gpt-4o", 0, 50)
    assert set(Invocation.objects.values_list("model", flat=True)) == {"gpt-4o-mini", "gpt-4o"}


def test_the_messages_may_be_any_iterable_and_stay_as_they_are(model, north):
    make_provider(model)
    messages = [LLMMessage("user", "{{ name }}"), LLMMessage("assistant", "Hm?"), LLMMessage("user", "Hello")]
    complete(message for message in messages)
    assert [m["content"] for m in model.requests[0].body["messages"]] == ["{{ name }}", "Hm?", "Hello"]


def test_a_file_of_a_message_is_sent_and_stored(model, north):
    make_provider(model)
    image = LLMFile.from_bytes(PNG, "image/png", "a.png")
    response = complete([LLMMessage("user", "What is this?", files=(image,))])
    kinds = [part["type"] for part in model.requests[0].body["messages"][0]["content"]]
    assert "image_url" in kinds
    assert InvocationFile.objects.get().invocation_id == response.invocation_id
    with pytest.raises(LLMFileError) as caught:
        complete([LLMMessage("user", "And this?", files=(LLMFile.from_bytes(b"x", "image/png", "b.png"),))])
    row_of(caught.value)


@pytest.mark.parametrize("messages", ["Hello", LLMMessage("user", "Hello"), ["Hello"], None, 3])
def test_messages_of_the_wrong_type_are_a_type_error_that_says_what_to_pass(model, north, messages):
    make_provider(model)
    with pytest.raises(TypeError, match=r"messages .*pass a list of LLMMessage\.") as caught:
        complete(messages)
    assert Invocation.objects.get(pk=caught.value.invocation_id).error_type == "TypeError"
    assert model.requests == []


def test_no_messages_are_an_error(model, north):
    make_provider(model)
    with pytest.raises(InputRequired, match="'main'") as caught:
        complete([])
    assert caught.value.name == "main"
    row_of(caught.value)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"triggered_by": "robot"}, ValueError),
        ({"temperature": 3}, ValueError),
        ({"max_tokens": "5"}, TypeError),
        ({"model": ""}, ValueError),
        ({"session_id": "s"}, TypeError),
    ],
)
def test_other_wrong_arguments_are_refused_before_anything_happens(model, north, arguments, error):
    make_provider(model)
    with pytest.raises(error, match=next(iter(arguments))):
        complete(**arguments)
    assert (Invocation.objects.count(), model.requests) == (0, [])


def test_it_takes_the_arguments_that_are_promised():
    names = ["self", "messages", "model", "temperature", "max_tokens", "user_ref", "triggered_by"]
    assert list(signature(Provider.complete).parameters) == names


# The provider's limits.


def test_the_providers_budget_holds(model, north):
    price_models(make_provider(model, monthly_budget_usd="0.5"))
    model.script(QUARTER, QUARTER)
    for _ in range(2):
        assert complete(max_tokens=1000).cost_usd == 0.25
    with pytest.raises(BudgetExceeded) as caught:
        complete(max_tokens=1000)
    assert (caught.value.provider_name, caught.value.budget_limit) == ("main", Decimal("0.5"))
    row_of(caught.value, "budget_exceeded")
    spend = Spend.objects.get()
    assert (spend.owner, spend.spent_usd, spend.reserved_usd) == ("provider", Decimal("0.5"), 0)
    assert list(reconciliation.find_drift("north")) == []
    assert len(model.requests) == 2


def test_the_providers_rate_limit_holds(model, north):
    make_provider(model, rate_limit_rpm=1)
    complete()
    with pytest.raises(RateLimitExceeded) as caught:
        complete()
    assert 0 < caught.value.retry_after_seconds <= 60
    row_of(caught.value, "rate_limited")
    assert len(model.requests) == RateLimitState.objects.count() == 1


def test_the_configuration_of_the_moment_applies_not_that_of_the_lookup(model, north):
    make_provider(model)
    provider = get_provider("main")
    Provider.objects.update(is_enabled=False)
    with pytest.raises(ProviderDisabled, match="'main'") as caught:
        provider.complete(HELLO)
    row_of(caught.value)
    Provider.objects.update(is_enabled=True, default_model="gpt-4o")
    assert provider.complete(HELLO).model == "gpt-4o"
    Provider.objects.all().delete()
    with pytest.raises(ProviderNotFound, match="deleted") as gone:
        provider.complete(HELLO)
    assert Invocation.objects.get(pk=gone.value.invocation_id).status == "failed"
    assert len(model.requests) == 1


def test_only_an_allowed_model_is_asked(model, north):
    provider = make_provider(model)
    provider.models.create(model_id="gpt-4o-mini")
    provider.models.create(model_id="gpt-4o", is_enabled=False)
    for name in ("gpt-4o", "gpt-5"):
        with pytest.raises(ModelNotAvailable, match=name) as caught:
            complete(model=name)
        assert (caught.value.model, caught.value.provider_name) == (name, "main")
        assert row_of(caught.value).model == name
    Provider.objects.update(default_model="")
    with pytest.raises(ModelNotAvailable, match="pass model=") as without:
        complete()
    row_of(without.value)
    assert model.requests == []
    assert complete(model="gpt-4o-mini").model == "gpt-4o-mini"


def test_a_model_without_a_price_is_refused_under_a_budget(model, north):
    make_provider(model, default_model="home-grown", monthly_budget_usd=5)
    with pytest.raises(PriceUnknown) as caught:
        complete()
    assert caught.value.model == "home-grown"
    row_of(caught.value)
    assert model.requests == []
    Provider.objects.update(allow_unpriced=True)
    response = complete()
    assert (response.is_cost_known, Invocation.objects.get(pk=response.invocation_id).cost_usd) == (False, None)


# Errors, and what the caller's transaction does.


def test_a_failed_call_is_retried_as_an_agents_is(model, north):
    make_provider(model, max_retries=1)
    model.script(Reply(status=503), "At last.")
    response = complete()
    rounds = Invocation.objects.get(pk=response.invocation_id).rounds.order_by("number")
    assert [(each.number, each.status) for each in rounds] == [(1, "failed"), (2, "success")]
    model.script(Reply(status=500), Reply(status=500), "never asked")
    with pytest.raises(LLMAPIError) as caught:
        complete()
    assert row_of(caught.value).rounds_count == 2
    assert API_KEY not in str(caught.value)


def test_a_tool_call_that_the_model_makes_up_is_denied(model, north):
    make_provider(model)
    model.script(Reply("I try.", calls=[Call("drop_all")]))
    response = complete()
    assert [(call.name, call.status) for call in response.tool_calls] == [("drop_all", "denied")]
    assert len(model.requests) == 1


def test_the_row_stays_when_the_caller_rolls_back(model, live_north):
    make_provider(model)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Provider.objects.update(description="undone")
        response = complete()
        raise ZeroDivisionError
    assert Provider.objects.get().description == ""
    assert Invocation.objects.get(pk=response.invocation_id).status == "success"


def test_the_row_stays_when_the_caller_rolls_back_inside_a_test(model, north):
    make_provider(model)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        response = complete()
        raise ZeroDivisionError
    assert Invocation.objects.get(pk=response.invocation_id).status == "success"


def test_it_takes_as_many_statements_as_a_plain_run(model, live_north):
    make_provider(model)
    complete()
    provider = get_provider("main")
    asked = statements(lambda: provider.complete(HELLO))
    assert len(asked) <= 3, asked  # read the configuration, reserve, settle


# Tenants.


def look_up():
    return get_provider("main")


def read_by_hand():
    return Provider.objects.get(name="main")


def from_a_cache():
    return pickle.loads(pickle.dumps(get_provider("main")))


def create(model):
    return make_provider(model, name="another")


@pytest.mark.parametrize("source", [look_up, read_by_hand, from_a_cache, create])
def test_a_provider_used_in_another_tenant_sends_nothing_and_tells_the_other_nothing(model, tenants, source):
    for schema in ("north", "south"):
        with schema_context(schema):
            make_provider(model)
    with schema_context("north"):
        provider = source(model) if source is create else source()
    with schema_context("south"), pytest.raises(WrongTenant, match="'north'") as caught:
        provider.complete([LLMMessage("user", "a secret of south")], user_ref="south-7")
    assert caught.value.schema == "south"
    assert model.requests == []
    with schema_context("north"):
        row = Invocation.objects.get(pk=caught.value.invocation_id)
        assert (row.error_type, row.user_ref, row.rendered_user_prompt) == ("WrongTenant", "", "")
        assert provider.complete(HELLO).content
    with schema_context("south"):
        assert not Invocation.objects.exists()


# Prompts.


def test_a_prompt_renders_its_active_version_as_a_run_does(north):
    made = make_prompt("Dear {{ name }}, {{self}}{{ none }}: {{ wait }}", name="letter")
    values = {"name": "{{ wait }}", "self": 3, "none": None, "wait": timedelta(seconds=1)}
    assert get_prompt("letter").render(**values) == "Dear {{ wait }}, 3: 0:00:01"
    made.add_version("Hello").activate()
    made.add_version("a draft")
    prompt = get_prompt("letter")
    assert (prompt.render(), prompt.render(name="unused")) == ("Hello", "Hello")
    assert (prompt.content, prompt.version_number) == ("Hello", 2)


def test_every_missing_variable_is_listed_once(north):
    make_prompt("{{ b }} {{ a }} {{ given }} {{ b }}", name="letter")
    with pytest.raises(PromptRenderError, match=r"render\(\)") as caught:
        get_prompt("letter").render(given=1)
    assert caught.value.missing_vars == ["b", "a"]
    assert "variables=" not in str(caught.value)


def test_a_prompt_without_an_active_version_has_no_text(north):
    Prompt.objects.create(name="empty", type="user")
    prompt = get_prompt("empty")
    for use in (prompt.render, lambda: prompt.content, lambda: prompt.version_number):
        with pytest.raises(PromptNotFound, match="no active version") as caught:
            use()
        assert caught.value.name == "empty"


def test_a_prompt_never_reads_another_tenants_version(tenants):
    with schema_context("north"):
        prompt = Prompt.objects.create(name="letter", type="user")
        looked_up = get_prompt("letter")
    with schema_context("south"):
        make_prompt("a secret of south", name="letter")
        for each in (prompt, looked_up):
            with pytest.raises(WrongTenant, match=r"get_prompt\(\)"):
                each.render()
