"""In tests, no call leaves this machine unless the test allows it."""

import asyncio

import pytest

from zango_ai import get_agent
from zango_ai.exceptions import LLMAPIError
from zango_ai.models import AgentConfig, Invocation, Provider
from zango_ai.providers import real_calls
from zango_ai.testing import RealProviderCall, real_provider_calls

pytestmark = pytest.mark.usefixtures("north")


@pytest.fixture
def provider():
    """A provider outside of this machine, at an address that nobody answers."""
    credentials = {"api_key": "sk-test", "api_base": "https://models.invalid/v1"}
    provider = Provider.objects.create(
        name="main", kind="openai_compatible", credentials=credentials, default_model="m", max_retries=0
    )
    AgentConfig.objects.create(name="helper", provider=provider)
    return provider


@pytest.mark.parametrize("form", ["run", "arun", "stream", "astream"])
def test_a_run_with_a_real_provider_is_refused_with_the_remedies(form, provider):
    with pytest.raises(RealProviderCall, match=r"would call a model at https://models\.invalid") as caught:
        ask(form)
    assert "scripted_agent()" in str(caught.value)
    assert "@pytest.mark.real_provider_calls" in str(caught.value)
    row = Invocation.objects.get()
    assert (row.status, row.error_type) == ("failed", "RealProviderCall")


def ask(form):
    helper = get_agent("helper")
    if form == "run":
        return helper.run("Open?")
    if form == "arun":
        return asyncio.run(helper.arun("Open?"))
    if form == "stream":
        return list(helper.stream("Open?"))

    async def read():
        return [chunk async for chunk in helper.astream("Open?")]

    return asyncio.run(read())


def test_connection_tests_and_model_lists_are_refused_too(provider):
    with pytest.raises(RealProviderCall):
        provider.validate_connection()
    with pytest.raises(RealProviderCall):
        provider.fetch_models()


def test_djangos_own_test_environment_is_enough(provider):
    """``manage.py test`` has no plugin."""
    before = real_calls.set_allowed(None)
    try:
        with pytest.raises(RealProviderCall):
            ask("run")
    finally:
        real_calls.set_allowed(before)


def test_real_calls_can_be_allowed_for_a_block(provider):
    with real_provider_calls(), pytest.raises(LLMAPIError, match="could not be reached"):
        ask("run")
    with pytest.raises(RealProviderCall):
        ask("run")


@pytest.mark.real_provider_calls
def test_real_calls_can_be_allowed_for_a_test(provider):
    with pytest.raises(LLMAPIError, match="could not be reached"):
        ask("run")


def test_a_server_on_this_machine_may_be_called(model_server):
    AgentConfig.objects.create(name="helper", provider=model_server.connect())
    model_server.script("Yes.")
    assert ask("run").content == "Yes."
