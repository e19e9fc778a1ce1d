"""The example's chat page in Chromium: streamed answers, tool calls and approvals, with and without JavaScript."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_tenants.utils import schema_context
from patients.models import Patient
from tenants.models import Clinic, Domain

from tests.build import make_agent
from tests.db.panel.conftest import browser  # noqa: F401
from tests.panel_browser import serve
from zango_ai.configuration import tool_rows
from zango_ai.models import Invocation, Tool
from zango_ai.testing import Call, Reply


@pytest.fixture
def site(model, live_north):
    """The address of north, where the chat's agent is."""
    with schema_context("public"):
        north = Clinic.objects.get(schema_name="north")
        Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": north})
    tool_rows.sync()
    agent = make_agent(model, "chat-agent", short_term_memory=True, is_public_api=True)
    agent.tools.set(Tool.objects.filter(section="patients"))
    with serve() as address:
        yield address


@pytest.fixture
def open_chat(browser, site):  # noqa: F811
    """Opens the chat in a browser of its own, in which a nurse is logged in."""
    contexts = []

    def open_page(**options):
        nurse, _ = User.objects.get_or_create(username="nurse")
        client = Client()
        client.force_login(nurse)
        contexts.append(browser.new_context(bypass_csp=True, **options))
        contexts[-1].add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}])
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
        page.goto(f"{site}/chat/")
        return page

    yield open_page
    for context in contexts:
        context.close()


def send(page, text):
    page.fill("#question", text)
    page.keyboard.press("Enter")


def test_an_answer_is_shown_while_it_is_written_and_can_be_stopped(model, open_chat):
    page = open_chat()
    model.script(Reply("word " * 2000, trickle_s=0.01))
    send(page, "Tell me.")
    page.wait_for_selector(".answer:has-text('word word')")
    assert page.get_attribute("#conversation", "aria-busy") == "true"
    page.click("#stop")
    page.wait_for_selector("#progress:text-is('Stopped.')")
    assert page.evaluate("document.activeElement.id") == "question"
    model.wait_for_abandoned(1)
    send(page, "Who am I?")
    page.wait_for_selector("#progress:text-is('Answered.')")
    assert "You asked: Who am I?" in page.inner_text(".answer >> nth=-1")
    assert page.get_attribute("#conversation", "aria-busy") is None
    model.script(Reply("You are", finish_reason="length"))
    send(page, "Once more.")
    page.wait_for_selector("#progress:has-text('Cut off')")


def test_tool_calls_are_shown_as_they_happen_and_wait_for_approval(model, open_chat):
    page = open_chat()
    patient = Patient.objects.create(name="Ada", born="1957-03-09")
    wish = {"patient_id": patient.pk, "text": "Call <b>back</b>."}
    model.script(
        Reply("Let me look.", calls=[Call("find_patient", {"name": "Ada"})]),
        Reply("I should write that down.", calls=[Call("record_note", wish)]),
        "Written down.",
    )
    send(page, "Remember to call Ada.")
    page.wait_for_selector("#progress:text-is('The agent needs your approval.')")
    assert page.inner_text(".tool") == "find_patient: success"
    assert "Call <b>back</b>." in page.inner_text("fieldset")
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    page.wait_for_selector(".answer >> text=Written down.")
    page.wait_for_selector("#ask:visible")
    assert patient.notes.get().text == "Call <b>back</b>."
    page.reload()
    assert [each.inner_text() for each in page.locator(".question, .answer").all()] == [
        "Remember to call Ada.",
        "Let me look.",
        "I should write that down.",
        "Written down.",
    ]


def test_an_error_is_told_on_the_page(model, open_chat):
    page = open_chat()
    model.script(Reply("no", status=500))
    send(page, "Hi")
    assert "The agent could not answer" in page.inner_text("[role=alert]")


def test_the_page_works_without_javascript(model, open_chat):
    page = open_chat(java_script_enabled=False)
    patient = Patient.objects.create(name="Ada", born="1957-03-09")
    wish = {"patient_id": patient.pk, "text": "Call back."}
    model.script(Reply(calls=[Call("record_note", wish)]), "Written down.")
    send(page, "Remember to call Ada.")
    page.wait_for_selector("fieldset")
    assert not page.is_visible("#ask")
    page.check("text=Approve")
    page.click("text=Submit")
    assert page.inner_text(".answer") == "Written down."
    assert Invocation.objects.get().status == "success"
