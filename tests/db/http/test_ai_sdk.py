"""Vercel's AI SDK as its users have it: the packages ``ai`` in Node and ``@ai-sdk/react`` in Chromium."""

import json

import pytest

from tests import javascript
from tests.build import make_agent, make_agent_with, make_provider
from tests.db.http.conftest import CSRF
from tests.db.http.test_servers import ended
from tests.db.panel.conftest import browser  # noqa: F401
from tests.server_tools import count_cots, move_cot
from zango_ai.models import Invocation
from zango_ai.testing import Call, Reply


def read_chat(port, cookies, text):
    """The message and the errors that the SDK's reader in Node reports."""
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    api = f"http://127.0.0.1:{port}/ai/agents/helper/chat/"
    return json.loads(javascript.run("read_chat.mjs", api, "c1", text, cookie, CSRF))


def test_the_sdk_reads_text_tools_and_a_round_that_began_again(model, ports, cookies):
    provider = make_provider(model, max_retries=1)
    make_agent_with(model, count_cots, provider=provider, is_public_api=True, short_term_memory=True)
    calls = [Call("count_cots", {"ward": "B"}), Call("count_cots", {"ward": "none"})]
    model.script(Reply("Let me look.", calls=calls), Reply("Ten", breaks_after=2), "Twelve.")
    read = read_chat(ports["gunicorn"], cookies, "How many?")
    assert read["errors"] == []
    assert [(part["type"], part.get("state"), part.get("text")) for part in read["message"]["parts"]] == [
        ("step-start", None, None),
        ("text", "done", "Let me look."),
        ("tool-count_cots", "output-available", None),
        ("tool-count_cots", "output-error", None),
        ("step-start", None, None),
        ("text", "done", "Twelve."),
    ]
    assert read["message"]["parts"][2]["output"] == 12
    assert read["message"]["metadata"]["run_id"] == str(Invocation.objects.get().run_id)


def test_the_sdk_reads_an_error(model, ports, cookies):
    make_agent(model, is_public_api=True)
    model.script(Reply("one two three", fails_after=3))
    (error,) = read_chat(ports["gunicorn"], cookies, "Hi")["errors"]
    assert "The agent could not answer" in error


@pytest.fixture
def page(browser, ports, cookies, script):  # noqa: F811
    """The React chat, whose user is logged in."""
    if not script.exists():
        javascript.bundle("chat.jsx", script)
    origin = f"http://north.localhost:{ports['uvicorn']}"
    context = browser.new_context()
    context.add_cookies([{"name": "sessionid", "value": cookies["sessionid"], "url": origin}])
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    page.goto(f"{origin}/page/?chat=c1")
    yield page
    context.close()


def send(page, text):
    page.fill("input", text)
    page.click("text=Send")


def test_a_react_chat_shows_the_answer_and_remembers(model, page):
    make_agent(model, is_public_api=True, short_term_memory=True)
    send(page, "I am Ada.")
    page.wait_for_selector("#status:text-is('ready')")
    send(page, "Who am I?")
    page.wait_for_selector(".assistant >> nth=1 >> text=This began with: I am Ada.")
    assert page.inner_text("#error") == ""


def test_a_react_chat_approves_and_denies_tool_calls(model, page):
    make_agent_with(model, move_cot, is_public_api=True, short_term_memory=True)
    model.script(Reply(calls=[Call("move_cot", {"to": "B"})]), "It is in B.")
    send(page, "Move it.")
    page.click("text=Approve")
    page.wait_for_selector(".assistant >> text=It is in B.")
    assert page.get_attribute(".tool", "data-state") == "output-available"
    assert page.locator(".assistant").count() == 1
    model.script(Reply(calls=[Call("move_cot", {"to": "C"})]), "It stays.")
    send(page, "Move it on.")
    page.click("text=Deny")
    page.wait_for_selector(".assistant >> nth=1 >> text=It stays.")
    assert page.get_attribute(".tool >> nth=1", "data-state") == "output-denied"
    assert "Not today." in json.dumps(model.requests[-1].body)


def test_stop_in_a_react_chat_cancels_the_run(model, page):
    make_agent(model, is_public_api=True)
    model.script(Reply("word " * 2000, trickle_s=0.01))
    send(page, "Tell me.")
    page.wait_for_selector(".assistant >> text=word")
    page.click("text=Stop")
    model.wait_for_abandoned(1)
    assert ended().status == "cancelled"
