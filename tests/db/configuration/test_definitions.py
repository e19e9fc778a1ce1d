"""``define_agent()``, ``define_provider()`` and ``define_prompt()``: configuration from code."""

import threading
from dataclasses import dataclass
from decimal import Decimal

import pytest
from django.db import connection, migrations
from django.db.migrations.executor import MigrationExecutor

from tests.build import API_KEY
from tests.schemas import needs_tenants, schema_context
from zango_ai import define_agent, define_prompt, define_provider, get_agent, get_prompt, tool
from zango_ai.configuration_files import export
from zango_ai.definitions import AgentOptions, FallbackOptions, ModelOptions, ProviderOptions
from zango_ai.exceptions import DefinitionInvalid, NotMigrated, WrongTenant, ZangoAIError
from zango_ai.models import AgentConfig, Fallback, Prompt, PromptVersion, Provider, ProviderModel


@tool(description="Find the beds that are free")
def defined_free_beds(ward: str) -> int:
    return 3


@dataclass
class Triage:
    urgency: str


@pytest.fixture
def main(model, north):
    credentials = {"api_base": model.openai_base, "api_key": API_KEY}
    return define_provider("main", kind="openai", credentials=credentials, default_model="gpt-4o-mini")


def problems_of(call, *args, **options):
    with pytest.raises(DefinitionInvalid) as caught:
        call(*args, **options)
    assert isinstance(caught.value, (ZangoAIError, ValueError))
    return caught.value.problems


def test_an_agent_of_a_few_lines_answers(model, main):
    agent = define_agent(
        "triage",
        provider="main",
        system_prompt="You sort messages.",
        user_prompt="How urgent is {{ message }}?",
        tools=[defined_free_beds],
        output_json_schema=Triage,
        temperature=0.2,
        monthly_budget_usd=Decimal("2.50"),
    )
    model.script('{"urgency": "high"}')
    assert agent.run(variables={"message": "Pain"}).parsed_content == {"urgency": "high"}
    body = model.requests[-1].body
    assert [m["content"] for m in body["messages"]] == ["You sort messages.", "How urgent is Pain?"]
    assert body["tools"][0]["function"]["name"] == "defined_free_beds"
    assert (body["temperature"], body["response_format"]["type"]) == (0.2, "json_schema")
    assert AgentConfig.objects.get().monthly_budget_usd == Decimal("2.5")
    assert repr(get_agent("triage")) == repr(agent)


def test_the_same_definition_again_changes_nothing(main, django_assert_max_num_queries):
    def define():
        define_provider("main", credentials=main.credentials.reveal(), models=["gpt-4o-mini"])
        define_agent(
            "helper", provider=main, system_prompt="Be kind.", fallbacks=["main"], tools=[defined_free_beds]
        )

    def rows():
        models = (Provider, ProviderModel, Prompt, PromptVersion, AgentConfig, Fallback)
        return [list(each._default_manager.order_by("pk").values_list("pk", "updated_at")) for each in models]

    define()
    before, document = rows(), export.document()
    with django_assert_max_num_queries(50):  # half of them set the search path
        define()
    assert (rows(), export.document()) == (before, document)


def test_only_the_named_options_change(main):
    define_agent("helper", provider=main, user_prompt="Greet.", max_tokens=99, short_term_memory=True)
    define_agent("helper", temperature=0)
    row = AgentConfig.objects.get()
    assert (row.temperature, row.max_tokens, row.short_term_memory, row.user_prompt.content) == (
        0,
        99,
        True,
        "Greet.",
    )
    define_agent("helper", user_prompt=None)
    assert AgentConfig.objects.get().user_prompt is None


def test_a_changed_text_is_a_new_version_and_an_earlier_text_its_version(main):
    def define(text, **options):
        define_agent("helper", provider=main, system_prompt=text, **options)
        return get_prompt("helper-system").version_number

    numbers = [define("One"), define("Two", change_description="shorter"), define("One"), define("Three")]
    assert numbers == [1, 2, 1, 3]
    rows = PromptVersion.objects.order_by("version_number")
    notes = list(rows.values_list("content", "change_description"))
    assert notes == [("One", "Defined in code"), ("Two", "shorter"), ("Three", "Defined in code")]


def test_agents_share_a_defined_prompt(main):
    kind = define_prompt("house-style", "Be kind.", type="system", description="of all agents")
    for name in ("one", "two"):
        define_agent(name, provider=main, system_prompt=kind)
    assert define_prompt("house-style", "Be brief.", type="system").version_number == 2
    assert {row.system_prompt.content for row in AgentConfig.objects.all()} == {"Be brief."}
    assert Prompt.objects.get().description == "of all agents"


def test_models_and_fallbacks_are_defined_with_their_settings(main):
    prices = {"input_cost_per_mtok": Decimal("0.15"), "output_cost_per_mtok": 0.6}
    define_provider("main", models={"gpt-4o-mini": prices})
    define_provider("main", models=["gpt-4o"])
    assert {str(each.output_cost_per_mtok) for each in main.models.all()} == {"0.600000", "None"}
    define_agent("helper", provider="main", fallbacks=[main, {"provider": "main", "model": "gpt-4o"}])
    assert list(Fallback.objects.values_list("position", "model")) == [(1, ""), (2, "gpt-4o")]


def test_all_errors_are_named_by_their_options_and_nothing_is_changed(main):
    def undecorated():
        """Not a tool."""

    problems = problems_of(
        define_agent,
        "helper",
        provider="mian",
        system_prompt="",
        user_prompt=3,
        tools=[undecorated, 5],
        output_json_schema="Triage",
    )
    assert [line.partition(":")[0] for line in problems] == [
        *("system_prompt", "user_prompt", "tools[0]", "tools[1]", "output_json_schema")
    ]
    assert "undecorated. Use a function declared with @tool" in problems[2]
    problems = problems_of(
        define_agent,
        "helper",
        provider="mian",
        temperature=9,
        tools=["defined_free_bed"],
        max_tokens="5",
        model="m",
    )
    assert "provider: there is no provider 'mian' in this tenant. Did you mean 'main'?" in problems
    assert (
        "tools[0]: there is no tool 'defined_free_bed' in this tenant. Did you mean 'defined_free_beds'?"
        in problems
    )
    assert "max_tokens: must be a whole number. This value is of type str." in problems
    assert not AgentConfig.objects.exists()
    assert not Prompt.objects.exists()


def test_an_error_says_which_agent_and_where(main):
    with pytest.raises(DefinitionInvalid) as caught:
        define_agent("helper", provider="main", system_prompt="Be kind.", temperature=9)
    first, second = str(caught.value).splitlines()
    assert first == "Agent 'helper' in schema 'north' was not changed."
    assert second.startswith("temperature: ")
    assert not Prompt.objects.exists()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "provider: is missing"),
        ({"provider": None}, "provider: must be text"),
        ({"provider": "main", "tools": "defined_free_beds"}, "tools: must be a list"),
        ({"provider": "main", "fallbacks": [{"model": "x"}]}, "fallbacks[0]: provider is missing"),
        ({"provider": "main", "output_schema": "xml"}, "output_schema: "),
        ({"provider": "main", "output_json_schema": {"type": "objekt"}}, "output_json_schema: "),
        ({"provider": "main", "system_prompt": "a\x00b"}, "system_prompt: contains characters"),
        ({"provider": "main", "monthly_budget_usd": Decimal("NaN")}, "monthly_budget_usd: must be a number"),
    ],
)
def test_each_wrong_option_is_named(main, options, problem):
    (line,) = problems_of(define_agent, "helper", **options)
    assert line.startswith(problem)


def test_a_misspelled_option_is_a_type_error(main):
    with pytest.raises(TypeError, match=r"define_agent\(\) got .* 'temprature'. Did you mean 'temperature'\?"):
        define_agent("helper", provider="main", temprature=0.2)
    with pytest.raises(TypeError, match=r"define_provider\(\) got .* 'api_key'"):
        define_provider("main", api_key=API_KEY)


def test_a_name_that_code_could_not_use_is_refused(main):
    assert problems_of(define_agent, "two words", provider="main")[0].startswith("name: Use only letters")
    define_prompt("greeting", "Hello")
    assert problems_of(define_prompt, "greeting", "Hello", type="system") == [
        "name: is the name of a prompt of type user."
    ]


def test_credentials_are_replaced_as_a_whole_and_never_shown(model, main):
    with pytest.raises(DefinitionInvalid) as caught:
        define_provider("main", credentials={"api_base": model.openai_base, "apikey": API_KEY})
    assert caught.value.problems[0].startswith("credentials: 'apikey' is not a credential of kind openai.")
    assert API_KEY not in str(caught.value)
    frame = caught.tb
    while frame := frame.tb_next:
        assert API_KEY not in repr(frame.tb_frame.f_locals)
    assert Provider.objects.get().credentials["api_key"] == API_KEY
    define_provider("main", credentials={"api_base": model.openai_base, "api_key": "sk-other"})
    assert Provider.objects.get().credentials["api_key"] == "sk-other"


def test_a_key_never_goes_to_another_vendor(main):
    assert problems_of(define_provider, "new") == [
        "kind: is missing. A new provider needs one, for example 'openai' or 'openai_compatible'."
    ]
    define_provider("main", kind="anthropic")
    assert "api_key" not in Provider.objects.get().credentials


def test_a_provider_of_another_tenant_is_refused(main):
    with schema_context("south"), pytest.raises(WrongTenant):
        define_agent("helper", provider=main)


@needs_tenants
def test_nothing_is_defined_without_a_tenant(tenants):
    for call, options in ((define_agent, {"provider": "main"}), (define_provider, {"kind": "openai"})):
        with pytest.raises(WrongTenant, match="No tenant is active, so"):
            call("helper", **options)


def test_a_disabled_agent_can_be_defined(main):
    assert define_agent("helper", provider="main", is_enabled=False).name == "helper"


def test_every_field_of_the_forms_is_an_option():
    def names(model):
        return {field.name for field in export.columns(model)}

    agent = {*names(AgentConfig), *export.AGENT_REFERENCES, "tools", "fallbacks", "change_description"}
    assert set(AgentOptions.__annotations__) == agent
    assert set(ProviderOptions.__annotations__) == {*names(Provider), "credentials", "models"}
    assert set(ModelOptions.__annotations__) == names(ProviderModel)
    assert set(FallbackOptions.__annotations__) == {"provider", "model"}


def define_in_migration(apps, schema_editor):
    define_provider("main", kind="ollama", credentials={"api_base": "http://127.0.0.1:11434"}, default_model="x")
    define_agent("helper", provider="main", system_prompt="Be kind.")


class _Migration(migrations.Migration):
    operations = [migrations.RunPython(define_in_migration)]


def test_a_data_migration_defines_an_agent(model, north, settings):
    settings.ZANGO_AI = {"ALLOWED_API_BASES": ["http://127.0.0.1:11434"]}
    state = MigrationExecutor(connection).loader.project_state()
    with connection.schema_editor(atomic=False) as editor:
        _Migration("0009_agents", "patients").apply(state, editor)
    assert get_agent("helper").name == "helper"


def test_a_migration_that_runs_too_early_is_told_to_wait(north):
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE zango_ai_agentconfig DROP COLUMN max_tool_rounds CASCADE")
    with pytest.raises(NotMigrated, match="depend on the newest migration of zango_ai"):
        define_agent("helper", provider="main")


def test_processes_that_define_the_same_at_once_agree(live_tenants, model):
    start, errors = threading.Barrier(4), []

    def define():
        try:
            with schema_context("north"):
                start.wait()
                define_provider("main", kind="openai", default_model="gpt-4o-mini")
                define_agent("helper", provider="main", system_prompt="Be kind.")
        except Exception as exc:
            errors.append(exc)
        finally:
            connection.close()

    threads = [threading.Thread(target=define) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert errors == []
    with schema_context("north"):
        assert (AgentConfig.objects.count(), PromptVersion.objects.count()) == (1, 1)
