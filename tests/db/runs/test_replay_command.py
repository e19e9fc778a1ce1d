"""``manage.py zango_ai_replay``, as its callers see it."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.build import QUARTER, make_agent, make_priced_agent, make_prompt
from zango_ai import get_agent
from zango_ai.models import Invocation, Provider
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("north")


def run(*arguments):
    out, err = StringIO(), StringIO()
    call_command("zango_ai_replay", *map(str, arguments), schema="north", stdout=out, stderr=err)
    return out.getvalue()


def test_one_run_is_shown_beside_its_replay_with_the_words_that_differ(model, tmp_path):
    prompt = make_prompt("Be kind.", "system")
    make_agent(model, system_prompt=prompt)
    prompt.add_version("Be brief.")
    model.script("Take two pills a day.", "Take one pill a day.", "Take one pill a day.")
    original = get_agent("helper").run("What now?")
    shown = run(original.invocation_id, "--system-prompt-version", 2, "--model", "gpt-4.1-nano")
    assert "system-prompt v1" in shown
    assert "system-prompt v2" in shown
    assert "gpt-4.1-nano" in shown
    assert "Take [-two-] [-pills-] a day." in shown
    assert "Take {+one+} {+pill+} a day." in shown
    draft = tmp_path / "draft.txt"
    draft.write_text("Be silent.")
    printed = json.loads(run(original.invocation_id, "--system-prompt-file", draft, "--json"))
    assert model.requests[2].body["messages"][0]["content"] == "Be silent."
    assert (printed["is_same"], printed["replay"]["system_prompt_version"]) == (False, None)
    assert printed["original"]["content"] == "Take two pills a day."


def test_a_failed_replay_is_shown_and_ends_with_the_exit_code_of_its_error(model):
    make_agent(model)
    original = get_agent("helper").run("Hello")
    model.script(Reply(status=400))
    with pytest.raises(CommandError, match="LLMAPIError") as caught:
        run(original.invocation_id)
    assert caught.value.returncode == 7
    with pytest.raises(CommandError, match="no system prompt to choose version 9 of") as caught:
        run("--agent", "helper", "--yes", "--model", "x", "--system-prompt-version", 9)
    assert caught.value.returncode == 2


def test_the_last_runs_are_replayed_until_the_budget_ends(model):
    make_priced_agent(model)
    model.script(*[QUARTER] * 4, Reply("another", input_tokens=100, output_tokens=1000), *[QUARTER] * 3)
    for number in range(4):
        get_agent("helper").run(f"Hello {number}")
    Invocation.objects.filter(pk=Invocation.objects.earliest("pk").pk).update(status="abandoned")
    with pytest.raises(CommandError, match=r"4 runs of helper costs about \$1.00.*--yes"):
        run("--agent", "helper")
    Provider.objects.update(monthly_budget_usd="1.50")
    out, err = StringIO(), StringIO()
    with pytest.raises(CommandError, match="BudgetExceeded") as caught:
        call_command("zango_ai_replay", agent="helper", yes=True, schema="north", stdout=out, stderr=err)
    assert caught.value.returncode == 4
    assert "Stopped after 3 of 4 runs." in err.getvalue()
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert [line[2] for line in lines[1:4]] == ["differs", "same", "budget_exceeded"]
    assert "Total cost: $0.50" in out.getvalue()
    assert Invocation.objects.filter(replay_of__isnull=False).count() == 3
