"""The page about HTMX in Chromium: its files as they are written, and HTMX as its users have it."""

import re
import sys
import threading
from pathlib import Path

import pytest
from django.db import connection
from django.urls import clear_url_caches
from django_tenants.utils import schema_context

from tests import javascript
from tests.build import make_agent, make_provider
from tests.tutorial import BLOCK, write_file
from tests.workers import app
from zango_ai.models import Invocation
from zango_ai.runs.resumption import execute_queued
from zango_ai.testing import Reply

PAGE = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "use-with-htmx.md"
MORE_IMPORTS = """
from django.http import HttpResponse
from django.shortcuts import get_object_or_404
from zango_ai import get_run
from zango_ai.models import Invocation
"""
MORE_URLS = """
urlpatterns += [
    path("short/", views.short_answer, name="short-answer"),
    path("queue/", views.queue, name="queue"),
    path("queued/<uuid:run_id>/", views.queued_answer, name="queued-answer"),
]
"""


@pytest.fixture
def docs_site(tmp_path, settings):
    """The files of the page as the URLconf, with the views of its other sections added."""
    named, others = [], []
    for language, block in BLOCK.findall(PAGE.read_text()):
        (named if write_file(block, tmp_path) else others).append((language, block))
    assert len(named) == 3
    folder = (tmp_path / "clinic").rename(tmp_path / "docs_site")
    views = "".join(block for language, block in others if language == "python")
    (short_form, reader) = (block for language, block in others if language == "html")
    for name, text in (("views.py", MORE_IMPORTS + views), ("urls.py", MORE_URLS)):
        with (folder / name).open("a") as file:
            file.write(text)
    with (folder / "templates" / "ask.html").open("a") as file:
        fields = '{% csrf_token %}<input name="question"><button>Send</button></form>'
        file.write(short_form.replace("…</form>", fields).replace("<form", '<form id="short"'))
        file.write(
            '<form id="queue" hx-post="{% url \'queue\' %}" hx-target="#queued">' + fields + '<p id="queued"></p>'
        )
    (folder / "templates" / "queued.html").write_text(reader)
    settings.ROOT_URLCONF = "docs_site.urls"
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [folder / "templates"]}]
    sys.path.insert(0, str(tmp_path))
    yield folder
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "docs_site"]:
        del sys.modules[name]
    clear_url_caches()


VERSIONS = {
    4: {"htmx.min.js": "htmx.org/dist/htmx.min.js", "hx-sse.min.js": "htmx.org/dist/ext/hx-sse.min.js"},
    2: {"htmx.min.js": "htmx-2/dist/htmx.min.js", "hx-sse.min.js": "htmx-ext-sse/sse.js"},
}
"""The files of each major version, by the names that the page loads."""


@pytest.fixture
def open_page(docs_site, nurse):
    """Opens the page of the reader, whose user is logged in, with a version of HTMX."""

    def opened(version=4):
        javascript.install()
        page = nurse.new_page()
        for name, path in VERSIONS[version].items():
            page.route(f"**/static/{name}", serve(javascript.HERE / "node_modules" / path))
        page.goto("/")
        return page

    return opened


@pytest.fixture
def page(open_page):
    return open_page()


def serve(path):
    return lambda route: route.fulfill(path=path, content_type="text/javascript")


def wait_for_text(page, selector, text):
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector).innerText.includes(text)", arg=[selector, text]
    )


def ask(page, question, form="form >> nth=0"):
    page.fill(f"{form} >> input[name=question]", question)
    page.click(f"{form} >> button")


def test_the_answer_appears_while_it_is_written_and_is_replaced_by_the_next(model, page):
    make_agent(model, "front-desk")
    model.script(Reply("word " * 40 + "<b>end</b>", trickle_s=0.01), "A new\nanswer.")
    ask(page, "Are you open?")
    wait_for_text(page, "#answer", "word word")
    assert "end" not in page.inner_text("#answer")
    wait_for_text(page, "#answer", "<b>end</b>")
    assert page.inner_text("#answer") == "word " * 40 + "<b>end</b>"
    ask(page, "And now?")
    wait_for_text(page, "#answer", "A new\nanswer.")
    assert "word" not in page.inner_text("#answer")


def test_text_of_a_broken_attempt_disappears(model, page):
    make_agent(model, "front-desk", provider=make_provider(model, max_retries=1))
    model.script(Reply("one two three four", breaks_after=2), "All is well.")
    ask(page, "How are you?")
    wait_for_text(page, "#answer", "All is well.")
    assert page.inner_text("#answer") == "All is well."


def test_a_failure_is_shown(model, page):
    make_agent(model, "front-desk")
    model.script(Reply("no", status=500))
    ask(page, "How are you?")
    wait_for_text(page, "#answer", "Sorry, there is no answer.")


def test_an_answer_without_a_stream_appears_at_once(model, page):
    make_agent(model, "front-desk")
    model.script("Yes & no.")
    ask(page, "Open?", "#short")
    wait_for_text(page, "#answer", "Yes & no.")


def test_an_answer_of_a_worker_is_read_until_it_is_done(model, page):
    read_the_answer_of_a_worker(model, page)


def test_htmx_2_reads_the_answer_of_a_worker(model, docs_site, open_page):
    (attributes,) = re.findall(r'`(hx-ext="sse" [^`]+)`', PAGE.read_text())
    url = "{% url 'queued-answer' run.run_id %}"
    (docs_site / "templates" / "queued.html").write_text(f"<div {attributes.replace('…', url)}></div>")
    read_the_answer_of_a_worker(model, open_page(2))


def read_the_answer_of_a_worker(model, page):
    make_agent(model, "front-desk")
    model.script(Reply("From nine to noon.", trickle_s=0.005))
    with app("memory://") as queue:
        queue.set_default()  # also in the thread of the server
        ask(page, "Open?", "#queue")
        page.wait_for_selector("#queued div", state="attached")
    work_in_a_thread(Invocation.objects.get().run_id)
    wait_for_text(page, "#queued", "From nine to noon.")


def work_in_a_thread(run_id):
    """Execute the queued run as a worker does: the browser reads its chunks meanwhile."""

    def work():
        with schema_context("north"):
            execute_queued(str(run_id), celery_task_id="1")
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
