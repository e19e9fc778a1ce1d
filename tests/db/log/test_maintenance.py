"""Runs whose process is gone: they are ended, and what they hold is given back. These tests commit."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from django.utils import timezone

from tests.build import QUARTER, make_priced_agent
from tests.children import child, said
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import get_agent, tenancy
from zango_ai.ledger import maintenance, reconciliation
from zango_ai.models import AgentConfig, Invocation, InvocationRound, Provider, Spend
from zango_ai.signals import budget_threshold_crossed
from zango_ai.tasks import maintain
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_north")


def maintained(**options) -> str:
    out = StringIO()
    call_command("zango_ai_maintain", stdout=out, **options)
    return out.getvalue()


def let_pass(seconds: float) -> None:
    """As if every run had shown its last sign of life so much longer ago."""
    Invocation.objects.update(updated_at=F("updated_at") - timedelta(seconds=seconds))


def leave_an_orphan(model) -> None:
    """A run that is killed while its provider works; the agent's timeout is 5 s."""
    make_priced_agent(model, monthly_budget_usd="0.25", timeout_seconds=5)
    model.script(Reply(delay_s=60))
    with child('get_agent("helper").run("are you there?")') as process:
        model.wait_for_requests(1)
        process.kill()
        process.wait()


def test_an_orphan_is_abandoned_and_gives_back_what_it_held(model):
    leave_an_orphan(model)
    assert Spend.objects.get(owner="provider").reserved_usd == Decimal("0.25")
    let_pass(2 * 5 + 60 - 10)
    assert maintained() == ""
    assert Invocation.objects.get().status == "running"
    let_pass(10)
    assert maintained() == "north: 1 abandoned runs ended, $0.25 released\n"
    row = Invocation.objects.get()
    assert (row.status, row.error_type, row.rounds_count, row.cost_usd) == ("abandoned", "Abandoned", 1, None)
    assert (row.rounds.get().status, row.rounds.get().cost_usd) == ("abandoned", None)
    for counter in Spend.objects.all():
        assert (counter.spent_usd, counter.reserved_usd, counter.unknown_calls) == (0, 0, 1)
    assert maintained() == ""
    model.reset()
    model.script(QUARTER)
    assert get_agent("helper").run("hi").content == "a quarter"  # the budget is whole again
    assert list(reconciliation.find_drift("north")) == []


def test_the_celery_task_does_the_same(model):
    leave_an_orphan(model)
    let_pass(80)
    maintain.apply().get()
    assert Invocation.objects.get().status == "abandoned"


def test_a_run_that_lives_is_no_orphan_however_long_it_takes(model):
    """Its last sign of life counts, and not when it began."""
    make_priced_agent(model, timeout_seconds=20, max_retries=1)
    model.script(Reply("down", status=503, headers={"retry-after": "0"}), Reply("late", delay_s=0.6))

    def ask():
        with schema_context("north"):
            get_agent("helper").run("hi")

    def look():
        model.wait_for_requests(2)
        with schema_context("north"):
            Invocation.objects.update(started_at=timezone.now() - timedelta(days=1))
            InvocationRound.objects.update(created_at=timezone.now() - timedelta(days=1))
            assert maintained() == ""

    run_together([ask, look])
    assert Invocation.objects.get().status == "success"


def test_a_run_that_was_given_up_and_goes_on_after_all_counts_once(model):
    """As on a machine that was suspended in the middle of a call."""
    make_priced_agent(model, monthly_budget_usd="1")
    model.script(Reply("a quarter", input_tokens=1, output_tokens=1000, delay_s=1))

    def ask():
        with schema_context("north"):
            assert get_agent("helper").run("hi").cost_usd == 0.25

    def give_up():
        model.wait_for_requests(1)
        with schema_context("north"):
            let_pass(10_000)
            assert "1 abandoned" in maintained()

    run_together([ask, give_up])
    row = Invocation.objects.get()
    assert (row.status, row.rounds.get().status, row.cost_usd) == ("success", "success", Decimal("0.25"))
    assert (row.error_type, row.error_message) == ("", "")
    assert list(reconciliation.find_drift("north")) == []
    counter = Spend.objects.get(owner="provider")
    assert (counter.spent_usd, counter.reserved_usd, counter.unknown_calls) == (Decimal("0.25"), 0, 0)


def test_an_orphan_that_cannot_be_ended_keeps_no_other_from_it(model, monkeypatch):
    from django.db import OperationalError

    from zango_ai.database import writer

    leave_an_orphan(model)
    row = Invocation.objects.get()
    broken = Invocation.objects.create(agent_name="x", triggered_by="user")
    let_pass(200)
    really = writer.execute

    def execute(sql, params, **options):
        if params.get("id") == broken.pk:
            raise OperationalError("canceling statement due to lock timeout")
        return really(sql, params, **options)

    monkeypatch.setattr(writer, "execute", execute)
    with pytest.raises(CommandError, match="north"):
        maintained()
    row.refresh_from_db()
    assert row.status == "abandoned"


def test_each_tenant_is_maintained_also_where_another_fails(model, monkeypatch):
    from django.db import OperationalError

    from zango_ai.ledger import maintenance

    leave_an_orphan(model)
    let_pass(80)
    really = maintenance.abandon_orphans

    def abandon(schema):
        if schema == "north":
            return really(schema)
        raise OperationalError("south is broken")

    monkeypatch.setattr(maintenance, "abandon_orphans", abandon)
    with pytest.raises(CommandError, match="south"):
        maintained()
    assert Invocation.objects.get().status == "abandoned"


def test_one_tenant_alone_can_be_maintained(model):
    leave_an_orphan(model)
    let_pass(80)
    assert maintained(schema="south") == ""
    assert Invocation.objects.get().status == "running"


KILLED = """
import json, os, signal
from zango_ai.models import AgentConfig
from zango_ai.providers import litellm_import
from zango_ai.database import writer
litellm_import.load()
really = writer.execute
seen = []
for form, nth in (("text", 1), ("text", 2), ("json", 1), ("json", 2), ("json", 3)):
    AgentConfig.objects.update(output_schema=form)
    for moment in ("before", "after"):
        connection.close()
        pid = os.fork()
        if pid:
            seen.append(os.waitpid(pid, 0)[1])
            continue
        left = [nth]
        def execute(sql, params, **options):
            if "key" not in params:
                return really(sql, params, **options)  # it reads
            left[0] -= 1
            if left[0] == 0 and moment == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            rows = really(sql, params, **options)
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return rows
        writer.execute = execute
        set_schema("north")
        get_agent("helper").run(f"{form}: killed {moment} write {nth}")
        os._exit(1)
print(json.dumps(seen))
"""


def test_a_process_may_be_killed_at_any_point(model):
    """Before and after each thing that is written of a run: reserved and opened, settled, ended; a text's end is
    one with its settlement.

    A log that is written after the call knows nothing of the runs that were killed before its end.
    """
    make_priced_agent(model, monthly_budget_usd="5", timeout_seconds=5)
    model.script(*[replace(QUARTER, text='"a quarter"')] * 12)
    get_agent("helper").run("opens the counters of the month")
    with child(KILLED) as process:
        seen = json.loads(said(process))
    assert seen == [9] * 10  # by SIGKILL, each
    let_pass(80)
    maintained()
    statuses = dict(Invocation.objects.values_list("rendered_user_prompt", "status"))
    assert statuses == {
        "opens the counters of the month": "success",
        # Killed before the first statement, nothing had happened yet.
        "text: killed after write 1": "abandoned",
        "text: killed before write 2": "abandoned",
        "text: killed after write 2": "success",
        "json: killed after write 1": "abandoned",
        "json: killed before write 2": "abandoned",
        "json: killed after write 2": "abandoned",
        "json: killed before write 3": "abandoned",
        "json: killed after write 3": "success",
    }
    assert list(reconciliation.find_drift("north")) == []
    counter = Spend.objects.get(owner="provider")
    # What was settled is spent; what was killed before that is of unknown cost, and holds nothing any more.
    assert (counter.spent_usd, counter.reserved_usd, counter.unknown_calls) == (Decimal("1.25"), 0, 4)


def test_hundreds_of_tenants_are_gone_through_on_one_connection_and_one_that_fails_stops_no_other(
    model, monkeypatch
):
    """The two tenants there are, 150 times each; in the middle one that is not migrated."""
    schemas = ["north", "south"] * 150
    schemas.insert(150, "not_migrated")
    monkeypatch.setattr(tenancy, "tenant_schemas", lambda: schemas)
    before = connections_to_the_database()
    most = []
    finish = maintenance.end_unsent

    def watched(schema):
        if len(most) % 100 == 0:
            most.append(connections_to_the_database())
        else:
            most.append(0)
        return finish(schema)

    monkeypatch.setattr(maintenance, "end_unsent", watched)
    out = StringIO()
    with pytest.raises(CommandError, match="Failed for: not_migrated"):
        call_command("zango_ai_maintain", stdout=out, stderr=out)
    assert len(most) == 301  # each step is tried in each tenant
    assert max(most) <= before + 1  # the ledger's


def connections_to_the_database():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend'"  # and not autovacuum
        )
        return cursor.fetchone()[0]


def test_an_alert_that_a_later_budget_makes_due_is_sent_once_by_maintenance(model):
    told = []

    def listen(**said):
        told.append((said["provider_name"], said["agent_name"], said["spent_usd"], said["percent"]))

    agent = make_priced_agent(model)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    budget_threshold_crossed.connect(listen)
    try:
        assert maintained() == ""
        Provider.objects.update(monthly_budget_usd="0.5", budget_alert_threshold=50)
        AgentConfig.objects.update(monthly_budget_usd="0.3", budget_alert_threshold=90)
        assert "1 budget alerts sent" in maintained()
        assert maintained() == ""
    finally:
        budget_threshold_crossed.disconnect(listen)
    assert told == [(agent.provider.name, None, Decimal("0.25"), 50)]


def test_an_absurd_timeout_stops_no_other_run_from_being_ended(model):
    """A row of the log that was written before timeouts had a maximum."""
    leave_an_orphan(model)
    orphan = Invocation.objects.get()
    Invocation.objects.create(agent_name="x", triggered_by="user", timeout_seconds=2_000_000_000)
    let_pass(200)
    assert "1 abandoned" in maintained()
    orphan.refresh_from_db()
    assert orphan.status == "abandoned"
    let_pass(3 * 86_400)
    assert "1 abandoned" in maintained()


def test_a_step_that_fails_keeps_no_other_from_its_work(model, monkeypatch, caplog):
    from zango_ai.ledger import alerts
    from zango_ai.memory import sessions

    leave_an_orphan(model)
    let_pass(200)
    done = []
    monkeypatch.setattr(maintenance, "end_unsent", lambda schema: 1 / 0)
    monkeypatch.setattr(alerts, "send_due", lambda schema: done.append("alerts") or 0)
    monkeypatch.setattr(sessions, "delete_orphans", lambda schema: done.append("orphans"))
    with pytest.raises(CommandError, match="north"):
        maintained(schema="north")
    assert Invocation.objects.get().status == "abandoned"
    assert done == ["alerts", "orphans"]
    assert "ZeroDivisionError" in caplog.text


def test_a_budget_that_cannot_be_looked_at_keeps_no_other_from_its_alert(model, monkeypatch):
    from zango_ai.ledger import alerts

    make_priced_agent(model)
    model.script(QUARTER)
    get_agent("helper").run("hi")
    Provider.objects.update(monthly_budget_usd="0.25")
    AgentConfig.objects.update(monthly_budget_usd="0.25")
    really, heard = alerts.current_month_start, []

    def current_month_start(budget, schema):
        monkeypatch.setattr(alerts, "current_month_start", really)  # the first fails, and no other
        raise ValueError("day is out of range for month")

    def hear(**told):
        heard.append(told["agent_name"])

    monkeypatch.setattr(alerts, "current_month_start", current_month_start)
    budget_threshold_crossed.connect(hear)
    try:
        with pytest.raises(ValueError, match="out of range"):
            alerts.send_due("north")
    finally:
        budget_threshold_crossed.disconnect(hear)
    assert heard == ["helper"]


def test_a_check_of_the_ledger_that_fails_keeps_no_other_from_being_made(model, monkeypatch):
    from django.db import OperationalError

    from zango_ai.database import writer

    Invocation.objects.create(agent_name="x", triggered_by="user", status="success", rounds_count=3)
    really = writer.query
    executed = []

    def execute(sql, params, **options):
        executed.append(sql)
        if len(executed) == 1:
            raise OperationalError("canceling statement due to statement timeout")
        return really(sql, params, **options)

    monkeypatch.setattr(writer, "query", execute)
    found = []
    with pytest.raises(OperationalError):
        for each in reconciliation.find_drift("north"):
            found.append(each.column)
    assert "rounds_count" in found
