"""The page about React in Chromium: its components as they are written, with the packages of npm."""

from pathlib import Path

import pytest
from django.http import HttpResponse
from django.urls import include, path
from django.views.decorators.csrf import ensure_csrf_cookie

from tests import javascript
from tests.build import make_agent, make_agent_with, make_provider
from tests.server_tools import move_cot
from tests.tutorial import BLOCK, write_file
from zango_ai.models import Invocation
from zango_ai.testing import Call, Reply

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "use-with-react.md"


@ensure_csrf_cookie
def root(request):
    return HttpResponse('<!doctype html><div id="root"></div><script type="module" src="/script.js"></script>')


urlpatterns = [path("", root), path("ai/", include("zango_ai.urls"))]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """The components of the page, bundled as it says."""
    folder = tmp_path_factory.mktemp("react")
    names = [write_file(block, folder) for language, block in BLOCK.findall(PAGE.read_text()) if language == "jsx"]
    assert names == ["chat.jsx", "answer.jsx"]
    for name in names:
        javascript.bundle(folder / name, folder / f"{name}.js", "--format=esm", "--external:/static/*")
    return {name: folder / f"{name}.js" for name in names}


@pytest.fixture
def open_page(nurse, scripts, settings):
    """Opens a page with one of the components, whose user is logged in."""
    settings.ROOT_URLCONF = __name__

    def opened(name):
        page = nurse.new_page()
        page.route("**/script.js", lambda route: route.fulfill(path=scripts[name]))
        page.goto("/")
        return page

    return opened


def ask(page, text, button):
    page.fill("input", text)
    page.click(f"button:text-is('{button}')")


def test_the_chat_answers_remembers_and_asks_before_it_calls_a_tool(model, open_page):
    make_agent_with(model, move_cot, name="front-desk", is_public_api=True, short_term_memory=True)
    page = open_page("chat.jsx")
    ask(page, "I am Ada.", "Send")
    page.wait_for_selector(".assistant >> text=You asked: I am Ada.")
    model.script(Reply(calls=[Call("move_cot", {"to": "B"})]), "It is in B now, Ada.")
    ask(page, "Move it to B.", "Send")
    page.wait_for_selector("text=May the assistant call tool-move_cot")
    page.click("text=Yes")
    page.wait_for_selector(".assistant >> text=It is in B now, Ada.")
    assert model.requests[-1].body["messages"][0]["content"] == "I am Ada."


def test_the_chat_shows_an_error_and_goes_on(model, open_page):
    make_agent(model, "front-desk", is_public_api=True, short_term_memory=True)
    page = open_page("chat.jsx")
    model.script(Reply("no", status=500))
    ask(page, "Open?", "Send")
    page.wait_for_selector("[role=alert]")
    ask(page, "And now?", "Send")
    page.wait_for_selector(".assistant >> text=You asked: And now?")


def test_the_answer_is_streamed_without_text_of_broken_attempts_and_can_be_stopped(model, open_page):
    make_agent(model, "front-desk", provider=make_provider(model, max_retries=1), is_public_api=True)
    page = open_page("answer.jsx")
    model.script(Reply("one two three four", breaks_after=2), "All is well.")
    ask(page, "How are you?", "Ask")
    page.wait_for_selector("p:text-is('All is well.')")
    model.script(Reply("word " * 2000, trickle_s=0.01))
    ask(page, "Tell me more.", "Ask")
    page.wait_for_selector("p:text('word word')")
    page.click("text=Stop")
    model.wait_for_abandoned(1)
    assert page.locator("[role=alert]").count() == 0
    assert "word" in page.inner_text("p")
    assert Invocation.objects.count() == 2
