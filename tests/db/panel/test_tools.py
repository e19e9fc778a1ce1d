"""The pages of tools: what each may do, how often it was called, and its switch."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from tests import panel_data
from tests.build import make_agent_with
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from tests.schemas import add_domains
from zango_ai import ToolParam, ToolSafety, get_agent, tool
from zango_ai.admin.tool_parameters import parameters_of
from zango_ai.models import Tool
from zango_ai.testing import Call, Reply


@tool(name="weigh", description="Weighs a patient.", section="practice", safety=ToolSafety.EXTERNAL)
def weigh(patient: int, unit: str = ToolParam(description="kg or lb", default="kg", enum=["kg", "lb"])) -> dict:
    return {"weight": 70}


@pytest.fixture
def filled(site):
    panel_data.fill(runs=30)
    return site


@pytest.mark.parametrize(("width", "scheme"), [*zip(WIDTHS, SCHEMES, strict=True)])
def test_the_list_and_a_tools_page_are_sound(browser, filled, width, scheme):
    page = open_page(browser, filled, width=width, scheme=scheme)
    page.goto("/admin/zango_ai/tool/")
    assert_sound(page)
    page.goto("/admin/zango_ai/tool/?q=record_note")
    page.click("text=record_note")
    assert "A person must approve each call." in page.inner_text("aside")
    page.click("summary:has-text('JSON schema')")
    assert '"maxLength": 2000' in page.inner_text(".za-fold pre")
    assert_sound(page)


def test_a_tool_is_switched_off_and_on_in_the_list(browser, filled):
    page = open_page(browser, filled)
    page.goto("/admin/zango_ai/tool/?q=find_patient")
    switch = page.get_by_role("switch", name="find_patient is on")
    assert switch.get_attribute("aria-checked") == "true"
    switch.click()
    assert "ind_patient is off" in page.inner_text(".messagelist")
    assert not Tool.objects.get(name="find_patient").is_enabled
    page.goto("/admin/zango_ai/tool/?q=find_patient")
    page.get_by_role("switch", name="find_patient is on").click()
    assert Tool.objects.get(name="find_patient").is_enabled
    assert [entry.get_change_message() for entry in LogEntry.objects.all()[:2]] == ["Turned on.", "Turned off."]


def test_sync_writes_new_tools_and_says_what_changed(browser, filled):
    Tool.objects.filter(name="weigh").delete()
    page = open_page(browser, filled)
    page.goto("/admin/zango_ai/tool/")
    page.click("text=Sync tools")
    assert "1 new, 0 changed, 0 no longer in code" in page.inner_text(".messagelist")
    page.click(".za-menu summary:has-text('Section')")
    page.click(".za-menu[open] a:text-is('practice')")
    assert page.locator("#result_list tbody tr").count() == 1


def url(*parts):
    return "/".join(["/admin/zango_ai/tool", *map(str, parts), ""])


@pytest.fixture
def client_of(north):
    """A client of the tenant's site, logged in as staff with these permissions; of a superuser without any."""
    add_domains(north, "north.localhost")

    def make(*codenames):
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True, is_superuser=not codenames)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(headers={"host": "north.localhost"})
        client.force_login(user)
        return client

    return make


def test_the_figures_and_parameters_of_a_tool_are_shown(model, client_of):
    make_agent_with(model, weigh)
    model.script(Reply(calls=[Call("weigh", {"patient": 1}), Call("weigh", {})]), "done")
    get_agent("helper").run("hi")
    html = client_of().get(url(Tool.objects.get(name="weigh").pk, "change")).content.decode()
    text = " ".join(html.split())
    assert "<dt>Calls</dt><dd>2" in text
    assert "<dt>Errors</dt><dd>1<small>50%" in text
    assert ">helper</a>" in text
    assert text.index("patient</span>") < text.index("unit</span>")  # as they are declared
    assert "default: kg" in text


def test_only_who_may_change_tools_switches_and_syncs_them(model, client_of):
    make_agent_with(model, weigh)
    pk = Tool.objects.get(name="weigh").pk
    viewer, changer = client_of("view_tool"), client_of("view_tool", "change_tool")
    for page in (url(), url(pk, "change")):
        html = viewer.get(page).content.decode()
        assert "za-switch" not in html
        assert "Sync tools" not in html
        assert "Turn off" not in html
    assert viewer.post(url(pk, "switch"), {"is_enabled": "0"}).status_code == 403
    assert viewer.post(url("sync")).status_code == 403
    assert Tool.objects.get(pk=pk).is_enabled
    assert changer.get(url(pk, "switch")).status_code == 405
    assert changer.post(url(pk, "switch"), {"is_enabled": "0", "detail": "1"}).url == url(pk, "change")
    assert not Tool.objects.get(pk=pk).is_enabled


def test_the_number_of_queries_does_not_depend_on_the_number_of_tools(model, client_of, django_assert_num_queries):
    make_agent_with(model, weigh)
    client, counts = client_of(), []
    for extra in (0, 5):
        for number in range(extra):
            copy = Tool.objects.get(name="weigh")
            copy.pk, copy.name, copy._state.adding = None, f"weigh-{number}", True
            copy.save()
        pages = (url(), url(Tool.objects.get(name="weigh").pk, "change"))
        counts.append([_selects(client, page) for page in pages])
    assert counts[0] == counts[1]
    assert counts[0] == [9, 7]


def _selects(client, page):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client.get(page)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(page).status_code == 200
    return sum(query["sql"].startswith("SELECT") for query in captured)


def test_types_and_limits_of_parameters_are_readable():
    schema = {
        "properties": {
            "ids": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "unit": {"$ref": "#/$defs/Unit"},
            "place": {"$ref": "#/$defs/Place"},
            "on": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}], "default": None},
            "anything": {},
        },
        "required": ["ids"],
        "$defs": {"Unit": {"enum": ["kg", "lb"]}, "Place": {"type": "object"}},
    }
    assert [(row.name, row.type, row.is_required, row.limits) for row in parameters_of(schema)] == [
        ("ids", "list of integer", True, "at least 1 items"),
        ("unit", 'one of "kg", "lb"', False, ""),
        ("place", "Place", False, ""),
        ("on", "string or null", False, "default: null; format: date"),
        ("anything", "any value", False, ""),
    ]
    assert parameters_of("no schema") == parameters_of({}) == []
