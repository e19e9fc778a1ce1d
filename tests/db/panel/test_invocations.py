"""The list of invocations in a browser, what unfolds below a row, and what it costs the database."""

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests import panel_data
from tests.build import make_agent_with
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from tests.schemas import add_domains
from zango_ai import get_agent, tool
from zango_ai.models import Invocation
from zango_ai.testing import Call, Reply

LIST = "/admin/zango_ai/invocation/"


@tool(name="find_blood_count", description="Find the last blood count.")
def find_blood_count(name: str) -> dict:
    return {"hba1c": "secret result"}


@pytest.fixture
def filled(site):
    panel_data.fill(runs=40)
    return site


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_a_run_unfolds_in_the_list_and_sessions_are_grouped(browser, filled, width, scheme):
    page = open_page(browser, filled, width=width, scheme=scheme)
    page.goto(f"{LIST}?agent_name=care-assistant&status__exact=success")
    button = page.get_by_role("button", name="2 rounds").first
    button.click()
    unfolded = page.locator(".za-unfolded")
    assert "record_note" in unfolded.inner_text()
    assert unfolded.locator("tbody tr").count() == 2
    assert button.get_attribute("aria-expanded") == "true"
    assert_sound(page)
    button.press(" ")
    assert not unfolded.is_visible()
    page.goto(f"{LIST}?memory=yes")
    page.click("text=Group by session")
    groups = page.locator(".za-group")
    shown = groups.locator("a").all_inner_texts()
    assert len(shown) == len(set(shown)) > 0
    assert set(shown) <= {"chat-1", "chat-2", "chat-3"}
    assert_sound(page)
    groups.locator("a").first.click()
    assert "session_id=chat-" in page.url


def test_dates_and_users_are_typed_into_their_menus(browser, filled):
    page = open_page(browser, filled)
    page.goto(f"{LIST}?triggered_by__exact=user")
    page.click(".za-menu summary:has-text('Date')")
    page.fill("[name=created_from]", "2020-01-01")
    page.fill("[name=created_to]", "2020-01-31")
    assert_sound(page)
    page.click(".za-menu[open] button:has-text('Apply')")
    assert page.locator("#result_list").count() == 0
    assert "2020-01-01 to 2020-01-31" in page.inner_text(".za-filters")
    page.click(".za-menu summary:has-text('Date')")
    page.click(".za-menu[open] a:text-is('Last 30 days')")
    assert "created_from" not in page.url
    page.click(".za-menu summary:has-text('User') >> nth=-1")
    page.fill("[name=user_ref]", "reception")
    page.keyboard.press("Enter")
    page.wait_for_url("**user_ref=reception**")
    shown = Invocation.objects.filter(user_ref="reception", triggered_by="user").count()
    assert page.locator("#result_list tbody tr").count() == shown > 0


@pytest.fixture
def run(north, model):
    """A run that has called a tool, in a conversation."""
    add_domains(north, "north.localhost")
    make_agent_with(model, find_blood_count, short_term_memory=True)
    model.script(Reply("Let me look.", calls=[Call("find_blood_count", {"name": "Berger"})]), "<b>Fine</b>")
    response = get_agent("helper").run("How is it?", session_id="s1", user_ref="visitor-1")
    return Invocation.objects.get(pk=response.invocation_id)


def client_of(*codenames):
    user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True, is_superuser=not codenames)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client(headers={"host": "north.localhost"})
    client.force_login(user)
    return client


def selects(client, page):
    client.get(page)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return [query["sql"] for query in captured if query["sql"].startswith("SELECT")]


def test_what_unfolds_has_texts_only_for_those_who_may_read_them(run):
    address = f"{LIST}{run.pk}/rounds/"
    html = client_of("view_invocation").get(address).content.decode()
    assert "How is it?" not in html
    assert "find_blood_count" in html
    assert "tool_use" in html
    html = client_of("view_invocation", "view_payload").get(address).content.decode()
    assert "How is it?" in html
    assert "&lt;b&gt;Fine" in html
    assert client_of("view_agentconfig").get(address).status_code == 403
    assert client_of().get(f"{LIST}9{run.pk}/rounds/").status_code == 404


def test_removed_texts_are_said_so_where_a_run_unfolds(run):
    from zango_ai.ledger import removal

    removal.remove_texts("north", [run.pk])
    html = client_of().get(f"{LIST}{run.pk}/rounds/").content.decode()
    assert "The texts of this run were removed." in html


def test_the_list_takes_as_many_queries_for_many_runs_as_for_one(run):
    client = client_of()
    counts = []
    for _ in range(2):
        counts.append([len(selects(client, LIST + query)) for query in ("", "?group=session", f"{run.pk}/rounds/")])
        for number in range(3):
            get_agent("helper").run("Again.", session_id=f"s{number}", user_ref="visitor-1")
    assert counts[0] == counts[1] == [9, 9, 6]


def test_a_link_that_groups_keeps_the_filters(run):
    page = client_of().get(f"{LIST}?agent_name=helper&group=session")
    assert page.status_code == 200
    cl = page.context["cl"]
    assert (cl.group_link, cl.is_grouped) == ("?agent_name=helper", True)
    assert [each.pk for each in cl.result_list] == [run.pk]
