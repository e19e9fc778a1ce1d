"""How many SQL statements a run takes: they are not to grow. These tests commit."""

import pytest
from django.db import transaction

from tests.build import make_agent, make_agent_with
from tests.statements import statements
from zango_ai import get_agent, tool
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")


@tool(description="Say yes.")
def say_yes() -> str:
    return "yes"


def test_a_plain_run(model):
    make_agent(model)
    get_agent("helper").run("warm")
    asked = statements(lambda: get_agent("helper").run("hi"))
    assert len(asked) <= 4, asked


def test_a_plain_run_inside_the_callers_transaction(model):
    make_agent(model)
    get_agent("helper").run("warm")
    with transaction.atomic():
        asked = statements(lambda: get_agent("helper").run("hi"))
    assert len(asked) <= 4, asked


def test_a_run_that_answers_in_json(model):
    make_agent(model, output_schema="json")
    model.script(*["[]"] * 2)
    get_agent("helper").run("warm")
    asked = statements(lambda: get_agent("helper").run("hi"))
    assert len(asked) <= 5, asked


def test_a_turn_of_a_conversation(model):
    make_agent(model, short_term_memory=True)
    get_agent("helper").run("first", session_id="s")
    asked = statements(lambda: get_agent("helper").run("second", session_id="s"))
    assert len(asked) <= 6, asked


def test_a_run_with_one_tool_call(model):
    make_agent_with(model, say_yes)
    get_agent("helper").run("warm")
    model.script(Reply(calls=[Call("say_yes")]), "done")
    asked = statements(lambda: get_agent("helper").run("hi"))
    assert len(asked) <= 9, asked
