"""``scripted_agent``: the model is a script, everything else of a run is real."""

import asyncio
import time
from decimal import Decimal

import pytest
from cryptography.fernet import Fernet

from tests.samples import PNG
from tests.workers import app
from zango_ai import LLMFile, LLMMessage, ToolSafety, get_agent, get_provider, get_run, tool
from zango_ai.encryption.credentials import Credentials
from zango_ai.exceptions import (
    BudgetExceeded,
    LLMAPIError,
    LLMTimeoutError,
    OutputValidationError,
    ProviderConfigInvalid,
    RateLimitExceeded,
    RunFailed,
)
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, Provider
from zango_ai.runs.tasks_queue import require_tasks
from zango_ai.testing import always, calls, fails, run_enqueued, says

pytestmark = pytest.mark.usefixtures("north")


@tool(description="Find an item.", safety=ToolSafety.READ_ONLY)
def kit_find_item(name: str) -> dict:
    return {"id": 7, "name": name}


@tool(description="Delete an item.", safety=ToolSafety.WRITE, requires_approval=True)
def kit_delete_item(item_id: int) -> dict:
    return {"deleted": item_id}


def test_a_scripted_agent_answers_without_any_setup(scripted_agent):
    agent = scripted_agent("helper", says("Two a day."))

    assert get_agent("helper").run("How many?").content == "Two a day."
    agent.assert_asked("How many?")
    row = Invocation.objects.get()
    assert (row.status, row.rounds_count, row.response_content) == ("success", 1, "Two a day.")


def test_the_agent_in_the_database_is_used_as_it_is(scripted_agent):
    provider = Provider.objects.create(
        name="main", kind="anthropic", credentials={"api_key": "sk-1"}, default_model="claude-haiku-4-5"
    )
    AgentConfig.objects.create(name="helper", provider=provider, temperature=0.2, max_tokens=99)
    agent = scripted_agent("helper", says("Yes."))

    response = get_agent("helper").run("Open?")

    agent.assert_asked(model="claude-haiku-4-5", temperature=0.2, max_tokens=99, provider_name="main")
    assert response.model == "claude-haiku-4-5"
    assert not Provider.objects.filter(name="scripted").exists()


def without_key(kind, model, name="main"):
    """A provider as an import leaves it: nobody has entered its credentials yet."""
    return Provider.objects.create(name=name, kind=kind, default_model=model, credentials={})


KINDS_WITHOUT_KEY = [
    ("openai", "gpt-4o-mini"),
    ("azure", "deployment"),
    ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0"),
    ("ollama", "llama3"),
]


@pytest.mark.parametrize(("kind", "model"), KINDS_WITHOUT_KEY)
def test_an_agent_whose_provider_has_no_key_is_scripted(scripted_agent, kind, model):
    AgentConfig.objects.create(name="helper", provider=without_key(kind, model))
    agent = scripted_agent("helper", says("One."), says("Two."), says("Three"))

    assert get_agent("helper").run("How many?").content == "One."
    assert [chunk.text for chunk in get_agent("helper").stream("How many?") if chunk.type == "text"] == ["Two."]
    run = get_agent("helper").enqueue("How many?")
    agent.run_enqueued()
    assert run.response().content == "Three"
    assert Provider.objects.get().credentials == {}


def test_a_key_that_cannot_be_decrypted_is_not_needed_either(scripted_agent, settings):
    provider = Provider.objects.create(
        name="main", kind="openai", default_model="gpt-4o-mini", credentials={"api_key": "sk-1"}
    )
    AgentConfig.objects.create(name="helper", provider=provider)
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    scripted_agent("helper", "Yes.")
    assert get_agent("helper").run("Open?").content == "Yes."


def test_a_fallback_and_a_direct_call_need_no_key_either(scripted_provider):
    first, second = without_key("openai", "gpt-4o-mini"), without_key("azure", "deployment", "second")
    agent = AgentConfig.objects.create(name="helper", provider=first)
    agent.fallbacks.create(provider=second)
    scripted_provider("main", fails(LLMTimeoutError), "Direct.")
    scripted_provider("second", "Yes.")
    assert get_agent("helper").run("Open?").content == "Yes."
    assert get_provider("main").complete([LLMMessage("user", "Open?")]).content == "Direct."


def test_without_a_script_a_missing_key_is_an_error_as_in_production(scripted_agent):
    provider = without_key("openai", "gpt-4o-mini")
    for name in ("helper", "other"):
        AgentConfig.objects.create(name=name, provider=provider)
    scripted_agent("helper", "Yes.")
    with pytest.raises(ProviderConfigInvalid, match="has no API key"):
        get_agent("other").run("Open?")
    assert get_agent("helper").run("Open?").content == "Yes."


def test_an_address_that_the_settings_do_not_allow_is_an_error_with_a_script_too(scripted_agent):
    provider = without_key("openai_compatible", "local")
    Provider.objects.update(credentials=Credentials({"api_base": "http://10.0.0.1/v1"}))
    AgentConfig.objects.create(name="helper", provider=provider)
    agent = scripted_agent("helper", always("Yes."))
    with pytest.raises(ProviderConfigInvalid, match="API base URL"):
        get_agent("helper").run("Open?")
    agent.assert_not_asked()


def test_prompts_are_rendered_and_tools_are_executed(scripted_agent):
    agent = scripted_agent(
        "helper",
        says("Let me look. ") + calls(kit_find_item, name="bed"),
        "It is number 7.",
        system_prompt="You help {{ clinic }}.",
        user_prompt="Find {{ what }}.",
        tools=[kit_find_item],
    )

    response = get_agent("helper").run(variables={"what": "a bed"}, system_variables={"clinic": "North"})

    assert response.content == "It is number 7."
    assert [(call.name, call.input, call.result) for call in agent.tool_calls] == [
        ("kit_find_item", {"name": "bed"}, {"id": 7, "name": "bed"})
    ]
    assert agent.requests[0].system == "You help North."
    assert agent.requests[0].input == "Find a bed."
    assert agent.requests[0].tools == ["kit_find_item"]
    assert agent.last_request.tool_results == ['{"id": 7, "name": "bed"}']
    agent.assert_tools_called("kit_find_item")
    agent.assert_tool_called("kit_find_item", name="bed")
    agent.assert_tool_not_called("kit_delete_item")


def test_several_calls_in_one_answer_are_one_round(scripted_agent):
    agent = scripted_agent(
        "helper",
        calls("kit_find_item", name="a") + calls("kit_find_item", '{"name": "b') + calls("unknown"),
        says("Done."),
        tools=["kit_find_item"],
    )

    response = get_agent("helper").run("Go.")

    assert [call.status for call in response.tool_calls] == ["success", "invalid_arguments", "denied"]
    assert agent.executed_tools == ["kit_find_item"]
    assert len(agent.requests) == 2


def test_a_call_that_needs_approval_waits_and_is_resumed(scripted_agent):
    agent = scripted_agent("helper", calls("kit_delete_item", item_id=3), says("Deleted."), tools=[kit_delete_item])

    paused = get_agent("helper").run("Delete it.")
    agent.assert_tool_not_called("kit_delete_item")
    (pending,) = paused.pending_approvals
    resumed = get_agent("helper").resume(paused.run_id, {pending.id: True})

    assert resumed.content == "Deleted."
    agent.assert_tool_called("kit_delete_item", item_id=3)


@pytest.mark.parametrize("form", ["run", "arun", "stream", "astream", "enqueue", "enqueue_stream"])
def test_every_form_of_a_run_is_answered_by_the_script(form, scripted_agent):
    steps = calls("kit_find_item", name="a"), says("Two ", "a day.")
    agent = scripted_agent("helper", *steps, tools=[kit_find_item])

    content, texts = _ask(form, agent)

    assert content == "Two a day."
    assert texts in (None, ["Two ", "a day."], ["Two a day."])  # stored chunks are joined
    agent.assert_tools_called("kit_find_item")
    agent.assert_asked("How many?", times=2)


def _ask(form, agent):
    """The content of the response, and the texts of the chunks if there are any."""
    helper = get_agent("helper")
    if form == "run":
        return helper.run("How many?").content, None
    if form == "arun":
        return asyncio.run(helper.arun("How many?")).content, None
    if form == "enqueue":
        run = helper.enqueue("How many?")
        assert run.status == "queued"
        assert agent.run_enqueued() == [run.run_id]
        return run.response().content, None
    chunks = list(_chunks(form, helper))
    return chunks[-1].response.content, [chunk.text for chunk in chunks if chunk.type == "text"]


def _chunks(form, helper):
    if form == "stream":
        return helper.stream("How many?")
    if form == "enqueue_stream":
        run = helper.enqueue("How many?", stream=True)
        run_enqueued()
        return get_run(run.run_id).stream()

    async def read():
        return [chunk async for chunk in helper.astream("How many?")]

    return asyncio.run(read())


def test_one_text_is_streamed_word_by_word(scripted_agent):
    scripted_agent("helper", "Two a day.")
    chunks = get_agent("helper").stream("How many?")
    assert [chunk.text for chunk in chunks if chunk.type == "text"] == ["Two", " a", " day."]


def test_a_stream_can_fail_in_the_middle_and_begin_again(scripted_agent):
    scripted_agent("helper", fails(LLMAPIError("Gone.", status_code=503), after="Tw"), says("Two."))
    chunks = list(get_agent("helper").stream("How many?"))
    assert [chunk.type for chunk in chunks] == ["text", "reset", "text", "round_end", "final"]


def test_errors_are_retried_without_waiting(scripted_agent):
    agent = scripted_agent("helper", fails(RateLimitExceeded("Busy.", retry_after_seconds=20)), says("Yes."))
    started = time.monotonic()
    assert get_agent("helper").run("Open?").content == "Yes."
    agent.assert_asked("Open?", times=2)
    assert [row.status for row in Invocation.objects.get().rounds.all()] == ["rate_limited", "success"]
    assert time.monotonic() - started < 10


def test_an_error_that_is_not_retried_reaches_the_caller(scripted_agent):
    scripted_agent("helper", fails(LLMTimeoutError))
    with pytest.raises(LLMTimeoutError) as caught:
        get_agent("helper").run("Open?")
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "timeout"


def test_a_background_run_is_retried_and_fails_as_with_a_worker(scripted_agent):
    agent = scripted_agent("helper", fails(LLMTimeoutError("Late.")), fails(LLMAPIError("Bad.", status_code=400)))
    run = get_agent("helper").enqueue("Open?")
    agent.run_enqueued()
    with pytest.raises(RunFailed, match=r"LLMAPIError: Bad\."):
        run.response()


def test_json_is_checked_and_corrected(scripted_agent):
    schema = {"type": "object", "properties": {"dose": {"type": "integer"}}, "required": ["dose"]}
    agent = scripted_agent(
        "helper",
        says({"dose": "two"}),
        says({"dose": 2}),
        output_schema="json",
        output_json_schema=schema,
        output_retries=1,
    )
    assert get_agent("helper").run("How many?").parsed_content == {"dose": 2}
    agent.assert_asked("That JSON is not valid", json_schema=schema, times=1)


def test_json_that_stays_invalid_is_the_products_own_error(scripted_agent):
    scripted_agent("helper", says({}), output_schema="json", output_json_schema={"required": ["dose"]})
    with pytest.raises(OutputValidationError):
        get_agent("helper").run("How many?")


def test_memory_is_real(scripted_agent):
    agent = scripted_agent("helper", "Hello Ada.", "Ada.", short_term_memory=True)
    session = get_agent("helper").run("I am Ada.").session_id
    get_agent("helper").run("Who am I?", session_id=session)
    assert [(message.role, message.content) for message in agent.last_request.messages] == [
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I?"),
    ]
    assert MemoryMessage.objects.count() == 4


def test_budgets_hold_and_cost_is_counted(scripted_agent):
    provider = Provider.objects.create(
        name="main",
        kind="openai",
        credentials={"api_key": "sk-1"},
        default_model="gpt-4o-mini",
        monthly_budget_usd=Decimal("0.5"),
    )
    AgentConfig.objects.create(name="helper", provider=provider)
    scripted_agent("helper", says("Dear.").with_usage(input_tokens=10, output_tokens=5, cost_usd=0.5))
    response = get_agent("helper").run("Go.")
    assert (response.cost_usd, response.usage.input_tokens) == (0.5, 10)
    with pytest.raises(BudgetExceeded):
        get_agent("helper").run("Again.")


def test_files_and_the_stop_reason_are_seen(scripted_agent):
    agent = scripted_agent("helper", says("It is", stop_reason="max_tokens"))
    photo = LLMFile.from_bytes(PNG, "image/png", "wound.png")
    assert get_agent("helper").run("What is this?", files=[photo]).stop_reason == "max_tokens"
    agent.assert_asked(files=["wound.png"])


def test_a_function_computes_the_answer(scripted_agent):
    agent = scripted_agent("helper", always(lambda asked: says(asked.input.upper())))
    assert [get_agent("helper").run(text).content for text in ("a", "b")] == ["A", "B"]
    assert len(agent.requests) == 2


def test_two_agents_have_scripts_of_their_own(scripted_agent):
    scripted_agent("first", "1")
    scripted_agent("second", "2")
    scripted_agent("first", "3")
    assert [get_agent(name).run("?").content for name in ("second", "first", "first")] == ["2", "1", "3"]


def test_direct_calls_of_a_provider_are_scripted(scripted_provider):
    provider = scripted_provider("main", "One.", "Two.")
    asked = [LLMMessage("user", "How many?")]
    assert get_provider("main").complete(asked).content == "One."
    assert [chunk.text for chunk in get_provider("main").stream(asked) if chunk.type == "text"] == ["Two."]
    provider.assert_asked("How many?", times=2)


def test_a_fallback_is_tested_by_scripting_the_providers(scripted_provider):
    first, second = scripted_provider("main", fails(LLMTimeoutError)), scripted_provider("second", "Yes.")
    agent = AgentConfig.objects.create(name="helper", provider=Provider.objects.get(name="main"))
    agent.fallbacks.create(provider=Provider.objects.get(name="second"))
    assert get_agent("helper").run("Open?").content == "Yes."
    first.assert_asked("Open?", times=1)
    second.assert_asked("Open?", times=1)


def test_celery_in_eager_mode_executes_a_run_as_it_is_sent(scripted_agent, django_capture_on_commit_callbacks):
    agent = scripted_agent("helper", "Yes.")
    with app("memory://") as celery:
        celery.conf.task_always_eager = True
        with django_capture_on_commit_callbacks(execute=True):
            run = get_agent("helper").enqueue("Open?")
        assert run.response().content == "Yes."
        assert agent.run_enqueued() == []


def test_an_immediate_backend_of_django_tasks_executes_a_run_as_it_is_sent(
    scripted_agent, settings, django_capture_on_commit_callbacks
):
    immediate = f"{require_tasks().__name__}.backends.immediate.ImmediateBackend"
    settings.TASKS = {"default": {"BACKEND": immediate}}
    settings.ZANGO_AI = {"QUEUE": "tasks:default"}
    agent = scripted_agent("helper", "Yes.")
    with django_capture_on_commit_callbacks(execute=True):
        run = get_agent("helper").enqueue("Open?")
    assert run.response().content == "Yes."
    assert agent.run_enqueued() == []


def test_without_eager_mode_no_task_is_sent(scripted_agent, django_capture_on_commit_callbacks):
    agent = scripted_agent("helper", "Yes.")
    with django_capture_on_commit_callbacks(execute=True):
        run = get_agent("helper").enqueue("Open?")
    assert run.status == "queued"
    assert agent.run_enqueued() == [run.run_id]
