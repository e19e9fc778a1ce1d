"""The examples of AGENTS.md, which people's coding assistants copy, run as they are written and in their order."""

import json
import re
from types import SimpleNamespace

import pytest

from tests.e2e.conftest import ROOT
from zango_ai.models import Invocation, Provider
from zango_ai.testing import Reply
from zango_ai.tools import registry

BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "AGENTS.md").read_text(), re.MULTILINE | re.DOTALL)


def run_block(words, **names):
    """Execute the only example that contains ``words``; the names that it defines."""
    (block,) = [block for block in BLOCKS if words in block]
    exec(compile(block, "AGENTS.md", "exec"), names)
    return SimpleNamespace(**names)


@pytest.fixture
def defined(model, north):
    """The providers and agents of the page, on the local model server."""
    run_block("define_agent(\n", api_key="sk-test")
    provider = Provider.objects.get(name="main")
    provider.credentials = {"api_key": "sk-test", "api_base": model.openai_base}
    provider.save()


@pytest.fixture
def request_(north):
    return SimpleNamespace(user=SimpleNamespace(pk=7), tenant=north, POST={"question": "Any visits?"})


def test_a_view_answers_and_reports_what_went_wrong(model, defined, request_):
    view = run_block("def ask(").ask
    model.script("None yet.")
    assert json.loads(view(request_).content)["answer"] == "None yet."
    sent = [message["content"] for message in model.requests[-1].body["messages"]]
    assert sent == ["You help the staff of North.", "No visits yet.\n\nQuestion: Any visits?"]
    model.script(Reply("slow down", status=429, headers={"retry-after": "300"}))
    assert json.loads(view(request_).content) == {"error": "busy", "retry_after": 300}
    model.script(Reply("bad key", status=401))
    assert json.loads(view(request_).content)["run"] == Invocation.objects.latest("pk").pk
    Provider.objects.update(monthly_budget_usd=0)
    assert view(request_).status_code == 503


def test_a_view_streams(model, defined, request_):
    model.script("None yet.")
    answer = run_block("def stream(").stream(request_)
    assert b"".join(answer.streaming_content) == b"None yet."


def test_an_answer_is_typed_and_a_conversation_continues(model, defined):
    model.script('{"urgency": "soon", "reason": "dizzy"}')
    names = run_block("class Triage")
    assert isinstance(names.triage, names.Triage)
    names = run_block("Who am I?")
    assert names.second.session_id == names.first.session_id
    assert [message["content"] for message in model.requests[-1].body["messages"]][::2] == [
        "I am Ada.",
        "Who am I?",
    ]


def test_a_tool_is_declared(monkeypatch):
    monkeypatch.setattr(registry, "_tools", {})
    tool = run_block("@tool(").record_weight.tool
    assert (tool.name, tool.safety.value, tool.requires_approval) == ("record_weight", "write", True)


def test_a_run_is_queued(model, defined):
    assert run_block(".enqueue(").status == "queued"


def test_the_test_passes(north, scripted_agent):
    run_block("def test_the_helper_answers").test_the_helper_answers(north, scripted_agent)
    assert Invocation.objects.get().status == "success"
