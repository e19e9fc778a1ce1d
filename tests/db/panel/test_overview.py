"""The landing page of the admin: figures, budgets, plots, and what needs attention."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests import panel_data
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from tests.schemas import IS_PLAIN, add_domains
from zango_ai.ledger import time_zones
from zango_ai.models import AgentConfig, Provider

OVERVIEW = "/admin/zango_ai/"


@pytest.fixture
def root(north):
    add_domains(north, "north.localhost", "public.localhost")
    return log_in(User.objects.create_superuser("root"))


def log_in(user):
    client = Client(headers={"host": "north.localhost"})
    client.force_login(user)
    return client


def read(client):
    page = client.get(OVERVIEW)
    assert page.status_code == 200
    return page.content.decode()


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_the_overview_has_no_barrier_and_draws_its_plots(browser, site, width, scheme):
    panel_data.fill(runs=40)
    page = open_page(browser, site, width=width, scheme=scheme)
    page.goto(OVERVIEW)
    assert page.locator("[data-za-plot] canvas").count() == 3
    assert_sound(page)
    page.click("text=Show as a table >> nth=0")
    assert page.locator("[data-za-plot] tbody tr:visible").count() == 30
    assert_sound(page)


def test_each_agent_has_its_figures_of_a_day_and_of_thirty(root):
    panel_data.fill(runs=40)
    rows = {row.agent.name: row for row in root.get(OVERVIEW).context["overview"].agents}
    assert sum(row.last_30_days.runs for row in rows.values()) == 40
    assert all(row.last_24h.runs <= row.last_30_days.runs for row in rows.values())
    assert rows["letter-writer"].agent.is_enabled is False


def test_budgets_show_what_is_spent_and_reserved_the_fullest_first(root):
    panel_data.fill(runs=1)
    shown = [(each.name, each.kind) for each in root.get(OVERVIEW).context["overview"].budgets]
    assert shown == [("second-opinion", "agent"), ("openai-main", "provider"), ("anthropic", "provider")]
    page = read(root)
    for text in ("$16.84", "$0.12 reserved", "of $20.00", "used up"):
        assert text in page


def test_failing_providers_waiting_approvals_and_ending_models_are_named(root, monkeypatch):
    panel_data.fill(runs=1)
    soon = timezone.localdate() + timedelta(days=9)
    monkeypatch.setattr(
        "zango_ai.providers.retirement.retires_on", lambda kind, model, secrets: soon if model == "gpt-4o" else None
    )
    page = read(root)
    assert "Provider practice-server fails." in page
    assert page.count("record_note") == 2
    assert page.count("Write into the record of Ada Berger") == 2
    assert "gpt-4o ends on" in page
    assert "Used by: care-assistant." in page


def test_a_new_tenant_is_shown_the_first_steps(root):
    page = read(root)
    assert "Set up the first agent" in page
    assert "data-za-plot" not in page
    panel_data.fill(runs=1)
    assert "Set up the first agent" not in read(root)


def test_users_see_only_what_they_may_view(root):
    panel_data.fill(runs=3)
    nurse = User.objects.create_user("nurse", is_staff=True)
    nurse.user_permissions.set(Permission.objects.filter(codename="view_agentconfig"))
    page = read(log_in(nurse))
    assert "patient-summary" in page
    for hidden in ("Success rate", "openai-main provider", "record_note", "practice-server fails", "data-za-plot"):
        assert hidden not in page


def test_the_overview_asks_no_more_the_more_there_is(root):
    panel_data.fill(runs=2)
    time_zones.of("north")
    few = statements(root)
    provider = Provider.objects.get(name="anthropic")
    AgentConfig.objects.bulk_create(
        AgentConfig(name=f"more-{number}", provider=provider, monthly_budget_usd=1) for number in range(8)
    )
    many = statements(root)
    # tenant, session and user; agents, providers, three for ending models, waiting calls and their number; six of
    # the roll-up
    assert len(many) == len(few) == (14 if IS_PLAIN else 15), "\n".join(many)


def statements(client):
    with CaptureQueriesContext(connection) as queries:
        read(client)
    return [query["sql"] for query in queries if query["sql"].startswith("SELECT")]


def test_the_link_in_the_admins_index_leads_to_the_overview(root):
    assert f'href="{OVERVIEW}"' in root.get("/admin/").content.decode()
