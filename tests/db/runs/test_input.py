"""The ways to ask, as the provider sees them on the wire."""

import pytest
from django.db.models import QuerySet

from tests.build import make_agent, make_prompt
from zango_ai import LLMMessage, get_agent
from zango_ai.exceptions import InputRequired, PromptNotFound, PromptRenderError
from zango_ai.models import Invocation, Prompt, PromptVersion

pytestmark = pytest.mark.usefixtures("north")


def sent(model):
    return [(m["role"], m["content"]) for m in model.requests[-1].body["messages"]]


@pytest.fixture
def clinic_agent(model):
    return make_agent(
        model,
        system_prompt=make_prompt("You work at {{ place }}.", "system"),
        user_prompt=make_prompt("Patient {{id}}: {{ question }}"),
    )


def test_input_is_sent_as_it_is(model, clinic_agent):
    get_agent("helper").run(input="What is {{ id }}?")
    assert sent(model) == [("system", "You work at {{ place }}."), ("user", "What is {{ id }}?")]


def test_input_may_be_given_by_position(model, clinic_agent):
    get_agent("helper").run("hello")
    assert sent(model)[-1] == ("user", "hello")


def test_variables_fill_the_user_prompt_and_system_variables_the_system_prompt(model, clinic_agent):
    get_agent("helper").run(variables={"id": 42, "question": "{{ place }}?"}, system_variables={"place": "North"})
    assert sent(model) == [("system", "You work at North."), ("user", "Patient 42: {{ place }}?")]


def test_messages_follow_the_system_prompt_and_are_not_changed(model, clinic_agent):
    talk = [LLMMessage("user", "a"), LLMMessage("assistant", "b"), LLMMessage("user", "c")]
    before = list(talk)
    get_agent("helper").run(messages=talk)
    assert sent(model)[1:] == [("user", "a"), ("assistant", "b"), ("user", "c")]
    assert talk == before


def test_the_first_that_is_not_none_wins(model, clinic_agent):
    talk = [LLMMessage("user", "from messages")]
    agent = get_agent("helper")
    agent.run("", variables={"id": 1, "question": "q"}, messages=talk)
    assert sent(model)[-1] == ("user", "")
    agent.run(variables={"id": 1, "question": "q"}, messages=talk)
    assert sent(model)[-1] == ("user", "Patient 1: q")


def test_no_input_sends_the_user_prompt_if_it_needs_nothing(model):
    make_agent(model, user_prompt=make_prompt("Write the daily report."))
    get_agent("helper").run()
    assert sent(model) == [("user", "Write the daily report.")]


def test_no_input_and_a_user_prompt_with_placeholders_names_what_is_missing(model, clinic_agent):
    with pytest.raises(PromptRenderError) as caught:
        get_agent("helper").run()
    assert caught.value.missing_vars == ["id", "question"]


@pytest.mark.parametrize("asked", [{}, {"variables": {"a": 1}}, {"messages": []}])
def test_nothing_to_answer_is_an_error_that_says_what_to_pass(model, asked):
    make_agent(model)
    with pytest.raises(InputRequired, match="Pass") as caught:
        get_agent("helper").run(**asked)
    assert caught.value.name == "helper"
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []


def test_a_missing_system_variable_is_named_also_for_an_empty_dict(model, clinic_agent):
    with pytest.raises(PromptRenderError) as caught:
        get_agent("helper").run("hi", system_variables={})
    assert caught.value.missing_vars == ["place"]
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.error_type, row.rounds_count) == ("failed", "PromptRenderError", 0)
    assert model.requests == []


def test_a_prompt_without_a_version_says_how_to_add_one(model):
    prompt = Prompt.objects.create(name="empty", type="user")
    make_agent(model, user_prompt=prompt)
    with pytest.raises(PromptNotFound) as caught:
        get_agent("helper").run()
    assert str(caught.value) == "Prompt 'empty' has no version. Add one: prompt.add_version('...')"
    assert caught.value.name == "empty"
    prompt.add_version("Hello.")
    assert get_agent("helper").run().content


def test_a_prompt_whose_versions_are_all_drafts_says_to_activate_one(model):
    prompt = make_prompt("Hello.")
    QuerySet(PromptVersion).update(status="draft")
    QuerySet(Prompt).update(active_version=None)
    make_agent(model, user_prompt=prompt)
    with pytest.raises(PromptNotFound, match=r"has no active version. Activate one in the admin."):
        get_agent("helper").run()


def test_a_dict_as_input_is_told_of_variables(model):
    make_agent(model)
    with pytest.raises(TypeError, match="input is of type dict; pass the text as a str, or pass variables="):
        get_agent("helper").run({"name": "Ada"})


def test_text_that_utf8_cannot_carry_is_still_sent(model):
    make_agent(model)
    get_agent("helper").run("broken \ud83d emoji")
    assert sent(model)[-1] == ("user", "broken \ufffd emoji")


def test_a_new_active_version_is_used_by_the_next_run(model):
    prompt = make_prompt("one")
    make_agent(model, user_prompt=prompt)
    agent = get_agent("helper")
    agent.run()
    prompt.add_version("two").activate()
    response = agent.run()
    assert sent(model)[-1] == ("user", "two")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.user_prompt_name, row.user_prompt_version) == ("user-prompt", 2)


@pytest.mark.parametrize("bad", [5, {"role": "user"}])
def test_a_value_of_the_wrong_type_is_a_type_error_on_a_row(model, bad):
    make_agent(model)
    asked = {"messages": [bad]} if isinstance(bad, dict) else {"input": bad}
    with pytest.raises(TypeError, match="pass") as caught:
        get_agent("helper").run(**asked)
    assert Invocation.objects.get(pk=caught.value.invocation_id).error_type == "TypeError"
