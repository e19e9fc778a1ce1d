"""``model_server``: a real server on loopback, scripted with the same words as an agent."""

import json

import pytest
from django.conf import settings

from zango_ai import get_agent, tool
from zango_ai.configuration import tool_rows
from zango_ai.exceptions import ContextWindowExceeded, LLMAPIError, LLMTimeoutError, RateLimitExceeded
from zango_ai.models import AgentConfig, Tool
from zango_ai.testing import ScriptUsedUp, calls, fails, running_model_server, says
from zango_ai.testing.scripted_server import ScriptedModelServer, allowed

pytestmark = pytest.mark.usefixtures("north")


@tool(description="Find a bed.")
def kit_find_bed(ward: str) -> dict:
    return {"bed": f"{ward}4"}


def make_agent(server, timeout_seconds=60, **fields):
    provider = server.connect(max_retries=0, **fields)
    return AgentConfig.objects.create(name="helper", provider=provider, timeout_seconds=timeout_seconds)


@pytest.mark.parametrize("kind", ["openai", "anthropic", "gemini", "openai_compatible"])
def test_one_script_is_sent_in_the_form_of_each_vendor(kind, model_server):
    agent = make_agent(model_server, kind=kind)
    tool_rows.sync()
    agent.tools.set(Tool.objects.filter(name="kit_find_bed"))
    model_server.script(calls(kit_find_bed, ward="B"), says("Bed B4.").with_usage(input_tokens=9, output_tokens=3))

    response = get_agent("helper").run("Where?")

    assert (response.content, response.usage.output_tokens >= 3) == ("Bed B4.", True)
    assert [(call.name, call.result) for call in response.tool_calls] == [("kit_find_bed", {"bed": "B4"})]
    assert "Where?" in json.dumps(model_server.requests[0].body)


@pytest.mark.parametrize(
    "error",
    [
        RateLimitExceeded("Slow down.", retry_after_seconds=3),
        LLMAPIError("Overloaded.", status_code=503),
        LLMAPIError("Cut off."),
        ContextWindowExceeded("Too long.", status_code=400),
    ],
)
def test_a_scripted_error_arrives_as_the_same_error(error, model_server):
    make_agent(model_server)
    model_server.script(fails(error))
    with pytest.raises(type(error)) as caught:
        get_agent("helper").run("Where?")
    assert getattr(caught.value, "status_code", None) == getattr(error, "status_code", None)
    assert getattr(caught.value, "retry_after_seconds", None) == getattr(error, "retry_after_seconds", None)


def test_a_scripted_timeout_takes_the_agents_own_time(model_server):
    make_agent(model_server, timeout_seconds=1)
    model_server.script(fails(LLMTimeoutError))
    with pytest.raises(LLMTimeoutError):
        get_agent("helper").run("Where?")


def test_an_error_that_no_server_sends_is_refused_at_once(model_server):
    with pytest.raises(TypeError, match="A model server cannot send ScriptUsedUp"):
        model_server.script(fails(ScriptUsedUp("?")))


def test_the_other_settings_stay_and_the_server_is_allowed(model_server, settings):
    assert settings.ZANGO_AI["ALLOWED_API_BASES"][-1] == model_server.url


def test_outside_of_pytest_a_context_manager_does_the_same():
    with running_model_server() as server:
        make_agent(server)
        server.script("Yes.")
        assert get_agent("helper").run("Open?").content == "Yes."
    assert server.url not in settings.ZANGO_AI["ALLOWED_API_BASES"]
    left = r"not used up\. It got 0 requests\. Left:\n  200 'Never sent\.'"
    with pytest.raises(AssertionError, match=left), running_model_server() as server:
        server.script("Never sent.")


def test_a_request_beyond_the_script_is_refused_and_fails_the_test():
    with ScriptedModelServer() as server:
        server.script("One.")
        with allowed(server):
            make_agent(server)
            get_agent("helper").run("Open?")
            with pytest.raises(LLMAPIError, match="script of the test's model server is used up"):
                get_agent("helper").run("Open?")
        assert server.problem().startswith("The model server got 2 requests, but its script has 1 replies.")
