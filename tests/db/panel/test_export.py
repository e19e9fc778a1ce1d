"""The export of invocations, by the command and by the buttons of the list."""

import csv
import io
import json

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.schemas import add_domains
from zango_ai.ledger import run_export
from zango_ai.models import Invocation

FORMULA = '=HYPERLINK("http://evil.example","click")'


def add(count=1, **columns):
    shared = {"agent_name": "helper", "triggered_by": "user", "status": "success", "cost_usd": "0.0012"}
    return Invocation.objects.bulk_create(Invocation(**{**shared, **columns}) for _ in range(count))


def export(kind, **options):
    out = io.StringIO()
    call_command("zango_ai_export_invocations", format=kind, schema="north", stdout=out, **options)
    return out.getvalue()


def test_formulas_in_cells_are_harmless_and_json_has_the_values_as_they_are(north):
    (run,) = add(response_content=FORMULA, user_ref="\u00a0+49 30 1", variables={"a": "=1"}, error_message="\t=1")
    (row,) = csv.DictReader(io.StringIO(export("csv")))
    assert row["response_content"] == f"'{FORMULA}"
    assert (row["user_ref"], row["variables"], row["error_message"]) == ("'\u00a0+49 30 1", '{"a": "=1"}', "'\t=1")
    assert (row["tenant"], row["run_id"], row["cost_usd"]) == ("north", str(run.run_id), "0.00120000")
    (entry,) = map(json.loads, export("jsonl").splitlines())
    assert (entry["response_content"], entry["variables"]) == (FORMULA, {"a": "=1"})
    assert (entry["id"], entry["cost_usd"], entry["session_id"]) == (run.pk, "0.00120000", None)


def test_each_option_of_the_command_selects_runs(north):
    add()
    columns = {"agent_name": "a", "provider_name": "p", "model": "m", "status": "failed", "triggered_by": "task"}
    (run,) = add(**columns, session_id="s", user_ref="u")
    names = {"agent_name": "agent", "provider_name": "provider", "triggered_by": "trigger"}
    options = {names.get(name, name): value for name, value in columns.items()} | {"session": "s", "user": "u"}
    for name, value in options.items():
        assert [json.loads(line)["id"] for line in export("jsonl", **{name: value}).splitlines()] == [run.pk], name
    assert export("jsonl", until="2020-01-01") == ""
    assert len(export("jsonl", since="2020-01-01").splitlines()) == 2
    with pytest.raises(CommandError, match="--since is 'May'"):
        export("csv", since="May")
    with pytest.raises(CommandError, match="--until is '0001-01-01'"):
        export("csv", until="0001-01-01")
    with pytest.raises(CommandError, match="--since is after --until"):
        export("csv", since="2026-11-30", until="2026-11-01")


def test_the_command_leaves_texts_out_on_demand(north):
    add(response_content="secret", rendered_user_prompt="secret")
    assert "secret" in export("csv")
    assert "secret" not in export("csv", no_texts=True) + export("jsonl", no_texts=True)


def test_runs_are_read_in_batches(north, monkeypatch):
    monkeypatch.setattr(run_export, "_BATCH", 2)
    added = [run.pk for run in add(5)]
    with CaptureQueriesContext(connection) as captured:
        batches = list(run_export.read(Invocation.objects.all(), has_texts=False))
    assert sum("SELECT" in query["sql"] for query in captured) == 3
    assert [[row["id"] for row in rows] for rows in batches] == [added[:2:-1], added[2:0:-1], added[:1]]


@pytest.fixture
def client_of(north):
    add_domains(north, "north.localhost")

    def make(*codenames):
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(headers={"host": "north.localhost"})
        client.force_login(user)
        return client

    return make


def test_the_list_exports_what_its_filters_select(client_of):
    add()
    (run,) = add(status="failed", response_content="secret")
    client = client_of("view_invocation", "view_payload")
    page = client.get("/admin/zango_ai/invocation/?status__exact=failed&group=session").content.decode()
    assert 'href="/admin/zango_ai/invocation/export/csv/?status__exact=failed"' in page
    answer = client.get("/admin/zango_ai/invocation/export/csv/?status__exact=failed")
    assert answer["Content-Disposition"].startswith('attachment; filename="invocations-north-')
    (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode()))
    assert (row["id"], row["response_content"]) == (str(run.pk), "secret")
    assert LogEntry.objects.get().get_change_message() == "Exported as csv: status__exact"
    answer = client.get("/admin/zango_ai/invocation/export/jsonl/")
    assert len(answer.getvalue().splitlines()) == 2
    assert client.get("/admin/zango_ai/invocation/export/xml/").status_code == 400
    assert client.get("/admin/zango_ai/invocation/export/csv/?status__exact__x=1").status_code in (302, 400)


def test_who_may_not_read_texts_exports_numbers(client_of):
    add(response_content="secret", rendered_user_prompt="secret", error_message="secret")
    for kind in ("csv", "jsonl"):
        text = client_of("view_invocation").get(f"/admin/zango_ai/invocation/export/{kind}/").getvalue().decode()
        assert "helper" in text
        assert "secret" not in text
        assert client_of("view_agentconfig").get(f"/admin/zango_ai/invocation/export/{kind}/").status_code == 403


def test_under_asgi_the_pieces_are_sent_one_by_one():
    from asgiref.sync import async_to_sync

    from zango_ai.admin.invocation_export import _in_threads

    async def read():
        return [piece async for piece in _in_threads(iter(["a", "b"]))]

    assert async_to_sync(read)() == ["a", "b"]
