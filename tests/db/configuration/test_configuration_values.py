"""Choices and numbers of the configuration: what is not allowed cannot be saved, by whatever way."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import DataError, IntegrityError, models, transaction
from django.db.models import F

from tests.build import make_agent, make_prompt
from zango_ai.models import AgentConfig, Fallback, Prompt, PromptVersion, Provider, ProviderModel, Tool

pytestmark = pytest.mark.usefixtures("north")

CONFIGURATION = (AgentConfig, Fallback, Prompt, PromptVersion, Provider, ProviderModel, Tool)
COUNTED_BY_US = {"id", "last_version_number"}
HUGE = 2_000_000_000


def make_tool():
    return Tool.objects.create(
        name="look", description="Look", python_path="x.y", safety="read_only", timeout_seconds=5, schema_hash="x"
    )


@pytest.fixture
def rows(model):
    agent = make_agent(model)
    return {
        AgentConfig: agent,
        Fallback: Fallback.objects.create(agent=agent, provider=agent.provider),
        Prompt: make_prompt("Hi"),
        PromptVersion: PromptVersion.objects.get(),
        Provider: agent.provider,
        ProviderModel: ProviderModel.objects.create(provider=agent.provider, model_id="m"),
        Tool: make_tool(),
    }


@pytest.mark.parametrize(
    ("kind", "field", "wrong", "allowed"),
    [
        (Provider, "kind", "openia", "openai"),
        (AgentConfig, "output_schema", "jsonn", "text, json, markdown"),
        (Prompt, "type", "sytem", "system, user"),
        (Tool, "safety", "safe", "read_only, write, external"),
        (Tool, "memory_policy", "no", "include, exclude"),
    ],
)
def test_a_choice_that_is_misspelt_is_refused_with_those_that_are_allowed(rows, kind, field, wrong, allowed):
    row = rows[kind]
    setattr(row, field, wrong)
    with pytest.raises(ValidationError) as caught:
        row.save()
    message = caught.value.message_dict[field][0]
    assert f"'{wrong}' is not allowed" in message
    assert allowed in message
    row.refresh_from_db()
    assert getattr(row, field) != wrong


def test_a_provider_of_an_unknown_kind_cannot_be_created(north):
    with pytest.raises(ValidationError, match="openia"):
        Provider.objects.create(name="x", kind="openia")


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (AgentConfig, {"output_schema": "jsonn"}),
        (Prompt, {"type": "sytem"}),
        (PromptVersion, {"status": "on"}),
        (Tool, {"safety": "safe"}),
        (Tool, {"memory_policy": "no"}),
    ],
)
def test_the_database_refuses_a_misspelt_choice_past_save(rows, kind, values):
    with pytest.raises(IntegrityError), transaction.atomic():
        models.QuerySet(kind).update(**values)  # past the guard of a prompt's versions


def numbers_of(kind):
    is_number = (models.IntegerField, models.FloatField, models.DecimalField)
    fields = [field for field in kind._meta.concrete_fields if isinstance(field, is_number)]
    return [field.name for field in fields if field.name not in COUNTED_BY_US]


NUMBERS = [(kind, name) for kind in CONFIGURATION for name in numbers_of(kind)]


@pytest.mark.parametrize(("kind", "name"), [each for each in NUMBERS if each[0] is not PromptVersion])
def test_each_number_has_a_maximum(rows, kind, name):
    row = rows[kind]
    setattr(row, name, HUGE)
    with pytest.raises(ValidationError, match="Use a number from"):
        row.save()


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
@pytest.mark.parametrize("value", [HUGE, -1])
def test_the_database_refuses_an_absurd_number_past_save(rows, kind, name, value):
    with pytest.raises((IntegrityError, DataError)), transaction.atomic():
        models.QuerySet(kind).update(**{name: value})


def test_a_temperature_that_is_no_number_is_refused(rows):
    agent = rows[AgentConfig]
    agent.temperature = float("nan")
    with pytest.raises(ValidationError, match="from 0 to 2"):
        agent.save()
    with pytest.raises(IntegrityError), transaction.atomic():
        AgentConfig.objects.update(temperature=float("nan"))


def test_what_is_not_saved_is_not_checked(rows):
    agent = rows[AgentConfig]
    agent.timeout_seconds = HUGE
    agent.save(update_fields=["description"])
    with pytest.raises(ValidationError):
        agent.save(update_fields=["timeout_seconds"])


def test_numbers_as_text_and_expressions_can_be_saved(rows):
    agent = rows[AgentConfig]
    agent.timeout_seconds = "45"
    agent.max_tokens = F("max_tokens") + 1
    agent.save()
    agent.refresh_from_db()
    assert (agent.timeout_seconds, agent.max_tokens) == (45, 2001)


@pytest.mark.parametrize("name", ["patient summary", "-x", "é", "a/b"])
def test_an_agents_name_has_the_form_that_the_admin_asks_for(rows, name):
    agent = rows[AgentConfig]
    agent.name = name
    with pytest.raises(ValidationError) as caught:
        agent.save()
    assert "name" in caught.value.message_dict
    agent.refresh_from_db()
    assert agent.name == "helper"


@pytest.mark.parametrize(("field", "kind"), [("system_prompt", "user"), ("user_prompt", "system")])
def test_an_agent_takes_prompts_of_the_right_type_only(rows, field, kind):
    agent = rows[AgentConfig]
    setattr(agent, field, make_prompt("Hi", kind, name="wrong"))
    with pytest.raises(ValidationError) as caught:
        agent.save()
    assert "Choose a prompt of type" in caught.value.message_dict[field][0]
    with pytest.raises(ValidationError) as caught:
        agent.full_clean()
    assert [len(messages) for messages in caught.value.message_dict.values()] == [1]


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({"apikey": "sk-1"}, "'apikey' is not a credential of kind openai. Use: api_key, api_base, organization."),
        ({"apikey": "sk-1"}, "Did you mean 'api_key'?"),
        ({"api_key": "sk-1", "base_url": "https://x"}, "Did you mean 'api_base'?"),
        ({"api_key": "sk-1", "aws_region_name": "x"}, "'aws_region_name' is not a credential of kind openai."),
    ],
)
def test_a_credential_of_an_unknown_name_is_refused_with_the_known_ones(north, credentials, said):
    with pytest.raises(ValidationError) as caught:
        Provider.objects.create(name="new", kind="openai", credentials=credentials)
    (message,) = caught.value.message_dict["credentials"]
    assert said in message
    assert "sk-1" not in message


def test_a_fixture_of_an_older_release_is_loaded(rows, tmp_path):
    Provider.objects.update(credentials={"apikey": "sk-1"})
    AgentConfig.objects.update(name="patient summary")
    call_command("dumpdata", "zango_ai.provider", "zango_ai.agentconfig", output=str(tmp_path / "all.json"))
    call_command("loaddata", str(tmp_path / "all.json"), verbosity=0)
    assert AgentConfig.objects.get().provider.credentials["apikey"] == "sk-1"
