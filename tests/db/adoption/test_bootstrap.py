"""``zango_ai_bootstrap``: the first provider, prompt and agent, by options or by questions."""

import re
import shlex
from io import StringIO
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django_tenants.utils import schema_context

from tests.build import API_KEY, make_provider
from zango_ai import get_agent
from zango_ai.models import AgentConfig, Invocation, Prompt, Provider
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("north")


@pytest.fixture
def options(model, monkeypatch):
    """The options with which everything works and nothing is asked."""
    monkeypatch.setenv("MODEL_KEY", API_KEY)
    return {
        "schema": "north",
        "kind": "openai",
        "api_key_env": "MODEL_KEY",
        "api_base": model.openai_base,
        "model": "gpt-4o-mini",
        "no_input": True,
    }


def bootstrap(**options):
    """What the command prints."""
    out = StringIO()
    call_command("zango_ai_bootstrap", stdout=out, stderr=out, **options)
    assert API_KEY not in out.getvalue()
    return out.getvalue()


def is_empty():
    return not (Provider.objects.exists() or Prompt.objects.exists() or AgentConfig.objects.exists())


def test_options_alone_make_an_agent_that_answers(model, options, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "SITE_URL": "https://{schema}.example.com/"}
    model.script("ok", "Hello from the ward.")
    out = bootstrap(**options, agent="desk", system_prompt="Be kind.")
    assert "The connection works: gpt-4o-mini answered." in out
    assert "Saved in north: provider main (OpenAI, gpt-4o-mini), agent desk." in out
    assert 'get_agent("desk").run(' in out
    assert "https://north.example.com/admin/zango_ai/agentconfig/" in out
    assert out.endswith("You: Say hello in one sentence.\ndesk: Hello from the ward.\n")
    assert model.requests[-1].body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (Provider.objects.get().default_model, AgentConfig.objects.get().model) == ("gpt-4o-mini", "")
    assert Invocation.objects.get().triggered_by == "system"
    assert get_agent("desk").run("Hello").content


def test_the_commands_of_the_documentation_work(model, monkeypatch):
    page = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "add-to-a-project.md"
    text = page.read_text().replace("\\\n", " ")
    create, change_key, remove_prompt = re.findall(r"zango_ai_bootstrap (--schema north --no-input.*)", text)
    monkeypatch.setenv("OPENAI_API_KEY", API_KEY)
    monkeypatch.setenv("NEW_KEY", "sk-new-key-of-the-vendor")
    call_command("zango_ai_bootstrap", *shlex.split(create), api_base=model.openai_base, stdout=StringIO())
    assert get_agent("front-desk").run("Hello").content
    for command in (change_key, remove_prompt):
        call_command("zango_ai_bootstrap", *shlex.split(command), stdout=StringIO())
    agent = AgentConfig.objects.get()
    assert (agent.system_prompt, agent.provider.credentials["api_key"]) == (None, "sk-new-key-of-the-vendor")


@pytest.fixture
def answering(monkeypatch):
    """Answer the command's questions, in order. Returns what was asked."""

    def answer(*answers):
        asked, left = [], list(answers)

        def read(question=""):
            asked.append(question)
            if not left:
                raise EOFError
            return left.pop(0)

        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setattr("zango_ai.management.questions.getpass", read)
        return asked

    return answer


def test_questions_lead_to_the_same_agent(model, answering):
    answers = ["main", "openai_compatible", API_KEY, model.openai_base, "gpt-4o-mini", "desk", "Be kind."]
    asked = answering(*answers)
    out = bootstrap(schema="north")
    words = ["Name", "Kind", "API", "API", "Model", "Name", "Instructions"]
    assert [re.match(r"\w+", question)[0] for question in asked] == words
    assert "not shown" in asked[2]
    assert "Models: " in out
    assert Provider.objects.get().kind == "openai_compatible"
    assert AgentConfig.objects.get().system_prompt.content == "Be kind."


def test_a_key_can_be_named_by_its_variable_and_a_kind_by_its_number(model, answering, monkeypatch):
    monkeypatch.setenv("MODEL_KEY", API_KEY)
    answering("", "1", "$MODEL_KEY", "gpt-4o-mini", "", "")
    bootstrap(schema="north", api_base=model.openai_base)
    assert Provider.objects.get().credentials["api_key"] == API_KEY
    assert AgentConfig.objects.get().name == "assistant"


def test_a_connection_that_fails_can_be_entered_again_and_saves_nothing(model, answering, options):
    del options["no_input"]
    model.script(Reply("no such key", status=401), "ok", "Hello.")
    asked = answering("", "desk", "Be kind.", "y", "", "desk", "Be kind.")
    out = bootstrap(**options)
    assert "The connection fails." in out
    assert [question for question in asked if "again" in question]
    assert AgentConfig.objects.get().name == "desk"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"kind": None}, "--kind is missing. Use one of: openai, anthropic"),
        ({"model": None}, "--model is missing."),
        ({"api_key_env": "NO_SUCH_VARIABLE"}, "The environment variable NO_SUCH_VARIABLE is not set."),
        ({"api_key_env": None}, "API key is required."),
        ({"api_base": "http://10.0.0.1/v1"}, "API base URL: "),
        ({"agent": "two words"}, "name: Use only letters"),
        ({"credential": ["api_key=x"]}, "api_key is secret: use --credential-env"),
        ({"credential": ["organization"]}, "use NAME=VALUE"),
        ({"credential": ["organisation=x"]}, "'organisation' is not a credential"),
        ({"schema": "nort"}, "Did you mean 'north'"),
    ],
)
def test_what_is_missing_or_wrong_is_named_and_nothing_is_saved(options, change, problem):
    with pytest.raises(CommandError) as caught:
        bootstrap(**{**options, **change})
    assert problem in str(caught.value)
    assert is_empty()


def test_a_refused_key_saves_nothing_and_is_not_shown(model, options):
    model.script(Reply(f"Incorrect API key provided: {API_KEY}", status=401))
    with pytest.raises(CommandError) as caught:
        bootstrap(**options)
    assert str(caught.value).startswith("The connection fails.")
    assert API_KEY not in str(caught.value)
    assert is_empty()


def test_nothing_is_saved_if_the_questions_end_early(answering):
    answering("main", "openai")
    with pytest.raises(CommandError, match=r"Cancelled\. Nothing was saved"):
        bootstrap(schema="north")
    assert is_empty()


def test_without_a_test_nothing_is_sent(model, options):
    out = bootstrap(**options, no_test=True)
    assert (model.requests, "The connection works" in out) == ([], False)
    assert AgentConfig.objects.exists()


def test_names_that_exist_are_kept_unless_an_update_is_asked_for(model, options):
    bootstrap(**options, agent="desk", system_prompt="Be kind.")
    with pytest.raises(CommandError, match=r"Provider 'main' exists\. .* --update"):
        bootstrap(**options, agent="other")
    del options["kind"], options["api_key_env"], options["api_base"]
    with pytest.raises(CommandError, match=r"Agent 'desk' exists\. .* --update"):
        bootstrap(**options, agent="desk", system_prompt="Be brief.")
    assert AgentConfig.objects.get().system_prompt.content == "Be kind."
    bootstrap(**{**options, "model": "gpt-4o"}, agent="desk", system_prompt="Be brief.", update=True)
    agent = AgentConfig.objects.get()
    assert (agent.system_prompt.content, agent.system_prompt.version_number) == ("Be brief.", 2)
    assert (agent.model, agent.provider.default_model) == ("gpt-4o", "gpt-4o-mini")


def test_a_provider_of_another_kind_gets_the_default_model_of_that_kind(model, options):
    bootstrap(**options)
    changed = {"kind": "anthropic", "api_base": model.url, "model": "claude-haiku-4-5", "update": True}
    bootstrap(**{**options, **changed})
    provider = Provider.objects.get()
    assert (provider.kind, provider.default_model) == ("anthropic", "claude-haiku-4-5")
    assert AgentConfig.objects.get().model == ""


def updated(**options):
    """What ``--update`` without questions says it has changed."""
    out = bootstrap(schema="north", update=True, no_input=True, **options)
    (changed,) = re.findall(r"^Changed: (.*)\.$", out, re.MULTILINE)
    return changed


@pytest.fixture
def desk(options, model, settings):
    """An agent with a provider, neither of which has its default name, and with settings of its own."""
    names = {"provider": "vendor", "agent": "desk"}
    bootstrap(**options, **names, credential=["organization=north"], system_prompt="Be kind.", no_test=True)
    Provider.objects.update(max_retries=0)
    AgentConfig.objects.update(model="gpt-4o", max_tokens=77)
    return AgentConfig.objects.get()


def of_desk():
    """The provider's credentials and models, and the agent's, all of which an update should keep."""
    agent = AgentConfig.objects.get()
    provider = agent.provider
    prompt = agent.system_prompt and agent.system_prompt.content
    return {
        **provider.credentials.reveal(),
        "provider": (provider.name, provider.kind, provider.default_model, provider.max_retries),
        "agent": (agent.name, agent.model, agent.max_tokens),
        "prompt": prompt,
    }


def test_an_update_changes_one_credential_and_nothing_else(desk, model, monkeypatch):
    before = of_desk()
    monkeypatch.setenv("NEW_KEY", "sk-new-key-of-the-vendor")
    assert updated(provider="vendor", api_key_env="NEW_KEY") == "provider vendor (api_key)"
    assert of_desk() == {**before, "api_key": "sk-new-key-of-the-vendor"}
    assert [request.body["model"] for request in model.requests] == ["gpt-4o-mini"]  # the test, and no question
    assert (
        updated(provider="vendor", credential=["organization="], no_test=True) == "provider vendor (organization)"
    )
    assert "organization" not in of_desk()


def test_an_update_changes_a_prompt_and_keeps_the_agents_own_provider_and_model(desk, model):
    before = of_desk()
    assert updated(agent="desk", system_prompt="Be brief.") == "agent desk (system_prompt)"
    assert of_desk() == {**before, "prompt": "Be brief."}
    assert [request.body["model"] for request in model.requests] == ["gpt-4o", "gpt-4o"]


def test_an_empty_prompt_is_no_prompt(desk, options):
    before = of_desk()
    assert updated(agent="desk", system_prompt="", no_test=True) == "agent desk (system_prompt)"
    assert of_desk() == {**before, "prompt": None}
    bootstrap(**options, agent="other", system_prompt="", no_test=True)
    assert AgentConfig.objects.get(name="other").system_prompt is None


def test_an_update_of_the_model_changes_the_agent_and_not_the_providers_default(desk):
    before = of_desk()
    assert updated(agent="desk", model="gpt-4.1", no_test=True) == "agent desk (model)"
    assert of_desk() == {**before, "agent": ("desk", "gpt-4.1", 77)}


def test_an_update_gives_an_agent_another_provider_if_one_is_named(desk, model):
    make_provider(model, name="backup")
    assert updated(agent="desk", provider="backup", no_test=True) == "agent desk (provider)"
    assert AgentConfig.objects.get().model == "gpt-4o"


def test_an_update_that_changes_nothing_says_so(desk):
    before = of_desk()
    assert updated(agent="desk", system_prompt="Be kind.", api_key_env="MODEL_KEY", no_test=True) == "nothing"
    assert of_desk() == before


def test_an_update_creates_what_is_missing(options):
    out = bootstrap(**options, update=True, no_test=True)
    assert "Saved in north: provider main (OpenAI, gpt-4o-mini), agent assistant." in out
    assert "Changed" not in out
    assert updated(agent="second", no_test=True) == "agent second (new)"


def test_a_saved_key_is_not_sent_to_another_address(desk, model, answering):
    before = of_desk()
    elsewhere = {"api_base": f"{model.url}/elsewhere", "no_test": True}
    with pytest.raises(CommandError, match=r"is not sent to another address\. Give api_key again"):
        updated(provider="vendor", **elsewhere)
    assert of_desk() == before
    assert updated(provider="vendor", api_key_env="MODEL_KEY", **elsewhere) == "provider vendor (api_base)"
    asked = answering("sk-new-key-of-the-vendor")
    bootstrap(schema="north", update=True, provider="vendor", api_base=before["api_base"], no_test=True)
    assert (len(asked), of_desk()) == (1, {**before, "api_key": "sk-new-key-of-the-vendor"})


def test_an_update_at_the_terminal_asks_nothing_that_is_saved(desk, answering):
    before = of_desk()
    assert answering() == []
    bootstrap(schema="north", update=True, agent="desk", system_prompt="", no_test=True)
    assert of_desk() == {**before, "prompt": None}


def test_credentials_that_no_key_decrypts_are_replaced(desk, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    assert updated(provider="vendor", api_key_env="MODEL_KEY", no_test=True) == "provider vendor (credentials)"
    assert of_desk()["api_key"] == API_KEY


def test_another_kind_needs_a_key_and_a_model_of_its_own(desk, model):
    change = {"provider": "vendor", "kind": "anthropic", "api_base": model.url, "no_test": True}
    with pytest.raises(CommandError, match="API key is required"):
        updated(**change)
    with pytest.raises(CommandError, match="--model is missing"):
        updated(**change, api_key_env="MODEL_KEY")
    changed = updated(**change, api_key_env="MODEL_KEY", agent="desk", model="claude-haiku-4-5")
    kind = "kind, default_model, api_base, organization"
    assert changed == f"provider vendor ({kind}), agent desk (model)"


def test_a_second_agent_uses_the_provider_that_exists(model):
    make_provider(model)
    out = bootstrap(schema="north", no_input=True, agent="second")
    assert "Provider 'main' exists and is used as it is." in out
    Provider.objects.get().models.create(model_id="gpt-4o-mini")
    with pytest.raises(CommandError, match="does not allow the model gpt-4o"):
        bootstrap(schema="north", no_input=True, agent="third", model="gpt-4o")


def test_an_agent_whose_first_run_fails_is_saved_and_the_error_is_shown(model, options):
    model.script("ok", *[Reply("broken", status=500)] * 3)
    with pytest.raises(CommandError, match=r"but its first run failed\. LLMAPIError"):
        bootstrap(**options)
    assert AgentConfig.objects.exists()


def test_with_several_tenants_one_is_named_or_chosen(model, options, answering):
    del options["schema"]
    with pytest.raises(CommandError, match=r"--schema is missing\. Use one of: north, south"):
        bootstrap(**options)
    answering("2", "", "")
    bootstrap(**{**options, "no_input": False, "provider": "main", "agent": "desk", "system_prompt": "Hi."})
    with schema_context("south"):
        assert AgentConfig.objects.get().name == "desk"
