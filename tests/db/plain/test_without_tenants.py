"""What is particular to a project without tenants. Most other tests run there too: see ``tests.plain_settings``."""

import asyncio
import importlib.util
import io
import json
from contextlib import suppress

import pytest
import yaml
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from tests import schemas
from tests.build import QUARTER, make_agent, make_priced_agent
from tests.task_queues import tasks_settings
from tests.worker_tasks import Everywhere, Where
from tests.workers import app, got
from zango_ai import aget_agent, checks, doctor, get_agent, get_run, tenancy
from zango_ai.exceptions import AgentNotFound, NotMigrated, TenantNotActive
from zango_ai.models import AgentConfig, Invocation, MaintenanceRecord, Tool

pytestmark = pytest.mark.skipif(not schemas.IS_PLAIN, reason="needs tests.plain_settings")

OTHER = {"headers": {"_schema_name": "south"}}


def output_of(*arguments, **options):
    out = io.StringIO()
    call_command(*arguments, stdout=out, **options)
    return out.getvalue()


def test_django_tenants_cannot_even_be_imported():
    for package in ("django_tenants", "tenant_schemas_celery"):
        with pytest.raises(ImportError):
            importlib.import_module(package)


def test_a_run_is_logged_beside_the_projects_own_tables_and_survives_a_rollback(model, live_north):
    make_priced_agent(model, monthly_budget_usd="1")
    model.script(QUARTER)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        get_agent("helper").run("hi")
        _ = 1 / 0
    assert Invocation.objects.get().status == "success"
    with connection.cursor() as cursor:
        cursor.execute("SELECT schemaname FROM pg_tables WHERE tablename LIKE 'zango_ai_%' GROUP BY 1")
        assert cursor.fetchall() == [("north",)]


def test_an_agent_that_does_not_exist_is_missed_without_a_word_about_tenants(north):
    with pytest.raises(AgentNotFound, match="does not exist in schema 'north'") as caught:
        get_agent("helper")
    assert "tenant" not in str(caught.value)


def test_async_runs_see_the_transaction_around_them(model, north):
    """That of a test, of ATOMIC_REQUESTS, or of any other caller: the agent is not committed."""
    make_agent(model)

    async def ask():
        return await (await aget_agent("helper")).arun("hi")

    for run in (async_to_sync(ask), lambda: asyncio.run(ask())):
        assert Invocation.objects.filter(run_id=run().run_id, status="success").exists()


def test_migrate_writes_the_tool_rows(north, capsys):
    Tool.objects.all().delete()
    call_command("migrate", verbosity=2)
    assert "\nTools: " in capsys.readouterr().out
    assert Tool.objects.filter(name="act_once", is_active=True).exists()


def test_a_missing_table_is_answered_with_the_command(north):
    assert checks.check_migrations(databases=["default"]) == []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE zango_ai_agentconfig RENAME TO elsewhere")
        (found,) = checks.check_migrations(databases=["default"])
        (finding,) = doctor.examine_tenant("north", is_offline=True).findings
        with pytest.raises(NotMigrated, match=r"Run: python manage.py migrate$"), transaction.atomic():
            get_agent("helper")
        transaction.set_rollback(True)
    assert (found.id, found.hint) == ("zango_ai.W003", "Run: python manage.py migrate")
    assert found.msg == "The tables of zango_ai are missing."
    assert (finding.id, finding.remedy) == ("doctor.migrations.no_tables", "Run: python manage.py migrate")


def test_no_check_asks_for_tenants_unless_the_project_is_about_to_have_some(settings, monkeypatch):
    assert checks.check_tenant_apps() == []
    monkeypatch.setattr("zango_ai.checks.apps.is_installed", lambda name: name == "django_tenants")
    (found,) = checks.check_tenant_apps()
    assert (found.id, found.is_serious()) == ("zango_ai.E004", True)
    assert "django_tenants.postgresql_backend" in found.hint


def test_commands_run_once_and_name_no_schema(model, live_north):
    make_agent(model)
    model.script("from the shell")
    assert output_of("zango_ai_run", "helper", "--input", "hi") == "from the shell\n"
    for command in ("zango_ai_maintain", "zango_ai_reconcile", "zango_ai_spend", "zango_ai_rotate_keys"):
        with_schema = output_of(command, "--schema", "north")
        assert output_of(command) == with_schema
    assert output_of("zango_ai_sync_tools").count("\n") == 1
    assert set(yaml.safe_load(output_of("zango_ai_export"))) >= {"providers", "agents"}
    (line,) = output_of("zango_ai_export_invocations", "--format", "jsonl").splitlines()
    assert json.loads(line)["status"] == "success"


def test_the_doctors_advice_names_no_schema(live_north):
    MaintenanceRecord.objects.create(pk=1, finished_at=timezone.now(), failed_steps=2)
    findings = doctor.examine_tenant("north", is_offline=True).findings
    remedies = {found.id: found.remedy for found in findings}
    assert remedies["doctor.maintenance.failed"] == "Run: python manage.py zango_ai_maintain"
    assert not [remedy for remedy in remedies.values() if "--schema" in remedy]


def test_doctor_and_bootstrap_say_nothing_of_tenants(model, live_north, monkeypatch):
    monkeypatch.setenv("MODEL_KEY", "sk-any-key-of-somebody")
    options = ["--kind", "openai", "--api-key-env", "MODEL_KEY", "--api-base", model.openai_base]
    out = output_of("zango_ai_bootstrap", "--no-input", *options, "--model", "gpt-4o-mini")
    assert "Saved: provider main (OpenAI, gpt-4o-mini), agent assistant." in out
    assert "    python manage.py zango_ai_run assistant --input " in out
    report = io.StringIO()
    with suppress(CommandError):  # the tools have no rows
        call_command("zango_ai_doctor", "--offline", stdout=report)
    assert "\nSchema north\n" in report.getvalue()
    assert "tenant" not in report.getvalue().lower()


@pytest.mark.parametrize("command", [["zango_ai_maintain"], ["zango_ai_run", "helper"], ["zango_ai_spend"]])
def test_another_schema_is_refused_with_the_reason(north, command):
    with pytest.raises(CommandError, match=r"no tenants and one schema, 'north'\. Leave out --schema south"):
        call_command(*command, "--schema", "south")


def test_an_export_is_imported_again(model, live_north, tmp_path):
    make_agent(model)
    file = tmp_path / "configuration.yaml"
    file.write_text(output_of("zango_ai_export"))
    AgentConfig.objects.all().delete()
    assert "applied" in output_of("zango_ai_import", str(file))
    assert AgentConfig.objects.get().name == "helper"


def test_the_panel_is_open_to_staff_and_the_api_to_users(model, north):
    make_agent(model, is_public_api=True)
    client = Client(headers={"host": "any.localhost"})
    client.force_login(User.objects.create_superuser("root"))
    page = client.get("/admin/zango_ai/").content.decode()
    assert "helper" in page
    model.script("over HTTP")
    answer = client.post("/ai/agents/helper/run/", {"input": "hi"}, content_type="application/json")
    assert answer.json()["content"] == "over HTTP"
    assert Invocation.objects.get().user_ref == str(User.objects.get().pk)


@pytest.fixture
def queueing(workers, redis_url, model):
    with app(redis_url) as made:
        made.conf.task_default_queue = "threads"
        yield made


def test_workers_run_agents_and_tasks(model, live_north, queueing):
    make_agent(model)
    run = get_agent("helper").enqueue("hi")
    assert get_run(run.run_id).wait(timeout=60) == "success"
    assert got(Where.delay("by class")) == ["north", "by class"]
    assert got(queueing.send_task("tests.where", ["by name"])) == ["north", "by name"]
    assert got(Everywhere.delay("once"))[:2] == ["north", "once"]
    with transaction.atomic():
        Where.apply_async_on_commit(["on commit"], task_id="committed")
    assert got(queueing.AsyncResult("committed")) == ["north", "on commit"]


def test_a_backend_of_django_tasks_runs_agents(model, live_north, settings):
    settings.TASKS = tasks_settings()
    settings.ZANGO_AI = {**settings.ZANGO_AI, "QUEUE": "tasks:immediate"}
    make_agent(model)
    assert get_agent("helper").enqueue("hi").status == "success"
    assert [found.id for found in checks.check_tasks_backend()] == []


def test_a_task_of_another_projects_tenant_does_not_run(live_north, queueing):
    with pytest.raises(TenantNotActive, match="'south', and this project has only the schema 'north'"):
        got(Where.apply_async(["lost"], **OTHER))


class ToOther:
    """A router that keeps the agents in a database of their own."""

    def db_for_write(self, model, **hints):
        return "other" if model._meta.app_label == "zango_ai" else None


def test_the_tables_are_where_the_projects_routers_put_them(settings):
    settings.DATABASE_ROUTERS = [f"{__name__}.ToOther"]
    assert tenancy.connection().alias == "other"
    settings.DATABASE_ROUTERS = []
    assert tenancy.connection().alias == "default"
