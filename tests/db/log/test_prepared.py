"""What makes runs fast, and must not make them wrong. These tests commit."""

import threading
from datetime import date
from decimal import Decimal
from types import SimpleNamespace

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from django.db import DataError, close_old_connections, connection, transaction

from tests.build import QUARTER, make_agent, make_priced_agent, make_prompt, make_provider
from tests.schemas import schema_context, set_schema
from tests.statements import refuse, settles
from tests.together import run_together
from zango_ai import get_agent, tenancy
from zango_ai.configuration import agents
from zango_ai.database import ledger_connection, writer
from zango_ai.exceptions import AgentNotFound, LLMAPIError
from zango_ai.ledger import reconciliation
from zango_ai.ledger.sql.reserve_round import reserve_round
from zango_ai.ledger.sql.settle_round import settle_round
from zango_ai.models import AgentConfig, Invocation, Spend
from zango_ai.providers import litellm_import, litellm_logging
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_tenants")


def prepared():
    """What PostgreSQL has prepared on the ledger's connection."""
    with ledger_connection.own_connection().cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements ORDER BY name")
        return [statement for (statement,) in cursor.fetchall()]


def test_whatever_a_run_holds_its_statements_are_the_same_and_planned_once(model, live_north):
    """Numbers of every size, limits that are there and budgets that change ask for no statement of their own."""
    make_priced_agent(model, monthly_budget_usd="999999999")
    for number in range(12):
        AgentConfig.objects.update(max_tokens=10 ** min(number, 6), monthly_budget_usd=10**9 - number)
        model.script(Reply("x" * 10 ** min(number, 6), input_tokens=10**number, output_tokens=number))
        get_agent("helper").run("hi" * number, variables={"number": 10**number}, user_ref=number)
    runs = [statement for statement in prepared() if "decision" in statement or "charged_months" in statement]
    assert len(runs) == 2, runs
    assert not list(reconciliation.find_drift("north"))


def test_a_migration_that_changes_a_column_breaks_no_run_of_a_process_that_has_prepared(model, live_north):
    """PostgreSQL refuses a prepared statement whose result has another type: 'cached plan must not change'."""
    make_agent(model, user_prompt=make_prompt("one"))
    for _ in range(6):
        get_agent("helper").run()
    assert any("active_version_id" in statement for statement in prepared())
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE zango_ai_agentconfig ALTER COLUMN model TYPE text")
        cursor.execute("ALTER TABLE zango_ai_prompt ALTER COLUMN name TYPE varchar(90)")
    try:
        with transaction.atomic():
            assert get_agent("helper").run().content.endswith("You asked: one")
        assert get_agent("helper").run().content.endswith("You asked: one")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE zango_ai_agentconfig ALTER COLUMN model TYPE varchar(200)")
            cursor.execute("ALTER TABLE zango_ai_prompt ALTER COLUMN name TYPE varchar(100)")
    assert set(Invocation.objects.values_list("status", flat=True)) == {"success"}


def test_what_the_callers_transaction_has_not_committed_is_read(model, live_north):
    with pytest.raises(RuntimeError), transaction.atomic():
        make_agent(model, user_prompt=make_prompt("not committed"))
        assert get_agent("helper").run().content.endswith("You asked: not committed")
        raise RuntimeError
    with pytest.raises(AgentNotFound):
        get_agent("helper")


def test_so_is_that_of_a_transaction_that_was_begun_in_sql(model, live_north):
    make_agent(model)
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        AgentConfig.objects.update(is_enabled=False)
        with pytest.raises(AgentNotFound, match="disabled"):
            get_agent("helper")
        cursor.execute("ROLLBACK")
    assert get_agent("helper").run("hi").content.endswith("You asked: hi")


def test_what_another_connection_has_committed_is_read_at_the_next_run(model, live_north):
    """Nothing of a configuration is kept from one run to the next, in whatever process it was changed."""
    make_agent(model, user_prompt=make_prompt("before"))
    agent = get_agent("helper")
    for _ in range(5):
        agent.run()

    def change():
        with schema_context("north"):
            prompt = AgentConfig.objects.get().user_prompt
            prompt.versions.create(content="after", status="active")

    run_together([change])
    assert agent.run().content.endswith("You asked: after")


def test_a_hundred_tenants_worth_of_statements_is_too_many_to_keep_and_harms_nobody(model, monkeypatch):
    """psycopg lets go of what was used longest ago; here, of all but three."""
    for schema in ("north", "south"):
        with schema_context(schema):
            make_priced_agent(model)
    own = ledger_connection.own_connection()
    own.connection.prepared_max, own.connection.prepare_threshold = 3, 0
    for number in range(10):
        for schema in ("north", "south"):
            with schema_context(schema):
                model.script(QUARTER)
                get_agent("helper").run(f"{schema} {number}")
    assert len(prepared()) <= 5
    for schema in ("north", "south"):
        with schema_context(schema):
            assert Invocation.objects.filter(status="success").count() == 10
            assert Spend.objects.get(owner="provider").spent_usd == Decimal("2.5")
            assert not list(reconciliation.find_drift(schema))


def test_a_month_of_another_agent_is_left_alone(model, live_north):
    """Both months of a call are found by their whole keys."""
    provider = make_priced_agent(model).provider
    make_agent(model, "other", provider=provider)
    for name in ("helper", "other", "other"):
        model.script(QUARTER)
        get_agent(name).run("hi")
    Spend.objects.create(owner="agent", owner_id=provider.pk, owner_name="x", month_start=date(2020, 1, 1))
    model.script(QUARTER)
    get_agent("helper").run("hi")
    spent = {(row.owner_name, row.spent_usd) for row in Spend.objects.all()}
    quarter = Decimal("0.25")
    assert spent == {(provider.name, 4 * quarter), ("helper", 2 * quarter), ("other", 2 * quarter), ("x", 0)}


@pytest.mark.parametrize("schema", ["a  b", "nb\xa0sp", "100%", "%(key)s", "$1", 'a"b'])
def test_a_schemas_name_is_kept_to_the_letter(schema):
    """Whatever PostgreSQL takes as a name: else a run would be written into another tenant's."""
    quoted = tenancy.qualified(schema, "").removesuffix('.""')
    for sql in (
        reserve_round(schema, ("run_id",), ("number",), is_first=True, has_limits=True),
        settle_round(schema, ("status",), ("status",), has_adjustments=True, has_alerts=True, ends_run=True),
        agents._agent_query(schema),
    ):
        executed = writer._numbered(sql)[0].decode()
        assert executed.count(f"{quoted}.") == executed.count('."zango_ai_') > 4


def test_the_last_call_is_settled_also_where_the_runs_row_cannot_be_written_with_it(
    model, live_north, monkeypatch, caplog
):
    make_priced_agent(model)
    refuse(
        monkeypatch,
        DataError("a value that no column takes"),
        when=lambda params: settles(params) and "run_status" in params,
    )
    model.script(QUARTER)
    get_agent("helper").run("hi")
    row = Invocation.objects.get()
    assert (row.status, row.rounds.get().status, row.cost_usd) == ("success", "success", Decimal("0.25"))
    assert Spend.objects.get(owner="provider").spent_usd == Decimal("0.25")


def test_a_row_that_is_gone_when_its_run_ends_is_told_of(model, live_north, caplog):
    make_agent(model)
    model.script(Reply("late", delay_s=2))

    def delete():
        with schema_context("north"):
            model.wait_for_requests(1)
            Invocation.objects.all().delete()

    def ask():
        with schema_context("north"):
            assert get_agent("helper").run("hi").content == "late"

    run_together([ask, delete])
    assert "Could not write the end of run" in caplog.text


# How long the ledger's connection lives


@pytest.fixture
def max_age(request):
    """CONN_MAX_AGE as it is in a project that does not set it; neither connection is open."""
    before = connection.settings_dict["CONN_MAX_AGE"]
    connection.close()
    connection.settings_dict["CONN_MAX_AGE"] = 0
    yield
    connection.settings_dict["CONN_MAX_AGE"] = before
    connection.close()
    set_schema("north")


def test_a_run_connects_once_however_long_connections_are_kept(model, live_north, max_age, monkeypatch):
    """Asked for its age before each statement, a connection of age 0 was made anew four times."""
    make_agent(model)
    connection.close()
    own = ledger_connection.own_connection()
    opened, connect = [], own.connect
    monkeypatch.setattr(own, "connect", lambda: opened.append(1) or connect())
    own.close()
    get_agent("helper").run("hi")
    assert len(opened) == 1


def test_the_end_of_a_request_closes_it_also_where_nothing_else_was_asked(model, live_north, max_age):
    make_agent(model)
    connection.close()
    get_agent("helper").run("hi")
    assert connection.connection is None  # the run has not needed it
    own = ledger_connection.own_connection()
    close_old_connections()
    assert own.connection is None
    get_agent("helper").run("hi")
    connection.settings_dict["CONN_MAX_AGE"] = 60
    close_old_connections()
    assert own.connection is not None


# litellm's own records


@pytest.fixture
def heard():
    """What the project has registered with litellm hears."""
    litellm = litellm_import.load()
    told, is_told = [], threading.Event()

    class Listener(litellm.integrations.custom_logger.CustomLogger):
        def log_success_event(self, kwargs, response_obj, start_time, end_time):
            told.append((kwargs["model"], response_obj))
            is_told.set()

    before = {name: list(getattr(litellm, name)) for name in litellm_import.LISTENERS}
    litellm.callbacks = [Listener()]
    yield told, is_told
    for name, listeners in before.items():
        setattr(litellm, name, listeners)


def test_litellms_callbacks_hear_of_runs(model, live_north, heard):
    told, is_told = heard
    make_agent(model)
    get_agent("helper").run("hi")
    assert is_told.wait(20)
    assert told[0][0].endswith("gpt-4o-mini")
    assert told[0][1].choices[0].message.content.endswith("You asked: hi")


def test_without_one_litellm_keeps_no_record_of_a_call_and_prices_none(model, live_north, monkeypatch):
    from litellm.litellm_core_utils.litellm_logging import Logging

    def refuse(*args, **options):
        raise AssertionError("nobody listens")

    for name in ("success_handler", "failure_handler", "_response_cost_calculator"):
        monkeypatch.setattr(Logging, name, refuse)
    make_agent(model)
    gemini = make_provider(model, name="gemini", kind="gemini")
    make_agent(model, "gemini", provider=gemini)  # here litellm registers something of its own
    for name in ("helper", "gemini", "helper"):
        assert get_agent(name).run("hi").content.endswith("You asked: hi")
    model.script(Reply("no", status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("hi")


def test_a_time_limit_that_cuts_into_its_preparation_is_not_taken_for_its_fault(model, live_north, monkeypatch):
    utils = litellm_import.load().utils
    really, left = utils.function_setup, [1]

    def cut(*args, **options):
        if left:
            left.pop()
            raise SoftTimeLimitExceeded
        return really(*args, **options)

    monkeypatch.setattr(utils, "function_setup", cut)
    make_agent(model)
    with pytest.raises(SoftTimeLimitExceeded):
        get_agent("helper").run("hi")
    assert model.requests == []


def test_a_release_of_litellm_that_is_built_otherwise_is_asked_as_it_is():
    asked = {"model": "openai/gpt-4o-mini", "messages": []}
    assert litellm_logging.arguments_of(SimpleNamespace(utils=SimpleNamespace()), asked) == asked
