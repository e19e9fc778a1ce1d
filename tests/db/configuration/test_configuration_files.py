"""``zango_ai_export`` and ``zango_ai_import``: a tenant's configuration as a YAML file, and back."""

from decimal import Decimal
from io import StringIO

import pytest
import yaml
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from tests.build import API_KEY, make_agent, make_prompt, make_provider
from tests.schemas import schema_context
from zango_ai.configuration_files import export
from zango_ai.models import AgentConfig, Prompt, PromptVersion, Provider, Tool

pytestmark = pytest.mark.usefixtures("tenants")


def exported(schema="north"):
    out = StringIO()
    call_command("zango_ai_export", schema=schema, stdout=out)
    return out.getvalue()


@pytest.fixture
def imported(tmp_path):
    """Import a document. Returns what the command printed."""

    def run(document, schema="north", **options):
        path = tmp_path / "config.yaml"
        path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
        out = StringIO()
        call_command("zango_ai_import", str(path), schema=schema, stdout=out, stderr=out, **options)
        return out.getvalue()

    return run


@pytest.fixture
def clinic(model):
    """North has a provider, prompts with versions, tools and two agents."""
    with schema_context("north"):
        provider = make_provider(model, monthly_budget_usd="25.5", description="Für alle: yes")
        provider.models.create(model_id="gpt-4o-mini", input_cost_per_mtok="0.15", accepts_tools=True)
        other = make_provider(model, name="other", kind="ollama")
        call_command("zango_ai_sync_tools", schema="north", stdout=StringIO())
        system = make_prompt("You help {{ name }}.\n\n  - Be kind.\n", "system")
        system.add_version("You help.  \nBe brief.", change_description="shorter").activate()
        system.add_version("A draft\twith a tab")
        agent = make_agent(
            model,
            provider=provider,
            system_prompt=system,
            user_prompt=make_prompt("{{ question }}"),
            output_schema="json",
            output_json_schema={"type": "object", "properties": {"z": {"enum": ["yes", "1", None, 2.5]}, "a": {}}},
            temperature=0.2,
            monthly_budget_usd=3,
        )
        agent.fallbacks.create(provider=other, position=7)
        agent.fallbacks.create(provider=provider, model="gpt-4o", position=8)
        agent.tools.set(Tool.objects.all())
        Tool.objects.update(is_enabled=False)
        make_agent(model, "plain", provider=provider)


def test_a_tenant_made_from_an_export_exports_the_same_text(clinic, imported):
    text = exported()
    imported(text, schema="south")
    assert exported("south") == text
    with schema_context("south"):
        assert AgentConfig.objects.get(name="helper").system_prompt.version_number == 2
        assert list(
            PromptVersion.objects.filter(prompt__name="system-prompt").values_list("status", flat=True)
        ) == [
            "draft",
            "active",
            "inactive",
        ]


def test_an_export_has_every_field_that_people_can_edit(clinic):
    agent = yaml.safe_load(exported())["agents"]["helper"]
    left_out = {field.name for field in AgentConfig._meta.get_fields() if getattr(field, "editable", False)}
    assert left_out - set(agent) == {"id", "name"}


def test_an_export_has_no_secret(clinic, model):
    text = exported()
    assert API_KEY not in text
    assert "api_key" not in text
    assert yaml.safe_load(text)["providers"]["main"]["connection"] == {"api_base": model.openai_base}


def test_importing_again_changes_nothing_and_keeps_the_credentials(clinic, imported):
    with schema_context("north"):
        before = {row.pk: row.updated_at for row in [*AgentConfig.objects.all(), *Provider.objects.all()]}
    assert "0 to create, 0 to change, 0 to delete" in imported(exported())
    with schema_context("north"):
        after = {row.pk: row.updated_at for row in [*AgentConfig.objects.all(), *Provider.objects.all()]}
        assert Provider.objects.get(name="main").credentials["api_key"] == API_KEY
    assert after == before


def test_the_plan_shows_each_field_and_a_dry_run_applies_nothing(clinic, imported):
    document = {
        "agents": {"helper": {"temperature": 1.5, "tools": []}, "plain": {"description": ""}},
        "providers": {"new": {"kind": "openai", "default_model": "gpt-5"}},
    }
    plan = imported(document, dry_run=True)
    assert "~ agent helper (change)\n      temperature: 0.2 -> 1.5\n      tools: [" in plan
    assert "= agent plain (unchanged)" in plan
    assert '+ provider new (create)\n      description: ""' in plan
    assert "! provider new: enter in the admin: API key. Until then, its calls are refused." in plan
    assert "1 to create, 1 to change, 0 to delete, 1 unchanged" in plan
    with schema_context("north"):
        assert AgentConfig.objects.get(name="helper").temperature == 0.2
        assert not Provider.objects.filter(name="new").exists()


def test_a_new_provider_has_no_key_and_says_so(clinic, imported):
    imported(exported(), schema="south")
    with schema_context("south"):
        provider = Provider.objects.get(name="main")
        assert "api_key" not in provider.credentials
        assert "enter in the admin: API key" in provider.validation_error


def test_another_address_removes_the_saved_key(clinic, imported):
    document = {"providers": {"main": {"connection": {"api_base": "https://llm.example.com/v1"}}}}
    assert "enter in the admin: API key" in imported(document)
    with schema_context("north"):
        assert "api_key" not in Provider.objects.get(name="main").credentials


def test_a_setting_beside_the_address_keeps_the_key(clinic, imported, model):
    imported({"providers": {"main": {"connection": {"api_base": model.openai_base, "organization": "org-1"}}}})
    with schema_context("north"):
        credentials = Provider.objects.get(name="main").credentials
        assert (credentials["api_key"], credentials["organization"]) == (API_KEY, "org-1")


def test_a_changed_text_becomes_a_new_version(clinic, imported):
    document = yaml.safe_load(exported())
    document["prompts"]["user-prompt"]["versions"][1]["content"] = "Please: {{ question }}"
    imported(document)
    with schema_context("north"):
        prompt = Prompt.objects.get(name="user-prompt")
        assert (prompt.version_number, prompt.content) == (2, "Please: {{ question }}")
        assert prompt.versions.get(version_number=1).content == "{{ question }}"
    assert "0 to create, 0 to change" in imported(document)


def test_an_earlier_version_can_be_made_active(clinic, imported):
    assert "active_version: 2 -> 1" in imported({"prompts": {"system-prompt": {"active_version": 1}}})
    with schema_context("north"):
        assert Prompt.objects.get(name="system-prompt").version_number == 1


def test_nothing_is_deleted_without_prune(clinic, imported):
    document = {"agents": {"plain": {}}, "providers": {"main": {"models": {}}}}
    assert "0 to delete" in imported(document)
    plan = imported(document | {"prompts": {}} | {"providers": {"main": {"models": {}}}}, prune=True)
    assert "- agent helper (delete)" in plan
    assert "- provider other (delete)" in plan
    assert "      models.gpt-4o-mini: {" in plan
    with schema_context("north"):
        assert (AgentConfig.objects.get().name, Provider.objects.get().name) == ("plain", "main")
        assert not Prompt.objects.exists()


def test_prune_keeps_what_an_agent_outside_the_file_uses(clinic, imported):
    with pytest.raises(CommandError, match="Nothing was changed"):
        imported({"providers": {}}, prune=True)
    with schema_context("north"):
        assert Provider.objects.count() == 2


ERRORS = {
    "unknown section": ({"agent": {}}, "agent: is not known here. Did you mean 'agents'?"),
    "unknown key": (
        {"agents": {"helper": {"temprature": 1}}},
        "agents.helper.temprature: is not known here. Did you mean 'temperature'?",
    ),
    "type": (
        {"agents": {"helper": {"temperature": "warm"}}},
        "agents.helper.temperature: must be a number. This value is of type str.",
    ),
    "range": (
        {"agents": {"helper": {"temperature": 9}}},
        "agents.helper.temperature: 9.0 is not allowed. Use a number from 0 to 2.",
    ),
    "boolean": (
        {"agents": {"helper": {"is_enabled": 1}}},
        "agents.helper.is_enabled: must be true or false. This value is 1.",
    ),
    "null": ({"agents": {"helper": {"max_tokens": None}}}, "agents.helper.max_tokens: must not be null."),
    "choice": (
        {"agents": {"helper": {"output_schema": "xml"}}},
        "agents.helper.output_schema: Value 'xml' is not a valid choice.",
    ),
    "schema": (
        {"agents": {"helper": {"output_json_schema": {"type": "objekt"}}}},
        "agents.helper.output_json_schema: ",
    ),
    "missing provider": (
        {"agents": {"helper": {"provider": "mian"}}},
        "agents.helper.provider: there is no provider 'mian', neither in the tenant nor in the file.",
    ),
    "missing tool": (
        {"agents": {"helper": {"tools": ["nope"]}}},
        "agents.helper.tools[0]: there is no tool 'nope'",
    ),
    "missing fallback": (
        {"agents": {"helper": {"fallbacks": [{"provider": "x"}]}}},
        "agents.helper.fallbacks[0].provider: there is no provider 'x'",
    ),
    "no provider": ({"agents": {"new": {"model": "m"}}}, "agents.new: provider: This field cannot be null."),
    "wrong prompt": (
        {"agents": {"helper": {"system_prompt": "user-prompt"}}},
        "agents.helper.system_prompt: the prompt 'user-prompt' is of type user. Use a prompt of type system.",
    ),
    "kind": ({"providers": {"a.b": {"kind": "opena"}}}, "providers.\"a.b\".kind: 'opena' is not allowed."),
    "address": (
        {"providers": {"main": {"connection": {"api_base": "http://10.0.0.1"}}}},
        "providers.main.connection.api_base: 10.0.0.1 is inside this server's network",
    ),
    "secret": (
        {"providers": {"main": {"connection": {"api_key": "sk-in-a-file"}}}},
        "providers.main.connection.api_key: is not known here.",
    ),
    "price": (
        {"providers": {"main": {"models": {"gpt-4o-mini": {"input_cost_per_mtok": -1}}}}},
        "providers.main.models.gpt-4o-mini.input_cost_per_mtok: -1 is not allowed.",
    ),
    "version number": (
        {"prompts": {"p": {"type": "user", "versions": {"one": {"content": "x"}}}}},
        "prompts.p.versions.one: ",
    ),
    "no content": (
        {"prompts": {"p": {"type": "user", "versions": {1: {}}}}},
        "prompts.p.versions.1: content is missing.",
    ),
    "active": (
        {"prompts": {"user-prompt": {"active_version": 9}}},
        "prompts.user-prompt.active_version: is 9, which is not one of the prompt's versions.",
    ),
    "status": (
        {"prompts": {"user-prompt": {"versions": {1: {"content": "{{ question }}", "status": "active"}}}}},
        "prompts.user-prompt.versions.1.status: must be draft or inactive.",
    ),
    "tool": ({"tools": {"nope": {"is_enabled": True}}}, "tools.nope: No code declares this tool."),
    "name": ({"agents": {"not a slug": {"provider": "main"}}}, 'agents."not a slug": Use only letters'),
    "NUL": ({"agents": {"helper": {"description": "a\0b"}}}, "agents.helper.description: contains characters"),
    "NUL in a name": ({"prompts": {"a\0b": {"type": "user"}}}, r"prompts.a\u0000b: contains characters"),
    "infinite": (
        "providers: {main: {monthly_budget_usd: 1e999}}",
        "providers.main.monthly_budget_usd: must be a number",
    ),
    "list": ([], "must be a mapping. This value is of type list."),
    "version": ({"version": 2, "agents": {}}, "version: is 2. This release reads version 1."),
    "empty": ({}, "The file has none of the sections"),
    "list of tools": ({"agents": {"helper": {"tools": "all"}}}, "agents.helper.tools: must be a list."),
    "number as a name": ({"agents": {5: {}}}, "agents.5: must be text. Put the name in quotation marks."),
    "date in JSON": (
        {"agents": {"helper": {"output_json_schema": {1: "x"}}}},
        "agents.helper.output_json_schema: is not JSON.",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_names_the_path_in_the_file_and_changes_nothing(clinic, imported, name):
    document, problem = ERRORS[name]
    with schema_context("north"):
        before = export.document()
    with pytest.raises(CommandError) as caught:
        imported(document)
    first, *lines = str(caught.value).splitlines()
    assert first == "The file has errors. Nothing was changed."
    assert [line.removeprefix("north: ")[: len(problem)] for line in lines] == [problem]
    with schema_context("north"):
        assert export.document() == before


def test_all_errors_are_listed_at_once(clinic, imported):
    with pytest.raises(CommandError) as caught:
        imported("agents: {helper: {temperature: x, max_tokens: y}, plain: {provider: z}}")
    assert str(caught.value).count("north: agents.") == 3


def test_one_file_configures_many_tenants(clinic, imported):
    text = exported()
    assert "south: applied" in imported(text, schema=None)
    assert exported("south") == text


def test_an_error_in_one_tenant_changes_no_tenant(clinic, imported):
    document = {"agents": {"helper": {"temperature": 1}}}  # south has no such agent, and so lacks its provider
    with pytest.raises(CommandError, match="Nothing was changed"):
        imported(document, schema=["north", "south"])
    with schema_context("north"):
        assert AgentConfig.objects.get(name="helper").temperature == 0.2


def test_an_export_of_all_tenants_restores_each(clinic, imported):
    with schema_context("south"):
        make_prompt("only in the south")
    out = StringIO()
    call_command("zango_ai_export", stdout=out)
    with schema_context("south"):
        Prompt.objects.all().delete()
    assert "north: nothing to change" in imported(out.getvalue(), schema=None)
    with schema_context("south"):
        assert Prompt.objects.get().content == "only in the south"
        assert not AgentConfig.objects.exists()
    with pytest.raises(CommandError, match=r"tenants: has no part for the tenant 'south'\."):
        imported({"tenants": {"north": {"agents": {}}}}, schema="south")
    with pytest.raises(CommandError, match=r"tenants\.west: no tenant has this schema\."):
        imported({"tenants": {"west": {"agents": {}}}}, schema=None)


def test_changes_are_in_the_admins_history_without_values(clinic, imported):
    with schema_context("north"):
        User.objects.create_user("ana")
    imported({"agents": {"helper": {"temperature": 1, "description": "private"}}}, user="ana")
    with schema_context("north"):
        entry = LogEntry.objects.get()
        assert (entry.user.username, entry.object_repr) == ("ana", "helper")
        assert entry.get_change_message() == "Configuration file: description, temperature"
    imported({"prompts": {"user-prompt": {"active_version": 1, "versions": {1: {"content": "New"}}}}}, user="ana")
    with schema_context("north"):
        version = Prompt.objects.get(name="user-prompt").active_version
        assert (version.content, version.created_by, version.activated_by) == ("New", "ana", "ana")
    with pytest.raises(CommandError, match="--user: there is no user 'bo' in north"):
        imported({"agents": {}}, user="bo")


ALIAS_BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("agents: {a: 1, a: 2}", "line 1, column 16: the key 'a' is there twice."),
        ("agents: [", "line 1"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("agents: &a {b: *a}", "its aliases (*name) repeat too much"),
        (f"a0: &a0 x\n{ALIAS_BOMB}", "its aliases (*name) repeat too much"),
    ],
    ids=["twice", "syntax", "object", "recursive", "bomb"],
)
def test_a_file_that_is_not_yaml_is_refused(imported, text, problem):
    with pytest.raises(CommandError, match="is not valid YAML") as caught:
        imported(text)
    assert problem in str(caught.value)


def test_prices_and_budgets_are_exact(clinic, imported):
    imported({"providers": {"main": {"monthly_budget_usd": 0.1}}})
    with schema_context("north"):
        assert Provider.objects.get(name="main").monthly_budget_usd == Decimal("0.1")


def test_a_tool_that_is_switched_off_stays_off_and_is_not_offered(clinic, model):
    with schema_context("north"):
        from zango_ai import get_agent

        Tool.objects.update(schema_hash="changed")
        call_command("zango_ai_sync_tools", schema="north", stdout=StringIO())
        assert not Tool.objects.filter(is_enabled=True).exists()
        AgentConfig.objects.filter(name="helper").update(output_schema="text")
        get_agent("helper").run(variables={"question": "hi"}, system_variables={})
    assert "tools" not in model.requests[-1].body
