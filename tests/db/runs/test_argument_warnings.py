"""What is logged, once, where arguments have no effect or one that is easily overlooked."""

import logging

import pytest
from patients.models import Patient

from tests.build import make_agent, make_prompt
from zango_ai import LLMMessage, get_agent, get_provider
from zango_ai.exceptions import PromptRenderError
from zango_ai.runs import argument_warnings

pytestmark = pytest.mark.usefixtures("north")


@pytest.fixture
def log(caplog):
    argument_warnings.forget()
    caplog.set_level(logging.WARNING, "zango_ai.agent")
    yield lambda: [record.getMessage() for record in caplog.records if record.name == "zango_ai.agent"]
    argument_warnings.forget()


@pytest.fixture
def agent(model):
    make_agent(
        model,
        system_prompt=make_prompt("You work at {{ place }}.", "system"),
        user_prompt=make_prompt("{{ patients }}"),
    )
    return get_agent("helper")


def test_a_session_of_an_agent_without_memory_is_told_once(model, log):
    make_agent(model)
    for _ in range(3):
        assert get_agent("helper").run("hi", session_id="s").session_id is None
    (told,) = log()
    assert "'helper' of schema 'north'" in told
    assert "session_id" in told
    make_agent(model, "other", provider=get_provider("main"))
    get_agent("other").run("hi", session_id="s")
    assert len(log()) == 2  # each agent by itself


def test_what_is_passed_beside_the_input_is_told(agent, log):
    agent.run("hi", variables={"patients": "Ada"}, system_variables={"place": "North"})
    (told,) = log()
    assert "variables beside input has no effect" in told
    agent.run(variables={"patients": "x"}, messages=[LLMMessage("user", "x")], system_variables={"place": "North"})
    assert "messages beside variables has no effect" in log()[1]


def test_placeholders_of_the_system_prompt_without_values_are_told(agent, log):
    agent.run("hi")
    (told,) = log()
    assert "(place)" in told
    with pytest.raises(PromptRenderError):
        agent.run("hi", system_variables={})
    assert len(log()) == 1


def test_rows_that_would_be_cut_off_are_told(agent, model, log):
    agent.run(variables={"patients": Patient.objects.all()}, system_variables={"place": Patient.objects.all()})
    told = log()
    assert ["variables['patients'] is a QuerySet" in words for words in told] == [True, False]
    assert "system_variables['place'] is a QuerySet" in told[1]


def test_arguments_that_mean_what_they_seem_to_are_not_told(model, log):
    make_agent(
        model,
        system_prompt=make_prompt("You work here.", "system"),
        user_prompt=make_prompt("{{ patients }}"),
        short_term_memory=True,
    )
    agent = get_agent("helper")
    agent.run(variables={"patients": ["Ada"]}, session_id="s")
    agent.run("hi")
    agent.enqueue("hi")
    assert log() == []


def test_a_queued_run_is_told_of_as_well(agent, log):
    agent.enqueue("hi", session_id="s", system_variables={"place": "North"})
    assert "session_id" in log()[0]


def test_what_has_been_told_does_not_grow_without_end(agent, log, monkeypatch):
    monkeypatch.setattr(argument_warnings, "_MAX_LOGGED", 2)
    for number in range(10):
        rows = {f"patients{number}": Patient.objects.all(), "patients": ""}
        agent.run(variables=rows, system_variables={"place": "North"})
    assert len(log()) == 10
    assert len(argument_warnings._logged) <= 2


def test_a_json_schema_of_an_agent_that_answers_in_text_is_told_once(model, log):
    agent = make_agent(model, output_json_schema={"type": "object"})
    for _ in range(2):
        get_agent("helper").run("hi")
    (told,) = log()
    assert "answers are not validated" in told
    agent.output_schema = "json"
    agent.save()
    argument_warnings.forget()
    model.script("{}")
    get_agent("helper").run("hi")
    assert len(log()) == 1
