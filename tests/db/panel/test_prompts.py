"""The pages of prompts and their versions, as staff use them."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from tests import panel_data
from tests.admin_pages import fields, url
from tests.build import make_agent, make_prompt
from tests.panel_browser import SCHEMES, WIDTHS, assert_sound, open_page
from zango_ai import get_agent
from zango_ai.models import Prompt


def save(staff, prompt, button="_continue", **changes):
    page = staff.get(url("prompt_change", prompt.pk))
    return staff.post(url("prompt_change", prompt.pk), {**fields(page), button: "1", **changes}, follow=True)


def statuses(prompt):
    return list(prompt.versions.order_by("version_number").values_list("version_number", "status"))


def test_a_new_prompt_is_active_at_once(staff):
    page = staff.get(url("prompt_add"))
    new = {**fields(page), "name": "greet", "type": "user", "content": "Hello {{ name }}\r\nBye"}
    staff.post(url("prompt_add"), new)
    version = Prompt.objects.get().active_version
    assert (version.content, version.version_number) == ("Hello {{ name }}\nBye", 1)
    assert (version.created_by, version.activated_by) == ("root", "root")


def test_a_changed_text_is_a_draft_and_the_old_version_stays_in_use(staff):
    prompt = make_prompt("one")
    page = save(staff, prompt, content="two {{ name }}", change_description="Asks for the name")
    assert statuses(prompt) == [(1, "active"), (2, "draft")]
    shown = page.content.decode()
    assert "Agents use v1 until you activate the draft." in shown
    assert "Asks for the name" in shown
    assert "Written by root" in shown


def test_a_change_of_the_description_alone_makes_no_version(staff):
    prompt = make_prompt("one")
    save(staff, prompt, description="only this")
    assert prompt.versions.count() == 1


def test_save_and_activate_does_both(staff):
    prompt = make_prompt("one")
    page = save(staff, prompt, button="_activate", content="two")
    assert statuses(prompt) == [(1, "inactive"), (2, "active")]
    assert "Now active: user-prompt v2." in page.content.decode()


def test_what_looks_like_a_placeholder_but_is_none_gets_a_warning(staff):
    page = save(staff, make_prompt("one"), content="Hi {{ a.b }}")
    assert "looks like a placeholder but is sent to the model unchanged" in page.content.decode()


def test_a_version_is_rolled_back_and_the_history_says_by_whom(staff):
    prompt = make_prompt("one")
    prompt.add_version("two").activate()
    assert "Roll back to v1" in staff.get(url("prompt_change", prompt.pk)).content.decode()
    assert staff.get(url("prompt_activate", prompt.pk, 1)).status_code == 405
    page = staff.post(url("prompt_activate", prompt.pk, 1), follow=True).content.decode()
    assert statuses(prompt) == [(1, "active"), (2, "inactive")]
    assert "Activated by root" in page
    assert LogEntry.objects.get().change_message == "Activated version 1."


def test_activating_warns_of_placeholders_that_callers_do_not_pass(model, staff):
    prompt = make_prompt("Dear {{ name }}, {{ question }}")
    make_agent(model, user_prompt=prompt)
    get_agent("helper").run(variables={"name": "Ada", "question": "why?"})
    prompt.add_version("Dear {{ name }} of {{ ward }}")
    page = staff.post(url("prompt_activate", prompt.pk, 2)).content.decode()
    assert "Recent runs passed no value" in page
    assert "{{ward}}" in page
    assert "no longer uses them" in page
    assert "{{question}}" in page
    assert prompt.versions.get(status="active").version_number == 1
    staff.post(url("prompt_activate", prompt.pk, 2), {"confirmed": "yes"})
    assert prompt.versions.get(status="active").version_number == 2


def test_activating_asks_nothing_when_callers_pass_all_placeholders(model, staff):
    prompt = make_prompt("Dear {{ name }}")
    make_agent(model, user_prompt=prompt)
    get_agent("helper").run(variables={"name": "Ada", "ward": "3"})
    prompt.add_version("Dear {{ name }} of {{ ward }}")
    staff.post(url("prompt_activate", prompt.pk, 2))
    assert prompt.versions.get(status="active").version_number == 2


def test_two_versions_are_compared_side_by_side_and_inline(staff):
    prompt = make_prompt("Be <kind>.\nBe brief.")
    prompt.add_version("Be <exact>.\nBe brief.\nUse {{ language }}.")
    for view in ("split", "inline", ""):
        page = staff.get(url("prompt_compare", prompt.pk), {"base": 1, "other": 2, "view": view}).content.decode()
        assert "<del>kind</del>" in page
        assert "<ins>exact</ins>" in page
        assert "2 lines added" in page
        assert "New placeholders" in page
        assert page.count('<table class="za-diff') == (1 if view else 2)
    for wrong, status in (({"base": "x", "other": "2"}, 200), ({"base": "7"}, 404)):
        assert staff.get(url("prompt_compare", prompt.pk), wrong).status_code == status


def test_a_prompt_can_be_edited_from_an_old_version(staff):
    prompt = make_prompt("one")
    prompt.add_version("two")
    assert fields(staff.get(url("prompt_change", prompt.pk)))["content"] == "two"
    page = staff.get(url("prompt_change", prompt.pk), {"start_from": "1"})
    assert fields(page)["content"] == "one"
    staff.post(url("prompt_change", prompt.pk) + "?start_from=1", {**fields(page), "content": "three"})
    assert prompt.versions.first().content == "three"


def test_the_placeholders_are_marked_in_the_text_of_a_version(staff):
    prompt = make_prompt("Dear {{ name }} <b>")
    page = staff.get(url("prompt_version", prompt.pk, 1)).content.decode()
    assert "Dear <mark>{{ name }}</mark> &lt;b&gt;" in page
    assert staff.get(url("prompt_version", prompt.pk, 9)).status_code == 404


def test_activating_needs_its_own_permission(staff):
    prompt = make_prompt("one")
    prompt.add_version("two")
    editor = User.objects.create_user("editor", password="editor", is_staff=True)
    editor.user_permissions.add(*Permission.objects.filter(codename__in=["view_prompt", "change_prompt"]))
    staff.login(username="editor", password="editor")
    page = staff.get(url("prompt_change", prompt.pk)).content.decode()
    assert "Save as draft" in page
    assert "activate" not in page.split("<form", 1)[1].lower().replace("activated", "").replace(
        "until you activate", ""
    )
    assert staff.post(url("prompt_activate", prompt.pk, 2)).status_code == 403
    save(staff, prompt, button="_activate", content="three")
    assert prompt.versions.get(status="active").version_number == 1


def test_a_prompt_that_a_migration_made_can_be_changed(staff):
    state = MigrationExecutor(connection).loader.project_state()
    rows = {name: state.apps.get_model("zango_ai", name).objects for name in ("Prompt", "PromptVersion")}
    made = rows["Prompt"].create(name="made", type="user")
    rows["PromptVersion"].create(prompt=made, version_number=1, status="active", content="Hi {{ who }}")
    page = staff.get(url("prompt_change", made.pk))
    assert fields(page)["content"] == "Hi {{ who }}"
    save(staff, Prompt.objects.get(), button="_activate", content="Hello")
    assert statuses(Prompt.objects.get()) == [(1, "inactive"), (2, "active")]


@pytest.mark.parametrize(("name", "expected"), [("list", 18), ("page", 26), ("compare", 18)])
def test_each_page_has_a_fixed_number_of_queries(staff, name, expected):
    def queries():
        address = url("prompt_changelist") if name == "list" else url(f"prompt_{pages[name]}", prompt.pk)
        staff.get(address)
        with CaptureQueriesContext(connection) as captured:
            assert staff.get(address).status_code == 200
        return len(captured)

    pages = {"page": "change", "compare": "compare"}
    prompt = make_prompt("one")
    prompt.add_version("two")
    few = queries()
    for number in range(5):
        make_prompt(f"text {number}", name=f"another {number}")
        prompt.add_version(f"version {number}")
    assert (queries(), few) == (few, expected)


@pytest.mark.parametrize(("width", "scheme"), [(WIDTHS[0], SCHEMES[0]), (WIDTHS[1], SCHEMES[1])])
def test_the_pages_are_sound(browser, site, width, scheme):
    panel_data.fill(runs=10)
    page = open_page(browser, site, width=width, scheme=scheme)
    prompt = Prompt.objects.order_by("-last_version_number").first()
    base = f"/admin/zango_ai/prompt/{prompt.pk}"
    paths = ("change/", "versions/1/", "compare/", "compare/?view=inline")
    for path in ("/admin/zango_ai/prompt/", *(f"{base}/{path}" for path in paths)):
        page.goto(path)
        assert_sound(page)


def test_placeholders_are_listed_while_the_text_is_typed(browser, site):
    panel_data.fill(runs=0)
    page = open_page(browser, site)
    page.goto("/admin/zango_ai/prompt/add/")
    page.locator("#id_content").fill("Dear {{ name }}, {{name}} {{ ward }} {{ a.b }}")
    assert page.locator("[data-za-placeholders] li").all_text_contents() == ["{{name}}", "{{ward}}"]
