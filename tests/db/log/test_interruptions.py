"""What cuts into a run, at every point of it: interrupts, lost connections, other tenants. These tests commit."""

import signal
import threading
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import cycle

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import IntegrityError, OperationalError, connection, transaction

from tests.build import QUARTER, make_agent, make_priced_agent
from tests.db.log.test_odd_values_and_limits import end_the_ledgers_connection
from tests.schemas import get_tenant_model, needs_tenants, schema_context, set_schema
from tests.statements import refuse, settles
from tests.together import run_together
from zango_ai import get_agent
from zango_ai.database import ledger_connection, writer
from zango_ai.exceptions import PromptRenderError
from zango_ai.ledger import reconciliation
from zango_ai.models import AgentConfig, Fallback, Invocation, InvocationRound, Provider, Spend
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_tenants")

WRITES = [("text", 1), ("text", 2), ("json", 1), ("json", 2), ("json", 3)]
"""What the ledger writes for a run, once the month's counters are there: it reserves and opens, it settles and
ends. An answer that has yet to be read, as JSON, is settled before that: three statements."""


@pytest.fixture
def warm(model, live_north):
    """An agent whose month has begun."""
    make_priced_agent(model, monthly_budget_usd="100")
    model.script(QUARTER)
    get_agent("helper").run("first")
    model.reset()
    return model


def answers_in(form):
    AgentConfig.objects.update(output_schema=form)
    return QUARTER if form == "text" else replace(QUARTER, text='"a quarter"')


def at_write(monkeypatch, number, act, *, after):
    """Have ``act()`` called at what the ledger writes then: before it, or after it is committed."""
    left = [number]
    really = writer.execute_on

    def once(*args):
        left[0] -= "key" in args[2]  # else it reads
        if left[0] == 0 and not after:
            act()
        rows = really(*args)
        if left[0] == 0 and after:
            act()
        return rows

    monkeypatch.setattr(writer, "execute_on", once)


def adds_up(schema="north") -> bool:
    with schema_context(schema):
        held = Spend.objects.exclude(reserved_usd=0).exists()
        running = InvocationRound.objects.filter(status="running").exists()
        return not (held or running or list(reconciliation.find_drift(schema)))


# Interrupts


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("form", "number"), WRITES)
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, SoftTimeLimitExceeded])
def test_an_interrupt_at_any_point_leaves_a_row_and_holds_nothing(warm, monkeypatch, error, form, number, after):
    def interrupt():
        raise error

    warm.script(answers_in(form))
    at_write(monkeypatch, number, interrupt, after=after)
    with pytest.raises(error) as caught:
        get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.error_type, row.finished_at is None) == (error.__name__, False)
    assert row.status == ("failed" if error is SoftTimeLimitExceeded else "cancelled")
    assert row.cost_usd == (Decimal("0.25") if number > 1 else 0)  # in the first statement, nothing was sent
    assert len(warm.requests) == (1 if number > 1 else 0)
    assert adds_up()


def test_celerys_time_limit_cuts_in_while_the_provider_works(warm):
    """As Celery's prefork workers raise it: in a signal handler."""

    def cut(*args):
        raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, cut)
    warm.script(Reply(delay_s=5))
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(SoftTimeLimitExceeded) as caught:
            get_agent("helper").run("hi")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.error_type, row.cost_usd) == ("failed", "SoftTimeLimitExceeded", None)
    assert row.rounds.get().charged_usd == Decimal("0.25")  # it may have been billed
    assert adds_up()


def test_a_time_limit_that_cuts_into_a_statement_stops_it(warm, live_north):
    """Left alone, the statement would go on when its run has ended, and open the run once more."""

    def cut(*args):
        raise SoftTimeLimitExceeded

    locked, done = threading.Event(), threading.Event()

    def block():
        with schema_context("north"), transaction.atomic():
            Spend.objects.select_for_update().get(owner="provider")
            locked.set()
            done.wait(20)

    blocker = threading.Thread(target=run_together, args=([block],))
    blocker.start()
    locked.wait(20)
    threading.Timer(1.5, done.set).start()
    before = signal.signal(signal.SIGALRM, cut)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(SoftTimeLimitExceeded) as caught:
            get_agent("helper").run("hi")
    finally:
        signal.signal(signal.SIGALRM, before)
        blocker.join()
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.rounds_count) == ("failed", 0)
    assert adds_up()


def test_an_interrupt_while_a_settlement_is_prepared_leaves_a_ledger_that_adds_up(warm, monkeypatch):
    """The answer is there, and nothing of it is counted yet."""
    from zango_ai.ledger import round_log

    def interrupt(*args, **options):
        raise KeyboardInterrupt

    warm.script(QUARTER)
    monkeypatch.setattr(round_log, "Settlement", once_then(interrupt, round_log.Settlement))
    with pytest.raises(KeyboardInterrupt) as caught:
        get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.cost_usd, row.rounds.get().charged_usd) == ("cancelled", None, Decimal("0.25"))
    assert adds_up()


def once_then(first, then):
    calls = iter([first])
    return lambda *args, **options: next(calls, then)(*args, **options)


# Broken transactions


def break_transaction():
    with pytest.raises(IntegrityError):
        AgentConfig.objects.create(name="helper", provider_id=1, temperature=0.1)


def test_a_run_in_a_broken_transaction_answers_and_leaves_its_row(warm, monkeypatch):
    """After a caught IntegrityError the caller's connection answers nothing: neither the configuration nor, where
    that is not known yet, the tenant's time zone."""
    monkeypatch.setattr("zango_ai.ledger.time_zones._cache", {})
    warm.script(QUARTER)
    with transaction.atomic():
        break_transaction()
        assert connection.needs_rollback
        response = get_agent("helper").run("hi")
        transaction.set_rollback(True)
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.cost_usd) == ("success", Decimal("0.25"))
    assert adds_up()


def test_a_run_in_a_transaction_that_only_postgresql_knows_to_be_broken(warm):
    warm.script(QUARTER)
    with transaction.atomic():
        with connection.cursor() as cursor, pytest.raises(Exception, match="division by zero"):
            cursor.execute("SELECT 1/0")
        response = get_agent("helper").run("hi")
        transaction.set_rollback(True)
    assert Invocation.objects.get(pk=response.invocation_id).status == "success"


def test_an_error_before_the_call_leaves_its_row_in_a_broken_transaction(warm):
    agent = AgentConfig.objects.get()
    from tests.build import make_prompt

    agent.user_prompt = make_prompt("{{ name }}")
    agent.save()
    with transaction.atomic():
        break_transaction()
        with pytest.raises(PromptRenderError) as caught:
            get_agent("helper").run(variables={})
        transaction.set_rollback(True)
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"


# The ledger's connection


@pytest.mark.parametrize(("form", "number"), WRITES)
def test_a_connection_lost_before_any_statement_is_made_anew(warm, monkeypatch, form, number):
    warm.script(answers_in(form))
    at_write(monkeypatch, number, end_the_ledgers_connection, after=False)
    response = get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status, row.cost_usd) == ("success", "success", Decimal("0.25"))
    assert Invocation.objects.count() == InvocationRound.objects.count() == 2
    assert Spend.objects.get(owner="provider").spent_usd == Decimal("0.5")
    assert adds_up()


@pytest.mark.parametrize(("form", "number"), WRITES)
def test_a_connection_lost_before_a_statement_was_confirmed_counts_nothing_twice(warm, monkeypatch, form, number):
    """It is committed, its answer is lost, and it is executed again."""

    def lose():
        end_the_ledgers_connection()
        raise OperationalError("server closed the connection unexpectedly")

    warm.script(answers_in(form))
    at_write(monkeypatch, number, lose, after=True)
    response = get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status, row.cost_usd) == ("success", "success", Decimal("0.25"))
    assert Invocation.objects.count() == InvocationRound.objects.count() == 2
    counter = Spend.objects.get(owner="provider")
    assert (counter.spent_usd, counter.reserved_usd) == (Decimal("0.5"), 0)
    assert adds_up()


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_database_that_is_away_for_a_moment_loses_no_paid_answer_and_no_row(
    warm, monkeypatch, caplog, form, failures
):
    refuse(monkeypatch, OperationalError("the database system is starting up"), when=settles, times=failures)
    warm.script(answers_in(form))
    response = get_agent("helper").run("hi")
    assert response.content.strip('"') == "a quarter"
    assert ("Could not settle a round" in caplog.text) is (form == "json")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status, row.cost_usd) == ("success", "success", Decimal("0.25"))
    assert adds_up()


@pytest.mark.parametrize("first", [Reply("down", status=503, headers={"retry-after": "0"}), Reply(delay_s=2)])
def test_a_call_that_could_not_be_settled_is_settled_before_the_next(warm, monkeypatch, caplog, first):
    """After a failed try the run goes on: with a retry, or with a fallback."""
    agent = AgentConfig.objects.get()
    agent.timeout_seconds = 1
    agent.save()
    Provider.objects.update(max_retries=1)
    Fallback.objects.create(agent=agent, provider=agent.provider)
    refuse(monkeypatch, OperationalError("the database system is starting up"), when=settles, times=1)
    warm.script(first, QUARTER)
    response = get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert "Could not settle a round" in caplog.text
    assert (row.status, row.rounds_count) == ("success", 2)
    assert row.cost_usd == (None if first.delay_s else Decimal("0.25"))
    assert adds_up()


def test_a_call_that_is_never_settled_is_given_back_by_maintenance(warm, monkeypatch):
    from django.core.management import call_command

    from tests.db.log.test_maintenance import let_pass
    from zango_ai.ledger import final_writes

    monkeypatch.setattr(final_writes, "_RETRY_AFTER_S", (0.01,))
    with monkeypatch.context() as patch:
        refuse(patch, OperationalError("somebody holds a lock"), when=settles)
        warm.script(QUARTER)
        response = get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status) == ("success", "running")
    drifts = list(map(str, reconciliation.find_drift("north")))
    assert f"round 1 of invocation {row.pk}: status is running and should be over" in drifts
    let_pass(10_000)
    call_command("zango_ai_maintain", verbosity=0)
    row.refresh_from_db()
    assert (row.status, row.rounds.get().status, row.cost_usd) == ("success", "abandoned", None)
    assert adds_up()


def test_the_ledger_reads_what_is_committed_whatever_the_databases_default(warm):
    """At another isolation its statements fail where two runs meet: 11 of 80 did."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER ROLE CURRENT_USER SET default_transaction_isolation = 'serializable'")
    try:
        connection.close()
        set_schema("north")
        with ledger_connection.own_connection().cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone()[0] == "read committed"
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER ROLE CURRENT_USER RESET default_transaction_isolation")
        connection.close()
        set_schema("north")


def test_a_database_that_stays_away_loses_no_paid_answer_and_the_trouble_is_logged(warm, monkeypatch, caplog):
    from zango_ai.ledger import final_writes

    refuse(
        monkeypatch,
        OperationalError("no more connections"),
        when=lambda params: settles(params) or "run_finished_at" in params,
    )
    monkeypatch.setattr(final_writes, "_RETRY_AFTER_S", (0.01,))
    warm.script(QUARTER)
    response = get_agent("helper").run("hi")
    assert (response.content, response.cost_usd) == ("a quarter", 0.25)
    assert str(response.run_id) in caplog.text
    assert "Could not write the end of run" in caplog.text
    assert Invocation.objects.get(pk=response.invocation_id).status == "running"  # for maintenance to find


# Locks


def test_after_a_run_the_callers_transaction_holds_no_lock_on_the_ledger(warm):
    warm.script(QUARTER)
    with transaction.atomic():
        get_agent("helper").run("hi")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                "WHERE c.relnamespace = 'north'::regnamespace AND l.mode <> 'AccessShareLock'"
            )
            assert cursor.fetchall() == []


def test_no_lock_is_held_while_the_provider_works(warm):
    locks = []

    def ask():
        with schema_context("north"):
            get_agent("helper").run("hi")

    def look():
        warm.wait_for_requests(1)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                "WHERE c.relnamespace = 'north'::regnamespace AND l.pid <> pg_backend_pid()"
            )
            locks.append(cursor.fetchone()[0])

    warm.script(Reply(delay_s=0.5))
    run_together([ask, look])
    assert locks == [0]


# Tenants


@needs_tenants
def test_hundreds_of_interleaved_runs_stay_in_their_tenants(model):
    """Each thread goes from tenant to tenant, as a worker does that takes tasks of both."""
    for schema in ("north", "south"):
        with schema_context(schema):
            make_priced_agent(model, monthly_budget_usd="1000")
    clinics = {clinic.schema_name: clinic for clinic in get_tenant_model().objects.all()}
    expected: dict[str, set] = {"north": set(), "south": set()}
    lock = threading.Lock()

    def work(first):
        schemas = cycle(["north", "south"] if first else ["south", "north"])
        for number, schema in zip(range(25), schemas, strict=False):
            if number % 2:
                connection.set_tenant(clinics[schema])
            else:
                set_schema(schema)
            run = get_agent("helper").run(f"of {schema}").run_id
            with lock:
                expected[schema].add(run)

    run_together(partial(work, number % 2) for number in range(16))
    for schema in ("north", "south"):
        with schema_context(schema):
            assert set(Invocation.objects.values_list("run_id", flat=True)) == expected[schema]
            assert set(Invocation.objects.values_list("rendered_user_prompt", flat=True)) == {f"of {schema}"}
            assert InvocationRound.objects.count() == len(expected[schema]) == 200
            spent = Spend.objects.get(owner="provider").spent_usd
            assert spent == sum(InvocationRound.objects.values_list("charged_usd", flat=True))
        assert adds_up(schema)


@needs_tenants
def test_a_schema_that_is_switched_in_the_middle_of_a_run_moves_no_row(model, live_north, monkeypatch):
    """By a signal's receiver, say. A log that is written by the search path in force puts its end into south."""
    from zango_ai.providers.calls import PreparedCall

    make_agent(model)
    really = PreparedCall.send

    def ask(*args):
        set_schema("south")
        return really(*args)

    monkeypatch.setattr(PreparedCall, "send", ask)
    response = get_agent("helper").run("hi")
    set_schema("north")
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.get().status) == ("success", "success")
    with schema_context("south"):
        assert (Invocation.objects.count(), Spend.objects.count()) == (0, 0)
    assert adds_up()
