"""A replay sends a stored run again, with recorded tool results, and executes nothing."""

from datetime import timedelta

import pytest
from django.utils import timezone

from tests.build import make_agent, make_agent_with, make_prompt, make_provider
from zango_ai import LLMFile, LLMMessage, get_agent, get_provider, tool
from zango_ai.configuration.overrides import Overrides
from zango_ai.exceptions import (
    AgentNotFound,
    BudgetExceeded,
    LLMFileError,
    OutputValidationError,
    PromptRenderError,
    RunNotFound,
    RunNotReplayable,
)
from zango_ai.ledger import erasure, removal
from zango_ai.models import (
    Invocation,
    MemoryMessage,
    MemorySession,
    Payload,
    PromptVersion,
    Provider,
    ToolCall,
    ToolUsage,
)
from zango_ai.runs.replay import replay
from zango_ai.testing import Call, Reply
from zango_ai.types import PromptSpec

pytestmark = pytest.mark.usefixtures("north")
executed = []


@tool(description="Weigh a patient.")
def weigh_for_replay(patient: str, unit: str = "kg") -> str:
    executed.append(patient)
    return f"{patient} weighs {60 + len(executed)} {unit}"


def texts(request):
    return [(message["role"], message.get("content")) for message in request.body["messages"]]


def spec(prompt, number):
    version = PromptVersion.objects.get(prompt=prompt, version_number=number)
    return PromptSpec(prompt.name, number, version.content)


def test_a_replay_sends_the_history_and_the_recorded_texts_and_remembers_nothing(model):
    prompt = make_prompt("Be brief with {{ who }}.", "system")
    make_agent(model, system_prompt=prompt, short_term_memory=True)
    agent = get_agent("helper")
    model.script("one", "two", "three")
    first = agent.run("Hello", system_variables={"who": "Ada"}, user_ref="7")
    second = agent.run("And now?", system_variables={"who": "Ada"}, session_id=first.session_id, user_ref="7")
    prompt.add_version("Changed.").activate()
    remembered = list(MemoryMessage.objects.values_list("content", flat=True))
    response = replay(second.invocation_id, replayed_by="9")
    assert texts(model.requests[2]) == texts(model.requests[1])
    assert ("user", "Hello") in texts(model.requests[2])
    assert list(MemoryMessage.objects.values_list("content", flat=True)) == remembered
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.replay_of_id, row.replayed_by, row.triggered_by) == (second.invocation_id, "9", "user")
    assert (row.status, row.response_content, row.system_prompt_version) == ("success", "three", 1)
    assert (row.user_ref, row.session_id, response.session_id) == ("7", first.session_id, None)


def test_another_prompt_version_is_rendered_with_the_recorded_variables(model):
    system, user = make_prompt("Help {{ who }}.", "system"), make_prompt("Weigh {{ pet }}.")
    make_agent(model, system_prompt=system, user_prompt=user)
    system.add_version("Serve {{ who }} well.")
    user.add_version("Please weigh {{ pet }} now.")
    original = get_agent("helper").run(variables={"pet": "Rex"}, system_variables={"who": "Ada"})
    response = replay(original.invocation_id, Overrides(system_prompt=spec(system, 2), user_prompt=spec(user, 2)))
    assert texts(model.requests[1]) == [("system", "Serve Ada well."), ("user", "Please weigh Rex now.")]
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.system_prompt_version, row.user_prompt_version) == (2, 2)
    assert row.rendered_user_prompt == "Please weigh Rex now."
    draft = PromptSpec("user-prompt", None, "Weigh {{ pet }} and {{ other }}.")
    with pytest.raises(PromptRenderError) as caught:
        replay(original.invocation_id, Overrides(user_prompt=draft))
    assert caught.value.missing_vars == ["other"]
    assert Invocation.objects.get(pk=caught.value.invocation_id).replay_of_id == original.invocation_id


def test_a_user_prompt_cannot_replace_a_message_of_the_caller(model):
    user = make_prompt("Weigh {{ pet }}.")
    make_agent(model, user_prompt=user)
    original = get_agent("helper").run("My own words")
    with pytest.raises(RunNotReplayable, match="sent a message of its caller"):
        replay(original.invocation_id, Overrides(user_prompt=spec(user, 1)))


def test_tools_are_not_executed_and_answer_from_the_log(model):
    make_agent_with(model, weigh_for_replay)
    executed.clear()
    rex = {"patient": "Rex", "unit": "kg"}
    model.script(
        Reply(calls=[Call("weigh_for_replay", rex)]), Reply(calls=[Call("weigh_for_replay", rex)]), "61, 62"
    )
    original = get_agent("helper").run("Weigh Rex twice")
    counted = ToolUsage.objects.get(tool_name="weigh_for_replay").calls
    turned = {"unit": "kg", "patient": "Rex"}
    calls = [
        Call("weigh_for_replay", turned),
        Call("weigh_for_replay", {"patient": "Ada"}),
        Call("sell_for_replay"),
    ]
    model.script(Reply(calls=calls), Reply(calls=[Call("weigh_for_replay", rex)]), "done")
    response = replay(original.invocation_id)
    assert executed == ["Rex", "Rex"]
    assert [call.result for call in response.tool_calls if call.status == "success"] == [
        "Rex weighs 61 kg",
        "Rex weighs 62 kg",
    ]
    others = [call.result["message"] for call in response.tool_calls if call.status == "error"]
    assert "with other arguments" in others[0]
    assert "not at all" in others[1]
    rows = ToolCall.objects.filter(round__invocation=response.invocation_id)
    assert rows.count() == 4
    assert ToolUsage.objects.get(tool_name="weigh_for_replay").calls == counted


def test_another_model_and_another_provider_are_used_and_priced(model):
    make_agent(model, temperature=0.3, max_tokens=77)
    other = make_provider(model, name="other", default_model="gpt-4.1-mini")
    original = get_agent("helper").run("Hello")
    replay(original.invocation_id, Overrides(model="gpt-4.1-nano"))
    response = replay(original.invocation_id, Overrides(provider_id=other.pk))
    asked = [(request.body["model"], request.body["temperature"]) for request in model.requests]
    assert asked == [("gpt-4o-mini", 0.3), ("gpt-4.1-nano", 0.3), ("gpt-4.1-mini", 0.3)]
    row = Invocation.objects.get(pk=response.invocation_id)
    assert row.provider_name == "other"
    assert row.cost_usd > 0
    Provider.objects.filter(name="other").update(monthly_budget_usd=0)
    with pytest.raises(BudgetExceeded) as caught:
        replay(original.invocation_id, Overrides(provider_id=other.pk))
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "budget_exceeded"


def test_the_recorded_instruction_about_json_is_sent_once_and_the_answer_is_validated(model):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    provider = make_provider(model, kind="openai_compatible")
    make_agent(model, provider=provider, output_schema="json", output_json_schema=schema)
    model.script('{"n": 1}', '{"n": "x"}')
    original = get_agent("helper").run("Count")
    with pytest.raises(OutputValidationError):
        replay(original.invocation_id)
    assert texts(model.requests[1]) == texts(model.requests[0])


def test_files_are_sent_again_unless_their_content_is_gone(model, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    make_agent(model)
    file = LLMFile.from_bytes(b"some notes", "text/plain", "notes.txt")
    original = get_agent("helper").run("Read", files=[file])
    replay(original.invocation_id)
    assert texts(model.requests[1]) == texts(model.requests[0])
    for stored in tmp_path.rglob("*"):
        if stored.is_file():
            stored.unlink()
    with pytest.raises(LLMFileError, match=r"notes.txt.*no longer in the storage"):
        replay(original.invocation_id)


def test_runs_that_the_log_cannot_repeat_are_refused_with_the_reason(model):
    config = make_agent(model)
    agent = get_agent("helper")
    original = agent.run(
        "A message that is long enough to be stored apart from the row of its round, as a payload."
    )
    direct = get_provider("main").complete([LLMMessage("user", "Hi")])
    with pytest.raises(RunNotReplayable, match="without an agent"):
        replay(direct.invocation_id)
    with pytest.raises(RunNotFound):
        replay(original.invocation_id + 1000)
    Invocation.objects.filter(pk=original.invocation_id).update(status="running")
    with pytest.raises(RunNotReplayable, match="status is running"):
        replay(original.invocation_id)
    Invocation.objects.filter(pk=original.invocation_id).update(status="success")
    Payload.objects.all().delete()
    agent.run("long " * 30, session_id="s")
    other = Invocation.objects.first()
    other.rounds.update(request_messages=[{"role": "user", "content": "[not stored: REDACT raised KeyError]"}])
    with pytest.raises(RunNotReplayable, match="not stored"):
        replay(other.pk)
    removal.remove_texts("north", [original.invocation_id])
    with pytest.raises(RunNotReplayable, match=f"removed on {timezone.now() + timedelta():%Y-%m-%d}"):
        replay(original.invocation_id)
    before = Invocation.objects.count()
    config.delete()
    with pytest.raises(AgentNotFound, match="deleted"):
        replay(agent_run_without_config(other))
    assert Invocation.objects.count() == before + 1


def agent_run_without_config(run):
    run.rounds.update(request_messages=[{"role": "user", "content": "Hello"}])
    return run.pk


def test_erasing_a_user_erases_the_replays_of_their_runs(model):
    make_agent(model)
    original = get_agent("helper").run("My name is Ada Canary, and this is a long text about me.", user_ref="7")
    response = replay(original.invocation_id, replayed_by="9")
    erasure.erase("north", "7")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert row.rendered_user_prompt == ""
    assert row.payload_removed_at is not None
    assert not Payload.objects.exists()


def test_erasing_a_user_erases_the_replays_of_a_conversation_that_they_took_part_in(model):
    make_agent(model, short_term_memory=True)
    get_agent("helper").run(
        "My name is Ada Canary, and this is a long text about me.", session_id="s", user_ref="7"
    )
    MemorySession.objects.update(user_ref="")  # open to any user
    original = get_agent("helper").run("And my own long text, which is another one.", session_id="s", user_ref="8")
    response = replay(original.invocation_id)
    assert "Ada Canary" in str(model.requests[2].body)
    erasure.erase("north", "7")
    assert Invocation.objects.get(pk=response.invocation_id).payload_removed_at is not None
    assert "Canary" not in str(list(Payload.objects.values_list("content", flat=True)))


def test_calls_whose_arguments_were_redacted_are_found_in_the_log(model, settings):
    settings.ZANGO_AI = {**settings.ZANGO_AI, "REDACT": lambda text: text.replace("Rex", "<PET>")}
    make_agent_with(model, weigh_for_replay)
    executed.clear()
    calls = Reply(calls=[Call("weigh_for_replay", {"patient": "Rex"})])
    model.script(calls, "done", calls, "done")
    original = get_agent("helper").run("Weigh Rex")
    response = replay(original.invocation_id)
    assert [call.result for call in response.tool_calls] == ["<PET> weighs 61 kg"]
    assert executed == ["Rex"]
