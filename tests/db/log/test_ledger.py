"""The rows of a run survive what happens around them. These tests commit: see live_tenants."""

import threading
from datetime import date
from decimal import Decimal
from functools import partial
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction

from tests.build import make_agent, make_prompt
from tests.children import child
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import get_agent
from zango_ai.database.ledger_connection import own_connection
from zango_ai.models import AgentConfig, Invocation, InvocationRound
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_tenants")


class Undo(Exception):
    pass


def test_the_row_is_running_while_the_provider_works(model, live_north):
    make_agent(model)
    seen = []

    def look():
        model.wait_for_requests(1)
        with schema_context("north"):
            seen.append((Invocation.objects.get().status, InvocationRound.objects.get().status))
        connection.close()

    model.script(Reply(delay_s=0.5))
    watcher = threading.Thread(target=look)
    watcher.start()
    get_agent("helper").run("hi")
    watcher.join()
    assert seen == [("running", "running")]
    assert Invocation.objects.get().status == "success"


def test_the_row_is_there_after_the_caller_rolls_back(model, live_north):
    make_agent(model)
    with pytest.raises(Undo), transaction.atomic():
        AgentConfig.objects.update(description="gone with the rollback")
        response = get_agent("helper").run("hi")
        raise Undo
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.rounds.count()) == ("success", 1)
    assert AgentConfig.objects.get().description == ""


def test_a_run_sees_what_its_caller_has_not_committed(model, live_north):
    with transaction.atomic():
        make_agent(model)
        assert get_agent("helper").run("hi").content


def test_no_lock_is_held_while_the_caller_goes_on(model, live_north):
    """The caller's transaction is open, and another thread's run is not kept waiting."""
    make_agent(model)
    done = []

    def other():
        with schema_context("north"):
            done.append(get_agent("helper").run("me too").content)
        connection.close()

    with transaction.atomic():
        get_agent("helper").run("hi")
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=20)
        assert len(done) == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_is_cancelled(model, live_north, monkeypatch, error):
    from zango_ai.providers.calls import PreparedCall

    make_agent(model)

    def interrupted(*args):
        raise error

    monkeypatch.setattr(PreparedCall, "send", interrupted)
    with pytest.raises(error) as caught:
        get_agent("helper").run("hi")
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.error_type) == ("cancelled", error.__name__)
    assert row.rounds.get().status == "cancelled"


class Awkward:
    def __str__(self):
        return "awkward"


AWKWARD = {
    "date": date(2026, 1, 2),
    "money": Decimal("1.10"),
    "uuid": uuid4(),
    "object": Awkward(),
    "nul": "a\x00b",
    "surrogate": "a\ud800b",
    "long": "x" * 3_000_000,
    "deep": [[[[["x"]]]]],
    "bytes": b"\xff\x00",
    3: float("inf"),
}


def test_no_value_keeps_the_row_from_being_written(model, live_north):
    names = [str(name) for name in AWKWARD]
    make_agent(model, user_prompt=make_prompt(" ".join(f"{{{{ {name} }}}}" for name in names)))
    values = {str(name): value for name, value in AWKWARD.items()}
    response = get_agent("helper").run(
        variables=values, system_variables={"unused": AWKWARD}, user_ref="u\x00" * 5000
    )
    row = Invocation.objects.get(pk=response.invocation_id)
    assert row.variables["date"] == "2026-01-02"
    assert row.variables["nul"] == "a\ufffdb"
    assert row.variables["object"] == "awkward"
    assert len(row.variables["long"]) == 3_000_000
    assert "2026-01-02 1.10" in row.rendered_user_prompt


def test_an_error_in_the_callers_own_value_is_the_callers_and_is_on_the_row(model, live_north):
    class Broken:
        def __str__(self):
            raise LookupError("cannot be shown")

    make_agent(model, user_prompt=make_prompt("{{ it }}"))
    with pytest.raises(LookupError) as caught:
        get_agent("helper").run(variables={"it": Broken()})
    assert Invocation.objects.get(pk=caught.value.invocation_id).error_type == "LookupError"


def test_a_process_killed_in_the_middle_of_a_call_leaves_a_running_row(model, live_north):
    """A row that is written when the call is over, as a naive log does, is not there at all."""
    make_agent(model, timeout_seconds=60)
    model.script(Reply(delay_s=60))
    with child('get_agent("helper").run("are you there?")') as process:
        model.wait_for_requests(1)
        process.kill()
        process.wait()
    row = Invocation.objects.get()
    assert (row.status, row.rendered_user_prompt, row.finished_at) == ("running", "are you there?", None)
    assert (row.rounds_count, row.rounds.get().status) == (1, "running")


def test_rows_are_written_in_the_schema_of_the_run(model):
    for schema in ("north", "south"):
        with schema_context(schema):
            make_agent(model)

    def work(schema, seen):
        with schema_context(schema):
            for number in range(10):
                seen.append(get_agent("helper").run(f"{schema} {number}").run_id)

    seen: dict[str, list] = {"north": [], "south": []}
    run_together(partial(work, s, seen[s]) for s in ("north", "south") for _ in range(3))
    for schema in ("north", "south"):
        with schema_context(schema):
            assert set(Invocation.objects.values_list("run_id", flat=True)) == set(seen[schema])
            assert len(seen[schema]) == 30
            asked = Invocation.objects.values_list("rendered_user_prompt", flat=True)
            assert all(text.startswith(schema) for text in asked)


def test_deleting_an_agent_leaves_its_history(model, live_north):
    make_agent(model)
    get_agent("helper").run("hi")
    AgentConfig.objects.all().delete()
    assert Invocation.objects.get().agent_name == "helper"


def test_a_caught_database_error_in_the_callers_transaction_does_not_lose_the_row(model, live_north):
    make_agent(model)
    agent = get_agent("helper")
    with transaction.atomic():
        with pytest.raises(IntegrityError), transaction.atomic():
            AgentConfig.objects.create(name="helper", provider=AgentConfig.objects.get().provider)
        response = agent.run("hi")
    assert Invocation.objects.get(pk=response.invocation_id).status == "success"


def test_the_ledgers_connection_is_closed_with_the_callers(model, live_north):
    make_agent(model)
    get_agent("helper").run("hi")
    backend = own_connection().connection.info.backend_pid
    assert backend in backends()
    connection.close()
    with schema_context("north"):
        assert backend not in backends()


def backends() -> set[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return {pid for (pid,) in cursor.fetchall()}


def test_threads_open_a_connection_each_at_most(model, live_north):
    make_agent(model)
    before = model.connections

    def work():
        with schema_context("north"):
            for _ in range(10):
                get_agent("helper").run("hi")

    run_together([work] * 8)
    assert len(model.requests) == 80
    assert model.connections - before <= 8
