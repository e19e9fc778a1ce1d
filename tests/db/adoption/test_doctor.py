"""``zango_ai_doctor``: what is missing or wrong, where, and how to correct it."""

import json
import sys
import zoneinfo
from datetime import timedelta
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from django_tenants.utils import schema_context

from tests.build import make_agent, make_prompt, make_provider
from tests.db.log.test_maintenance import let_pass
from zango_ai import get_agent, tool
from zango_ai.doctor import PROJECT, TENANT
from zango_ai.models import AgentConfig, Invocation, MaintenanceRecord, Prompt, Provider, Tool
from zango_ai.providers import retirement


@tool(description="Read the blood pressure")
def doctor_blood_pressure(patient: int) -> int:
    return 120


@pytest.fixture
def clinic(model, north, settings, tmp_path):
    """A tenant in which nothing is wrong."""
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ENCRYPTION_KEYS": [Fernet.generate_key().decode()]}
    settings.MEDIA_ROOT = tmp_path
    agent = make_agent(model, user_prompt=make_prompt("Hello"))
    call_command("zango_ai_sync_tools", schema="north", stdout=StringIO())
    call_command("zango_ai_maintain", schema="north", stdout=StringIO())
    return agent


def examined(**options):
    """The report as JSON, and the error that the command ended with."""
    out = StringIO()
    options = {"schema": "north", "offline": True, **options}
    try:
        call_command("zango_ai_doctor", json=True, stdout=out, **options)
    except CommandError as exc:
        return json.loads(out.getvalue()), str(exc)
    return json.loads(out.getvalue()), None


def findings(**options):
    """The findings by id. They are all in the tenant, or all in the project."""
    report, error = examined(**options)
    parts = [report["project"], *report["tenants"]]
    found = [each for part in parts for check in part["checks"] for each in check["findings"]]
    assert (error is not None) == any(each["level"] == "error" for each in found)
    return {each["id"]: each for each in found}


def test_nothing_is_wrong_with_a_tenant_that_works(clinic):
    report, error = examined()
    assert (report["status"], report["errors"], report["warnings"], error) == ("ok", 0, 0, None)
    out = StringIO()
    call_command("zango_ai_doctor", schema="north", offline=True, stdout=out, no_color=True)
    assert "Tenant north\n  OK       Migrations, Credentials, Providers, Prompts, Agents" in out.getvalue()
    assert out.getvalue().endswith("Nothing is wrong.\n")


def test_the_report_has_a_fixed_form(clinic):
    Provider.objects.update(is_enabled=False)
    report, error = examined()
    assert set(report) == {"version", "status", "errors", "warnings", "project", "tenants"}
    (tenant,) = report["tenants"]
    assert (report["version"], tenant["schema"], tenant["status"]) == (1, "north", "error")
    names = [check["name"] for check in report["project"]["checks"] + tenant["checks"]]
    assert names == [check.name for check in (*PROJECT, *TENANT) if not check.is_online]
    ((finding,),) = [check["findings"] for check in tenant["checks"] if check["findings"]]
    assert set(finding) == {"id", "level", "where", "problem", "remedy"}
    assert error == "1 error"


def test_the_text_says_what_is_wrong_where_and_what_to_do(clinic):
    Prompt.objects.create(name="unused", type="user")
    Provider.objects.update(is_enabled=False)
    out = StringIO()
    with pytest.raises(CommandError, match="1 error and 1 warning"):
        call_command("zango_ai_doctor", schema="north", offline=True, stdout=out, no_color=True)
    text = " ".join(out.getvalue().split())
    assert "ERROR agent helper: Provider 'main' of agent 'helper' is disabled." in text
    assert "-> Correct the agent or its provider in the admin. (doctor.agents.cannot_run)" in text
    assert "WARNING prompt unused: It has no active version." in text


def test_all_tenants_are_checked_unless_one_is_named(clinic):
    with schema_context("south"):
        Prompt.objects.create(name="unused", type="user")
    report, _ = examined(schema=None)
    assert {each["schema"]: each["status"] for each in report["tenants"]}["south"] != "ok"
    with pytest.raises(CommandError, match="Did you mean 'north'"):
        call_command("zango_ai_doctor", schema="norht", offline=True, stdout=StringIO())


def test_invalid_settings_come_first_and_alone(clinic, settings):
    settings.ZANGO_AI = {"MAX_FILE": 3}
    report, _ = examined()
    assert [check["name"] for check in report["project"]["checks"]] == ["settings"]
    assert report["tenants"] == []
    ((finding,),) = [check["findings"] for check in report["project"]["checks"]]
    assert (finding["id"], "MAX_FILES" in finding["problem"], bool(finding["remedy"])) == (
        *("zango_ai.E001", True, True),
    )


def test_a_derived_encryption_key_is_a_warning(clinic, model, settings):
    settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url]}
    assert findings()["zango_ai.W001"]["level"] == "warning"


def test_short_connections_are_a_warning_in_production(clinic, settings):
    settings.DEBUG = False
    connection.settings_dict["CONN_MAX_AGE"], before = 0, connection.settings_dict["CONN_MAX_AGE"]
    try:
        assert findings()["doctor.database.conn_max_age"]["level"] == "warning"
        connection.settings_dict["CONN_MAX_AGE"] = 60
        assert findings() == {}
    finally:
        connection.settings_dict["CONN_MAX_AGE"] = before


def test_a_storage_that_takes_no_file_is_an_error(clinic, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path / "file"
    settings.MEDIA_ROOT.write_text("not a folder")
    assert "FileExistsError" in findings()["doctor.storage.not_writable"]["problem"]


def test_a_system_without_time_zones_is_told_to_install_them(clinic, settings, monkeypatch):
    settings.TIME_ZONE = "UTC"
    for name in [each for each in sys.modules if each.startswith("tzdata")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tzdata", None)
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    try:
        assert "tzdata" in findings()["doctor.time_zones.missing"]["remedy"]
    finally:
        zoneinfo.reset_tzpath()


def test_a_tenant_without_tables_or_with_unapplied_migrations_is_told_to_migrate(clinic):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'zango_ai'")
        assert "0001_initial" in findings()["doctor.migrations.unapplied"]["problem"]
        cursor.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('zango_ai', '0999_x', now())")
        assert "0999_x" in findings()["doctor.migrations.unknown"]["problem"]
        cursor.execute("ALTER TABLE zango_ai_agentconfig RENAME TO elsewhere")
        found = findings()
    assert found["doctor.migrations.no_tables"]["remedy"].endswith("migrate_schemas --schema=north")


def test_credentials_that_no_key_decrypts_and_old_keys_are_found(clinic, settings):
    old = settings.ZANGO_AI["ENCRYPTION_KEYS"]
    new = [Fernet.generate_key().decode()]
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ENCRYPTION_KEYS": new + old}
    assert "zango_ai_rotate_keys" in findings()["doctor.credentials.old_key"]["remedy"]
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ENCRYPTION_KEYS": new}
    assert list(findings()) == ["doctor.credentials.undecryptable"]


def test_a_provider_without_its_key_is_an_error_once(clinic):
    Provider.objects.update(credentials={})
    found = findings()
    assert list(found) == ["doctor.providers.invalid"]
    assert found["doctor.providers.invalid"]["where"] == "provider main"


def test_models_that_the_vendor_no_longer_lists_are_a_warning(clinic):
    clinic.provider.models.create(model_id="gpt-4o-mini", is_listed=False)
    assert "gpt-4o-mini" in findings()["doctor.providers.unlisted_models"]["problem"]


def test_a_budget_without_a_price_is_a_warning_also_if_no_agent_uses_the_provider(clinic, model):
    make_provider(model, name="direct", default_model="unheard-of", monthly_budget_usd=5)
    found = findings()
    assert list(found) == ["doctor.providers.no_price"]
    assert found["doctor.providers.no_price"]["where"] == "provider direct"
    Provider.objects.update(allow_unpriced=True)
    assert findings() == {}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"provider": {"default_model": ""}}, "has a model"),
        ({"provider": {"monthly_budget_usd": 5, "default_model": "unheard-of"}}, "price"),
        ({"agent": {"monthly_budget_usd": 5, "model": "unheard-of"}}, "price"),
        ({"agent": {"output_schema": "json", "output_json_schema": {"type": "objekt"}}}, "not valid"),
    ],
)
def test_an_agent_whose_runs_would_fail_is_an_error(clinic, change, words):
    Provider.objects.update(**change.get("provider", {}), updated_at=timezone.now())
    AgentConfig.objects.update(**change.get("agent", {}), updated_at=timezone.now())
    found = findings()["doctor.agents.cannot_run"]
    assert found["where"] == "agent helper"
    assert words in found["problem"]


def test_a_disabled_agent_is_not_examined(clinic):
    AgentConfig.objects.update(is_enabled=False)
    Provider.objects.update(is_enabled=False)
    assert findings() == {}


def test_a_fallback_that_would_be_skipped_is_a_warning(clinic, model):
    clinic.fallbacks.create(provider=make_provider(model, name="backup", is_enabled=False))
    assert "backup" in findings()["doctor.agents.fallback_unusable"]["problem"]


def test_a_prompt_without_an_active_version_is_an_error_if_an_agent_uses_it(clinic):
    prompt = Prompt.objects.create(name="empty", type="system")
    assert findings()["doctor.prompts.no_active_version"]["level"] == "warning"
    AgentConfig.objects.update(system_prompt=prompt)
    found = findings()["doctor.prompts.no_active_version"]
    assert (found["level"], "helper" in found["problem"]) == ("error", True)


def test_tools_that_differ_from_the_code_are_found(clinic):
    Tool.objects.filter(name="doctor_blood_pressure").update(schema_hash="old")
    Tool.objects.create(name="doctor_gone", description="x", python_path="x", safety="write", timeout_seconds=1)
    Tool.objects.filter(name="find_patient").delete()
    clinic.tools.set(Tool.objects.filter(name="doctor_gone"))
    found = findings()
    assert "doctor_blood_pressure" in found["doctor.tools.changed"]["problem"]
    assert "doctor_gone" in found["doctor.tools.no_code"]["problem"]
    assert "find_patient" in found["doctor.tools.no_row"]["problem"]
    assert found["doctor.tools.no_row"]["remedy"].endswith("zango_ai_sync_tools --schema north")
    assert found["doctor.agents.tool_unavailable"]["where"] == "agent helper"


@pytest.mark.parametrize(("days", "name"), [(30, "retiring"), (-1, "retired")])
def test_models_that_their_vendor_switches_off_are_found(clinic, monkeypatch, days, name):
    day = timezone.localdate() + timedelta(days=days)
    monkeypatch.setattr(retirement, "retires_on", lambda *args: day)
    found = findings()[f"doctor.models.{name}"]
    assert (found["where"], str(day) in found["problem"]) == ("provider main", True)


def test_queued_runs_that_nobody_takes_are_an_error(clinic):
    Invocation.objects.create(agent_name="helper", status="queued")
    assert findings() == {}
    let_pass(11 * 60)
    assert findings()["doctor.runs.waiting"]["level"] == "warning"
    let_pass(90 * 60)
    found = findings()["doctor.runs.waiting"]
    assert found["level"] == "error"
    assert found["problem"].startswith("1 queued run has not started yet, the oldest for 1 hour.")


def test_maintenance_that_never_ran_ran_long_ago_or_failed_is_found(clinic, model):
    get_agent("helper").run("Hello")
    MaintenanceRecord.objects.update(finished_at=timezone.now() - timedelta(hours=3))
    assert findings()["doctor.maintenance.late"]["problem"] == "Maintenance last ran 3 hours ago."
    MaintenanceRecord.objects.update(finished_at=timezone.now(), failed_steps=2)
    assert findings()["doctor.maintenance.failed"]["level"] == "error"
    MaintenanceRecord.objects.all().delete()
    assert "zango_ai_maintain" in findings()["doctor.maintenance.never"]["remedy"]


def test_what_maintenance_should_have_done_is_an_error(clinic, settings):
    get_agent("helper").run("Hello")
    Invocation.objects.create(agent_name="helper", status="running")
    Invocation.objects.create(agent_name="helper", status="awaiting_approval")
    settings.ZANGO_AI = {**settings.ZANGO_AI, "PAYLOAD_TTL_DAYS": 1}
    assert findings().keys() <= {"doctor.maintenance.expired_approvals"}
    let_pass(5 * 86_400)
    Invocation.objects.update(started_at=timezone.now() - timedelta(days=5))
    found = findings()
    assert found["doctor.maintenance.abandoned_runs"]["problem"].startswith("1 run has lost")
    assert found["doctor.maintenance.expired_approvals"]["problem"].startswith("1 run has not ended")
    assert "PAYLOAD_TTL_DAYS" in found["doctor.maintenance.retention"]["problem"]


def test_a_provider_that_does_not_answer_is_an_error_unless_offline(clinic, model, settings):
    def connections(**options):
        return {name: each for name, each in findings(**options).items() if name.startswith("doctor.providers")}

    assert connections(offline=False) == {}
    row = Provider.objects.get()
    row.credentials["api_base"] = "http://127.0.0.1:9/v1"
    row.save()
    settings.ZANGO_AI = {**settings.ZANGO_AI, "ALLOWED_API_BASES": ["http://127.0.0.1:9"]}
    found = connections(offline=False)["doctor.providers.no_answer"]
    assert (found["where"], found["level"]) == ("provider main", "error")
    assert connections() == {}


def test_a_check_that_fails_is_a_finding_and_the_others_go_on(clinic, monkeypatch):
    def fail():
        raise RuntimeError("boom")

    monkeypatch.setattr("zango_ai.configuration.tool_rows.pending", fail)
    Prompt.objects.create(name="unused", type="user")
    found = findings()
    assert "RuntimeError: boom" in found["doctor.tools.failed"]["problem"]
    assert "doctor.prompts.no_active_version" in found
