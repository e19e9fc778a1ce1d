"""What is said to somebody who has set something up halfway, or mistyped a name."""

import io
import uuid
from importlib.util import find_spec
from pathlib import Path

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from celery import _state
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path
from django_tenants.utils import schema_context
from tenants.models import Clinic, Domain

from tests.build import make_agent, make_prompt, make_provider
from tests.worker_tasks import Where
from tests.workers import app
from zango_ai import checks, conf, get_agent, get_prompt, get_provider, get_run
from zango_ai.exceptions import (
    AgentNotFound,
    NotMigrated,
    PromptNotFound,
    ProviderNotFound,
    QueueUnavailable,
    RunNotFound,
    ToolNotFound,
)
from zango_ai.models import AgentConfig
from zango_ai.runs import celery_queue
from zango_ai.tenancy.single_schema import SingleSchema
from zango_ai.tools import registry

# -- Views that are async ----------------------------------------------------------------------------------------


def ask():
    return get_agent("helper").run("hi").content


@transaction.non_atomic_requests
async def view(request):
    return HttpResponse(ask())


@transaction.non_atomic_requests
async def view_with_a_thread(request):
    return HttpResponse(await sync_to_async(ask)())


urlpatterns = [path("async/", view), path("thread/", view_with_a_thread)]


@pytest.fixture
def browser(settings, live_north, model):
    settings.ROOT_URLCONF = __name__
    clinic = Clinic.objects.get(schema_name="north")
    domain = Domain.objects.create(domain="testserver", tenant=clinic)  # what the async client always asks for
    make_agent(model)
    model.script("open")
    yield async_to_sync(AsyncClient().get)
    domain.delete()


def test_an_async_view_is_told_what_to_use(browser):
    with pytest.raises(AgentNotFound, match=r"No tenant is active.*event loop.*sync_to_async\(f\)") as caught:
        browser("/async/")
    assert "tenant_context" not in str(caught.value)
    assert browser("/thread/").content == b"open"


def test_other_code_is_told_how_to_make_a_tenant_active(tenants):
    for look_up, error in [(get_agent, AgentNotFound), (get_prompt, PromptNotFound)]:
        with pytest.raises(error, match=r"No tenant is active.*tenant_context"):
            look_up("helper")
    with pytest.raises(RunNotFound, match=r"No tenant is active.*tenant_context"):
        get_run(uuid.uuid4())


# -- Projects that lack something --------------------------------------------------------------------------------


def test_a_project_that_is_about_to_have_tenants_is_told_to_change_the_engine(monkeypatch):
    monkeypatch.setattr("zango_ai.tenancy._mode", SingleSchema)
    (found,) = checks.check_tenant_apps()
    assert (found.id, found.is_serious()) == ("zango_ai.E004", True)
    assert "django_tenants.postgresql_backend" in found.hint


@pytest.fixture
def unmigrated(live_tenants):
    """The schema of a tenant of which nobody has run the migrations."""
    clinic = Clinic(schema_name="red", name="Red")
    clinic.auto_create_schema = False
    clinic.save(verbosity=0)
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA red")
    yield "red"
    connection.set_schema_to_public()
    clinic.delete()
    with connection.cursor() as cursor:
        cursor.execute("DROP SCHEMA red CASCADE")


def test_a_tenant_that_was_not_migrated_is_named_with_the_command(unmigrated):
    for call in (get_agent, get_provider, get_prompt, lambda name: get_run(uuid.uuid4())):
        with schema_context("red"), pytest.raises(NotMigrated, match="migrate_schemas --schema=red") as caught:
            call("helper")
        assert caught.value.schema == "red"
    with pytest.raises(CommandError, match="migrate_schemas --schema=red"):
        call_command("zango_ai_run", "helper", "--schema", "red", "--input", "hi")


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("zango_ai_bootstrap", {"no_input": True}),
        ("zango_ai_erase", {"user_ref": "ada"}),
        ("zango_ai_export", {}),
        ("zango_ai_export_invocations", {"format": "csv"}),
        ("zango_ai_maintain", {}),
        ("zango_ai_reconcile", {}),
        ("zango_ai_rotate_keys", {}),
        ("zango_ai_spend", {}),
        ("zango_ai_sync_tools", {}),
    ],
)
def test_a_command_for_a_tenant_that_was_not_migrated_says_what_to_run(unmigrated, command, options):
    said = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(command, schema="red", stdout=io.StringIO(), stderr=said, **options)
    assert "migrate_schemas --schema=red" in f"{caught.value}{said.getvalue()}"


def test_a_tenant_that_lacks_a_column_is_told_the_same(model, live_north):
    make_agent(model)
    agent = get_agent("helper")
    rename("output_retries", "of_a_later_version")
    try:
        with pytest.raises(NotMigrated, match="columns"):
            agent.run("hi")
    finally:
        rename("of_a_later_version", "output_retries")


def rename(column, other):
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE north.{AgentConfig._meta.db_table} RENAME COLUMN {column} TO {other}")


def test_the_check_of_the_database_names_tenants_that_were_not_migrated(unmigrated):
    connection.set_schema_to_public()
    assert checks.check_migrations() == []
    assert checks.check_migrations(databases=["other"]) == []
    (found,) = checks.check_migrations(databases=["default"])
    assert (found.id, found.is_serious()) == ("zango_ai.W003", False)
    assert found.msg.endswith("(1): red.")
    assert "migrate_schemas" in found.hint
    said = io.StringIO()
    call_command("check", databases=["default"], stderr=said)
    assert "zango_ai.W003" in said.getvalue()
    with schema_context("north"):
        assert checks.check_migrations(databases=["default"]) == []  # it is north that is being migrated


def test_a_tenant_of_a_type_without_agents_is_not_named(unmigrated, settings):
    connection.set_schema_to_public()
    settings.HAS_MULTI_TYPE_TENANTS, settings.MULTI_TYPE_DATABASE_FIELD = True, "name"
    settings.TENANT_TYPES = {"North": {"APPS": ["zango_ai"]}, "Red": {"APPS": []}}
    assert checks.check_migrations(databases=["default"]) == []
    settings.TENANT_TYPES = {"Red": {"APPS": ["zango_ai"]}}
    (found,) = checks.check_migrations(databases=["default"])
    assert found.msg.endswith("(1): red.")


# -- Celery ------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_app(monkeypatch):
    """As where the project's __init__ does not import its Celery app."""
    monkeypatch.setattr(_state, "default_app", None)
    monkeypatch.setattr(_state._tls, "current_app", None)
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)


def only_celery(name):
    """``find_spec()`` where no other package or module is installed."""
    return find_spec(name) if name == "celery" else None


LINES = r'clinic/__init__.py: from .celery import app as celery_app  and  __all__ = \("celery_app",\)'


def test_without_a_celery_app_the_two_missing_lines_are_named(model, live_north, no_app):
    make_agent(model)
    with pytest.raises(QueueUnavailable, match=rf"No Celery app is configured.*{LINES}") as caught:
        get_agent("helper").enqueue("hi")
    assert "CELERY_BROKER_URL" not in str(caught.value)
    assert get_run(caught.value.run_id).status == "failed"
    with pytest.raises(ImproperlyConfigured, match=LINES):
        Where.delay()


def test_a_check_finds_that_the_celery_app_is_not_loaded(no_app, settings, monkeypatch):
    (found,) = checks.check_celery_app()
    assert found.id == "zango_ai.W004"
    assert "clinic/__init__.py" in found.hint
    assert _state.default_app is None  # looking for the app has not made one
    monkeypatch.setattr(celery_queue, "find_spec", only_celery)
    (found,) = checks.check_celery_app()
    assert "Create one in clinic/celery.py" in found.hint
    for name in dir(django_settings):
        if name.startswith("CELERY_"):
            delattr(settings, name)
    assert checks.check_celery_app() == []  # a project that does without Celery


def test_a_redis_broker_without_its_python_package_is_named(model, live_north, monkeypatch):
    make_agent(model)
    monkeypatch.setattr(celery_queue, "find_spec", only_celery)
    with app("redis://127.0.0.1:1/0"):
        with pytest.raises(QueueUnavailable, match=r"pip install 'celery\[redis\]'"):
            get_agent("helper").enqueue("hi")
        with pytest.raises(ImproperlyConfigured, match=r"pip install 'celery\[redis\]'"):
            Where.delay()


def test_a_run_that_no_worker_takes_says_how_to_start_one(model, live_north):
    make_agent(model)
    with app("memory://"):
        run = get_agent("helper").enqueue("hi")
        with pytest.raises(
            TimeoutError,
            match=r"is queued.*No worker.*celery -A clinic worker.*zango_ai\.run: call app\.autodiscover",
        ):
            run.wait(timeout=0.01)
        with transaction.atomic():
            run = get_agent("helper").enqueue("hi")
            with pytest.raises(TimeoutError, match="transaction that queued it commits"):
                run.wait(timeout=0.01)
            transaction.set_rollback(True)


# -- Names that are mistyped -------------------------------------------------------------------------------------


def test_a_name_that_is_mistyped_is_answered_with_the_one_that_was_meant(model, north):
    make_agent(model, "plain")
    AgentConfig.objects.create(name="plian-off", provider=make_provider(model, name="openai"), is_enabled=False)
    make_prompt("hi", name="greeting")
    for look_up, name, error, meant in [
        (get_agent, "plian", AgentNotFound, "plain"),
        (get_agent, "Plain", AgentNotFound, "plain"),
        (get_agent, "plian-of", AgentNotFound, "plain"),
        (get_provider, "opnai", ProviderNotFound, "openai"),
        (get_prompt, "greting", PromptNotFound, "greeting"),
    ]:
        with pytest.raises(error, match=rf"Did you mean '{meant}'\?"):
            look_up(name)
    for name in ("something else", "", "x" * 100_000, "a\0b", "\ud800"):
        with pytest.raises(AgentNotFound) as caught:
            get_agent(name)
        assert "Did you mean" not in str(caught.value)
    with pytest.raises(CommandError, match=r"Did you mean 'north'\?"):
        call_command("zango_ai_run", "plain", "--schema", "nroth", "--input", "hi")


def test_a_tenants_agent_is_not_suggested_to_another(model, tenants):
    with schema_context("north"):
        make_agent(model, "plain")
    with schema_context("south"), pytest.raises(AgentNotFound) as caught:
        get_agent("plian")
    assert "plain" not in str(caught.value)


def test_a_tool_and_a_setting_that_are_mistyped_are_answered_in_the_same_way():
    with pytest.raises(ToolNotFound, match=r"Did you mean 'act_once'\?"):
        registry.get("act_onec")
    assert "Did you mean 'MAX_FILES'?" in conf.read({"MAX_FILE": 3})[1][0]


# -- Hints -------------------------------------------------------------------------------------------------------


def test_no_text_points_to_pages_that_are_not_installed(settings):
    settings.ZANGO_AI = {"MAX_FILES": 0}
    (found,) = checks.check_settings()
    assert "ZANGO_AI = {" in found.hint
    package = Path(checks.__file__).parent
    assert [file.name for file in package.rglob("*.py") if "docs/" in file.read_text()] == []
