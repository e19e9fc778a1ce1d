"""Inside TestCase and pytest-django's db the log works in the test's own transaction."""

from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test import TestCase, override_settings

from tests.build import QUARTER, make_agent, make_priced_agent
from tests.schemas import schema_context
from tests.workers import app
from zango_ai import get_agent, get_run
from zango_ai.exceptions import BudgetExceeded, LLMAPIError, RateLimitExceeded
from zango_ai.ledger import reconciliation
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, Provider, RateLimitState, Spend
from zango_ai.testing import ModelServer, Reply


class Undo(Exception):
    pass


def test_a_rollback_inside_the_test_takes_the_callers_rows_and_leaves_the_log(model, north):
    make_agent(model)
    with pytest.raises(Undo), transaction.atomic():
        AgentConfig.objects.update(description="undone")
        with transaction.atomic():
            response = get_agent("helper").run("one")
        get_agent("helper").run("two")
        raise Undo
    assert AgentConfig.objects.get().description == ""
    row = Invocation.objects.get(pk=response.invocation_id)
    assert (row.status, row.run_id, row.rounds.count()) == ("success", response.run_id, 1)
    assert sorted(Invocation.objects.values_list("rendered_user_prompt", flat=True)) == ["one", "two"]


def test_a_rollback_to_a_savepoint_set_by_hand_leaves_the_log(model, north):
    make_agent(model)
    first = get_agent("helper").run("one")
    sid = connection.savepoint()
    second = get_agent("helper").run("two")
    connection.savepoint_rollback(sid)
    assert set(Invocation.objects.values_list("id", flat=True)) == {first.invocation_id, second.invocation_id}


def test_nested_rollbacks_write_a_row_once(model, north):
    make_agent(model)
    with pytest.raises(Undo), transaction.atomic():
        with pytest.raises(Undo), transaction.atomic():
            get_agent("helper").run("one")
            raise Undo
        raise Undo
    assert Invocation.objects.count() == 1


def test_budgets_and_limits_hold_inside_a_test_and_outlive_a_rollback_in_it(model, north):
    make_priced_agent(model, monthly_budget_usd="0.5", rate_limit_rpm=3)
    model.script(QUARTER, QUARTER)
    with pytest.raises(Undo), transaction.atomic():
        get_agent("helper").run("one")
        raise Undo
    counter = Spend.objects.get(owner="provider")
    assert (counter.spent_usd, counter.reserved_usd) == (Decimal("0.25"), 0)
    get_agent("helper").run("two")
    with pytest.raises(BudgetExceeded), transaction.atomic():
        get_agent("helper").run("three")
    Provider.objects.update(monthly_budget_usd=None)
    get_agent("helper").run("four")
    with pytest.raises(RateLimitExceeded), transaction.atomic():
        get_agent("helper").run("five")
    statuses = Invocation.objects.order_by("id").values_list("status", flat=True)
    assert list(statuses) == ["success", "success", "budget_exceeded", "success", "rate_limited"]
    assert list(reconciliation.find_drift("north")) == []


def test_an_error_of_the_vendors_inside_a_rolled_back_block_stays_in_the_log(model, north):
    make_priced_agent(model, monthly_budget_usd="5", max_retries=1)
    model.script(Reply("down", status=503, headers={"retry-after": "0"}), Reply("bad", status=400))
    with pytest.raises(LLMAPIError), transaction.atomic():
        get_agent("helper").run("one")
    row = Invocation.objects.get()
    assert (row.status, row.rounds_count, row.rounds.count()) == ("failed", 2, 2)
    assert list(reconciliation.find_drift("north")) == []


def test_a_conversation_inside_a_test_outlives_a_rollback_in_it(model, north):
    make_agent(model, short_term_memory=True)
    with pytest.raises(Undo), transaction.atomic():
        session_id = get_agent("helper").run("one", session_id="s").session_id
        get_agent("helper").run("two", session_id=session_id)
        raise Undo
    get_agent("helper").run("three", session_id="s")
    assert len(model.requests[-1].body["messages"]) == 5
    assert list(MemoryMessage.objects.values_list("sequence", flat=True)) == [1, 2, 3, 4, 5, 6]
    assert get_agent("helper").clear_session("s")
    assert MemoryMessage.objects.count() == 0


def test_the_test_before_left_nothing(north):
    assert Invocation.objects.count() == Spend.objects.count() == RateLimitState.objects.count() == 0


def test_nothing_is_written_on_a_second_connection(model, north):
    make_agent(model)
    get_agent("helper").run("one")
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend'"  # and not autovacuum
        )
        assert cursor.fetchone()[0] == 1


@pytest.mark.usefixtures("tenants")
class InATestCase(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.server = ModelServer().start()
        cls.addClassCleanup(cls.server.stop)
        allowed = override_settings(ZANGO_AI={"ALLOWED_API_BASES": [cls.server.url]})
        allowed.enable()
        cls.addClassCleanup(allowed.disable)
        with schema_context("north"):
            make_agent(cls.server)
            get_agent("helper").run("for all tests")

    def test_a_run_is_in_the_log(self):
        with schema_context("north"):
            get_agent("helper").run("a")
            self.assertEqual(Invocation.objects.count(), 2)

    def test_a_run_is_in_the_log_after_a_rollback_and_gone_with_the_test(self):
        with schema_context("north"):
            with self.assertRaises(Undo), transaction.atomic():
                get_agent("helper").run("b")
                raise Undo
            self.assertEqual(Invocation.objects.count(), 2)


def test_a_run_in_the_background_is_run_by_eager_celery_with_the_tests_commit(
    model, north, django_capture_on_commit_callbacks
):
    make_agent(model)
    with app("memory://") as made:
        made.conf.task_always_eager = True
        with django_capture_on_commit_callbacks(execute=True):
            run = get_agent("helper").enqueue("hi")
            assert run.status == "queued"
            model.script("here")
        assert run.response().content == "here"
    assert get_run(run.run_id).status == "success"
