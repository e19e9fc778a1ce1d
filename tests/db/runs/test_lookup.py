"""Finding an agent, and what keeps one from running."""

import pytest

from tests.build import make_agent, make_prompt, make_provider
from tests.schemas import needs_tenants, schema_context
from zango_ai import get_agent, get_prompt, get_provider
from zango_ai.exceptions import (
    AgentDisabled,
    AgentNotFound,
    ModelNotAvailable,
    PromptNotFound,
    ProviderDisabled,
    ProviderNotFound,
    WrongTenant,
)
from zango_ai.models import AgentConfig, Invocation, Provider, ProviderModel


def test_an_agent_is_found_by_its_exact_name(model, north):
    make_agent(model, "Helper")
    assert get_agent("Helper").name == "Helper"
    with pytest.raises(AgentNotFound, match="north") as caught:
        get_agent("helper")
    assert caught.value.name == "helper"


def test_a_disabled_agent_is_not_found(model, north):
    make_agent(model, is_enabled=False)
    with pytest.raises(AgentNotFound, match="disabled"):
        get_agent("helper")


@needs_tenants
def test_on_the_public_schema_it_says_that_no_tenant_is_active(tenants):
    with pytest.raises(AgentNotFound, match="No tenant is active"):
        get_agent("helper")
    with pytest.raises(ProviderNotFound, match="No tenant is active"):
        get_provider("main")


def test_providers_and_prompts_are_found_by_name(model, north):
    make_provider(model)
    make_prompt("hi", name="greeting")
    assert get_provider("main").kind == "openai"
    assert get_prompt("greeting").active_version.content == "hi"
    with pytest.raises(ProviderNotFound) as no_provider:
        get_provider("other")
    with pytest.raises(PromptNotFound) as no_prompt:
        get_prompt("other")
    assert no_provider.value.name == no_prompt.value.name == "other"


def failed_row(exc):
    row = Invocation.objects.get(pk=exc.invocation_id)
    assert (row.status, row.error_type) == ("failed", type(exc).__name__)
    assert row.finished_at is not None
    return row


def test_an_agent_switched_off_since_it_was_found_does_not_run(model, north):
    make_agent(model)
    agent = get_agent("helper")
    AgentConfig.objects.update(is_enabled=False)
    with pytest.raises(AgentDisabled) as caught:
        agent.run("hi")
    assert caught.value.name == "helper"
    failed_row(caught.value)
    assert model.requests == []


def test_an_agent_deleted_since_it_was_found_does_not_run(model, north):
    make_agent(model)
    agent = get_agent("helper")
    AgentConfig.objects.all().delete()
    with pytest.raises(AgentNotFound, match="deleted") as caught:
        agent.run("hi")
    assert failed_row(caught.value).agent_name == "helper"


def test_a_disabled_provider_is_not_asked(model, north):
    make_agent(model)
    Provider.objects.update(is_enabled=False)
    with pytest.raises(ProviderDisabled) as caught:
        get_agent("helper").run("hi")
    assert caught.value.name == "main"
    failed_row(caught.value)
    assert model.requests == []


def test_a_provider_with_a_list_allows_the_enabled_models_of_it(model, north):
    config = make_agent(model)
    ProviderModel.objects.create(provider=config.provider, model_id="gpt-4o-mini")
    ProviderModel.objects.create(provider=config.provider, model_id="gpt-4o", is_enabled=False)
    get_agent("helper").run("hi")
    for name in ("gpt-4o", "gpt-5"):
        AgentConfig.objects.update(model=name)
        with pytest.raises(ModelNotAvailable) as caught:
            get_agent("helper").run("hi")
        assert (caught.value.model, caught.value.provider_name) == (name, "main")
        failed_row(caught.value)
    assert len(model.requests) == 1


def test_the_agents_own_model_goes_before_the_providers_default(model, north):
    make_agent(model, model="gpt-4o")
    response = get_agent("helper").run("hi")
    assert model.requests[0].body["model"] == response.model == "gpt-4o"


def test_an_agent_used_in_another_tenant_sends_nothing_and_tells_the_other_nothing(model, tenants):
    with schema_context("north"):
        make_agent(model)
        agent = get_agent("helper")
    with schema_context("south"), pytest.raises(WrongTenant) as caught:
        agent.run("a secret of south", variables={"secret": "of south"}, user_ref="south-7")
    assert caught.value.schema == "south"
    assert model.requests == []
    with schema_context("north"):
        row = failed_row(caught.value)
        assert (row.user_ref, row.variables, row.rendered_user_prompt) == ("", None, "")
    with schema_context("south"):
        assert not Invocation.objects.exists()


@pytest.mark.parametrize("trigger", ["robot", "", "User"])
def test_a_wrong_trigger_is_refused_before_anything_else(model, north, trigger):
    make_agent(model)
    with pytest.raises(ValueError, match="user, task, system"):
        get_agent("helper").run("hi", triggered_by=trigger)
    assert not Invocation.objects.exists()


def test_an_unknown_argument_is_a_type_error(model, north):
    make_agent(model)
    with pytest.raises(TypeError):
        get_agent("helper").run("hi", temprature=1)
    assert not Invocation.objects.exists()
