"""``manage.py zango_ai_run``, as cron and scripts use it: what it prints, and the code it ends with."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from tests.build import make_agent, make_agent_with, make_priced_agent, make_prompt
from zango_ai import tool
from zango_ai.models import AgentConfig, Invocation
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("north")


def run(*arguments, schema="north"):
    out = io.StringIO()
    call_command("zango_ai_run", *arguments, "--schema", schema, stdout=out)
    return out.getvalue()


def code_of(*arguments, schema="north"):
    with pytest.raises(CommandError) as caught:
        run(*arguments, schema=schema)
    return caught.value.returncode, str(caught.value)


def test_it_prints_the_answer(model, monkeypatch, tmp_path):
    system, user = make_prompt("You work at {{ site }}.", "system"), make_prompt("{{ a }} and {{ b }}")
    make_agent(model, system_prompt=system, user_prompt=user)
    model.script("one", "two", "three")
    assert run("helper", "--input", "hi") == "one\n"
    assert (
        run("helper", "--var", "a=1", "--var", "b=x=y", "--system-var", "site=North", "--user-ref", "cron")
        == "two\n"
    )
    assert [m["content"] for m in model.requests[1].body["messages"]] == ["You work at North.", "1 and x=y"]
    row = Invocation.objects.first()
    assert (row.triggered_by, row.user_ref) == ("system", "cron")
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    report = tmp_path / "report.csv"
    report.write_text("a,1\n")
    assert run("helper", "--input", "-", "--file", str(report), "--triggered-by", "task") == "three\n"
    sent = str(model.requests[2].body["messages"][-1])
    assert "from a pipe" in sent
    assert "a,1" in sent


def test_it_prints_json_and_continues_a_conversation(model):
    make_agent(model, short_term_memory=True, output_schema="json")
    model.script('{"a": 1}', '{"a": 2}')
    first = json.loads(run("helper", "--input", "hi", "--json"))
    assert (first["parsed_content"], first["stop_reason"], first["cost_usd"] is not None) == (
        {"a": 1},
        "end_turn",
        True,
    )
    assert first["invocation_id"] == Invocation.objects.get().pk
    second = json.loads(run("helper", "--input", "hi", "--session", first["session_id"], "--json"))
    assert second["session_id"] == first["session_id"]
    assert len(model.requests[1].body["messages"]) == 4  # with the words that ask for JSON


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (Reply("no", status=400), 7),
        (Reply("busy", status=429), 5),
        (Reply("late", delay_s=5), 6),
        ("no JSON", 8),
    ],
)
def test_the_exit_code_says_what_went_wrong(model, reply, code):
    make_agent(model, output_schema="json", timeout_seconds=1)
    model.script(reply)
    given, words = code_of("helper", "--input", "hi")
    assert given == code
    assert f"invocation {Invocation.objects.get().pk}" in words


def test_other_codes(model):
    make_priced_agent(model, monthly_budget_usd="0.1")
    assert code_of("helper", "--input", "hi")[0] == 4
    assert code_of("nobody", "--input", "hi")[0] == 3
    assert code_of("helper", "--input", "hi", schema="nowhere")[0] == 3
    assert code_of("helper")[0] == 1  # nothing to answer
    assert code_of("helper", "--input", "hi", "--var", "a=1")[0] == 2
    assert code_of("helper", "--var", "a")[0] == 2
    assert code_of("helper", "--input", "hi", "--file", "/nowhere/at/all")[0] == 1
    AgentConfig.objects.update(is_enabled=False)
    assert code_of("helper", "--input", "hi")[0] == 3


def test_a_call_that_waits_for_approval_is_told(model):
    @tool(name="needs_somebody", description="Do.", requires_approval=True)
    def needs_somebody() -> str:
        return "done"

    make_agent_with(model, needs_somebody)
    model.script(Reply(calls=[Call("needs_somebody")]))
    code, words = code_of("helper", "--input", "hi")
    assert code == 9
    assert "needs_somebody" in words
    assert str(Invocation.objects.get().run_id) in words


def test_a_missing_value_is_told_with_the_commands_own_option(model):
    make_agent(model, user_prompt=make_prompt("{{ a }}"))
    code, message = code_of("helper")
    assert code == 1
    assert "--var NAME=VALUE" in message


def test_it_prints_the_text_of_each_round_as_it_arrives(model):
    @tool(name="list_beds", description="List the beds.")
    def list_beds() -> int:
        return 3

    make_agent_with(model, list_beds)
    model.script(Reply("Let me  see.", calls=[Call("list_beds")]), Reply("Three.\n"))
    assert run("helper", "--input", "hi", "--stream") == "Let me  see.\nThree.\n\n"
    assert all(request.body["stream"] for request in model.requests)
    with pytest.raises(CommandError, match="not allowed with"):
        run("helper", "--input", "hi", "--stream", "--json")


def test_a_streamed_text_that_is_void_is_told(model, capsys):
    make_agent(model, output_schema="json", output_retries=1)
    model.script("no JSON", '{"a": 1}')
    assert run("helper", "--input", "hi", "--stream") == 'no JSON\n{"a": 1}\n'
    assert "void" in capsys.readouterr().err
    model.script(Reply("no", status=400))
    assert code_of("helper", "--input", "hi", "--stream")[0] == 7
