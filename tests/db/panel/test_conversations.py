"""The pages of sessions: a conversation as people read it, and clearing it."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests import panel_data
from tests.build import make_agent_with
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from tests.schemas import add_domains
from zango_ai import get_agent, tool
from zango_ai.models import Invocation, MemoryMessage, MemorySession
from zango_ai.testing import Call, Reply


@tool(name="find_blood_test", description="Find the last blood test.")
def find_blood_test(name: str) -> dict:
    return {"hba1c": "secret result"}


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_a_conversation_is_read_and_cleared(browser, site, width, scheme):
    panel_data.fill(runs=30)
    page = open_page(browser, site, width=width, scheme=scheme)
    page.goto("/admin/zango_ai/memorysession/")
    assert_sound(page)
    page.click("text=chat-1")
    assert "When was her last blood test?" in page.inner_text(".za-message-user >> nth=0")
    page.click(".za-fold summary >> nth=0")
    assert '"allergies": "penicillin"' in page.inner_text(".za-fold[open]")
    assert_sound(page)
    page.click("text=Clear")
    assert "8 messages are deleted." in page.inner_text("#content-main")
    assert_sound(page)
    page.click("text=Yes, clear it")
    assert "1 conversation cleared." in page.inner_text(".messagelist")
    assert not MemoryMessage.objects.filter(session__session_id="chat-1").exists()
    assert LogEntry.objects.first().get_change_message() == "Cleared."


@pytest.fixture
def talk(north, model):
    """A conversation of two runs. The first has called a tool."""
    add_domains(north, "north.localhost")
    make_agent_with(model, find_blood_test, short_term_memory=True)
    model.script(
        Reply("Let me look.", calls=[Call("find_blood_test", {"name": "Berger"})]),
        "<b>Fine</b>",
        "You are welcome.",
    )
    for text in ("How is it?", "Thanks."):
        get_agent("helper").run(text, session_id="s1", user_ref="visitor-1")
    return MemorySession.objects.get()


def client_of(*codenames):
    user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True, is_superuser=not codenames)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client(headers={"host": "north.localhost"})
    client.force_login(user)
    return client


def url(session, page="change"):
    return f"/admin/zango_ai/memorysession/{session.pk}/{page}/"


def test_texts_tool_calls_and_a_link_to_each_run_are_shown(talk):
    html = client_of().get(url(talk)).content.decode()
    for text in ("How is it?", "Let me look.", "&lt;b&gt;Fine&lt;/b&gt;", "secret result", "find_blood_test"):
        assert text in html
    for run in Invocation.objects.all():
        assert html.count(f"/admin/zango_ai/invocation/{run.pk}/change/") == 1


def test_without_the_permission_to_read_texts_there_are_numbers_only(talk):
    html = client_of("view_memorysession").get(url(talk)).content.decode()
    for text in ("How is it?", "Let me look.", "Fine", "secret result", "Berger"):
        assert text not in html
    assert "You can see that messages were sent, but not their texts." in html
    assert "find_blood_test" in html
    assert "/admin/zango_ai/invocation/" not in html
    assert "secret result" in client_of("view_memorysession", "view_payload").get(url(talk)).content.decode()


def test_only_who_may_delete_conversations_clears_them(talk):
    reader = client_of("view_memorysession")
    assert url(talk, "clear") not in reader.get(url(talk)).content.decode()
    assert reader.post(url(talk, "clear")).status_code == 403
    cleaner = client_of("view_memorysession", "delete_memorysession")
    assert url(talk, "clear") in cleaner.get(url(talk)).content.decode()
    assert cleaner.get(url(talk, "clear")).status_code == 200
    assert MemoryMessage.objects.exists()
    assert cleaner.post(url(talk, "clear")).status_code == 302
    assert not MemoryMessage.objects.exists()
    html = cleaner.get(url(talk)).content.decode()
    assert "The conversation was cleared." in html
    assert url(talk, "clear") not in html


def test_a_long_conversation_is_read_page_by_page(talk, monkeypatch):
    monkeypatch.setattr("zango_ai.admin.memory._MAX_MESSAGES", 2)
    client = client_of()
    newest = client.get(url(talk)).content.decode()
    assert "Thanks." in newest
    assert "How is it?" not in newest
    first = MemoryMessage.objects.order_by("-sequence")[1].sequence
    assert f'href="?before={first}"' in newest
    earliest = client.get(url(talk) + "?before=3").content.decode()
    assert "How is it?" in earliest
    assert "Show earlier" not in earliest
    assert client.get(url(talk) + "?before=x'").status_code == 200


def test_the_number_of_queries_does_not_depend_on_the_number_of_messages(talk):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = client_of()
    pages = ("/admin/zango_ai/memorysession/", url(talk))
    counts = []
    for _ in range(2):
        for page in pages:
            client.get(page)
            with CaptureQueriesContext(connection) as captured:
                assert client.get(page).status_code == 200
            counts.append(sum(query["sql"].startswith("SELECT") for query in captured))
        get_agent("helper").run("Again.", session_id="s1", user_ref="visitor-1")
        get_agent("helper").run("Hello.", session_id="s2", user_ref="visitor-2")
    assert counts == [7, 7, 7, 7]
