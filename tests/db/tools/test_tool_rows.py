"""The rows of tools in each tenant: written from the code, by a command and by migrating; and their figures."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db.models.signals import post_migrate

from tests.build import make_agent_with
from tests.schemas import schema_context
from zango_ai import ToolParam, get_agent, tool
from zango_ai.checks import check_tools
from zango_ai.configuration import tool_rows
from zango_ai.models import Tool
from zango_ai.testing import Call, Reply
from zango_ai.tools import registry


def declare(description="Count sheep.", name="count_sheep", **said):
    @tool(name=name, description=description, **said)
    def count_sheep(field: str = ToolParam(description="Where they are.")) -> int:
        return 3

    return count_sheep


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    """What these tests declare is gone after them."""
    monkeypatch.setattr(registry, "_tools", dict(registry._tools))


def synced(*arguments):
    out = StringIO()
    call_command("zango_ai_sync_tools", *arguments, stdout=out)
    return out.getvalue()


def test_the_tools_of_every_installed_app_are_found_and_have_rows_in_each_tenant(tenants):
    """``patients/tools.py`` was found when Django started, and the tenants were migrated."""
    for schema in ("north", "south"):
        with schema_context(schema):
            row = Tool.objects.get(name="find_patient")
            assert row.python_path == "patients.tools.find_patient"
            assert (row.section, row.is_active) == ("patients", True)


def test_the_command_says_what_is_new_changed_and_gone(north):
    synced()
    declare(section="farm", timeout_seconds=2.5, rate_limit=7, safety="write", memory_policy="exclude")
    assert "north: 1 new (count_sheep)" in synced("--schema", "north")
    row = Tool.objects.get(name="count_sheep")
    assert (row.description, row.section, row.safety) == ("Count sheep.", "farm", "write")
    assert (row.timeout_seconds, row.rate_limit_rpm, row.memory_policy) == (2.5, 7, "exclude")
    assert row.return_type == "int"
    assert row.parameters_schema["properties"]["field"]["description"] == "Where they are."
    assert synced() == "north: nothing has changed\nsouth: 1 new (count_sheep)\n"
    before = row.schema_hash
    del registry._tools["count_sheep"]
    declare("Count all sheep.")
    assert "1 changed (count_sheep)" in synced()
    changed = Tool.objects.get(name="count_sheep")
    assert (changed.pk, changed.created_at) == (row.pk, row.created_at)
    assert changed.description == "Count all sheep."
    assert changed.schema_hash != before
    del registry._tools["count_sheep"]
    assert "1 gone (count_sheep)" in synced()
    assert Tool.objects.get(name="count_sheep").is_active is False
    assert "nothing has changed" in synced()
    declare("Count all sheep.")
    assert "1 changed (count_sheep)" in synced()
    assert Tool.objects.get(name="count_sheep").is_active is True


def test_a_tool_that_is_gone_stays_chosen_and_is_not_offered(model, north):
    made = declare()
    agent = make_agent_with(model, made)
    del registry._tools["count_sheep"]
    get_agent("helper").run("hi")
    assert "tools" not in model.requests[-1].body  # before anybody has synced
    synced()
    get_agent("helper").run("hi")
    assert "tools" not in model.requests[-1].body
    declare()
    synced()
    assert [row.name for row in agent.tools.all()] == ["count_sheep"]
    get_agent("helper").run("hi")
    assert model.requests[-1].body["tools"][0]["function"]["name"] == "count_sheep"


def test_migrating_a_tenant_writes_its_rows(north):
    from django.apps import apps

    declare()
    config = apps.get_app_config("zango_ai")
    post_migrate.send(sender=config, app_config=config, verbosity=0, interactive=False, using="default")
    assert Tool.objects.filter(name="count_sheep", is_active=True).exists()


def test_on_the_public_schema_nothing_is_written(tenants):
    from django.apps import apps

    config = apps.get_app_config("zango_ai")
    post_migrate.send(sender=config, app_config=config, verbosity=0, interactive=False, using="default")


def test_figures_are_counted_from_the_calls(model, north):
    made = declare()
    make_agent_with(model, made)
    calls = [Call("count_sheep", {"field": "north"}), Call("count_sheep", {"wrong": 1})]
    model.script(Reply(calls=calls), "done")
    get_agent("helper").run("hi")
    row = Tool.objects.with_statistics().get(name="count_sheep")
    assert (row.calls, row.errors, row.timeouts) == (2, 1, 0)
    assert row.average_ms >= 0
    assert Tool.objects.with_statistics().get(name="find_patient").calls == 0


def test_a_type_without_a_schema_is_found_by_manage_py_check(north):
    class Opaque:
        pass

    @tool(description="Take what nobody can send.")
    def take_opaque(what: Opaque) -> None: ...

    (error,) = [each for each in check_tools() if "take_opaque" in each.msg]
    assert error.id == "zango_ai.E003"
    assert f"{__file__}:" in error.msg


def test_a_run_takes_everything_but_is_active_from_the_code(model, north):
    @tool(name="mirrored", description="Look.")
    def mirrored() -> str:
        return "seen"

    make_agent_with(model, mirrored)
    Tool.objects.update(requires_approval=True, timeout_seconds=0.001)
    model.script(Reply(calls=[Call("mirrored")]), "Done.")
    assert get_agent("helper").run("hi").tool_calls[0].status == "success"
    Tool.objects.update(is_active=False)
    get_agent("helper").run("hi")
    assert "tools" not in model.requests[-1].body
    tool_rows.sync()
    get_agent("helper").run("hi")
    assert "tools" in model.requests[-1].body
