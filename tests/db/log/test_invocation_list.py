"""The list of invocations in the admin: pages, filters and search, without counting and without reading texts."""

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.admin_pages import url
from zango_ai import tenancy
from zango_ai.admin import log_filters
from zango_ai.ledger import usage_upkeep
from zango_ai.models import Invocation

NOW = timezone.now()


def add(count=1, **columns):
    shared = {"agent_name": "helper", "provider_name": "main", "model": "small", "triggered_by": "user"}
    shared |= {"status": "success", "finished_at": NOW, "finished_on": NOW.date(), "cost_usd": 0}
    rows = Invocation.objects.bulk_create(Invocation(**{**shared, **columns}) for _ in range(count))
    if "created_at" in columns:
        Invocation.objects.filter(pk__in=[row.pk for row in rows]).update(created_at=columns["created_at"])
    usage_upkeep.correct(tenancy.current_schema())
    return rows


def listed(staff, query=""):
    """The page's list: what it shows, and the queries that read runs."""
    with CaptureQueriesContext(connection) as queries:
        page = staff.get(url("invocation_changelist") + query)
    assert page.status_code == 200
    read = [each["sql"] for each in queries if 'FROM "zango_ai_invocation"' in each["sql"]]
    return page.context["cl"], read


def keys(staff, query=""):
    return [run.pk for run in listed(staff, query)[0].result_list]


def test_pages_lead_back_and_forth_through_all_runs(staff):
    added = [run.pk for run in reversed(add(120))]
    shown, cl = [], listed(staff)[0]
    assert cl.newer is None
    shown += [run.pk for run in cl.result_list]
    while cl.older:
        cl = listed(staff, cl.older)[0]
        shown += [run.pk for run in cl.result_list]
    assert shown == added
    while cl.newer:
        cl = listed(staff, cl.newer)[0]
    assert [run.pk for run in cl.result_list] == added[:50]
    assert keys(staff, "?before=x") == added[:50]
    assert keys(staff, "?before=99999999999999999999") == added[:50]


def test_a_page_is_one_query_that_reads_no_texts_and_counts_nothing(staff):
    add(60, response_content="secret text")
    cl, read = listed(staff)
    assert len(read) == 1
    assert "COUNT(" not in read[0]
    for column in ("response_content", "rendered_system_prompt", "variables", "error_message", "resume_state"):
        assert f'"{column}"' not in read[0]
    assert cl.older == f"?before={cl.result_list[-1].pk}"


FILTERS = {
    "agent_name=other": {"agent_name": "other"},
    "provider_name=second": {"provider_name": "second"},
    "model=large": {"model": "large"},
    "status__exact=failed": {"status": "failed"},
    "triggered_by__exact=task": {"triggered_by": "task"},
    "memory=yes": {"session_id": "s"},
    "session_id=morning": {"session_id": "morning"},
    "user_ref=ada": {"user_ref": "ada"},
    "replays=only": {"replay_of_id": 1},
}


@pytest.mark.parametrize("query", FILTERS)
def test_each_filter_finds_its_runs(staff, query):
    add(2)
    (run,) = add(**FILTERS[query])
    assert keys(staff, f"?{query}") == [run.pk]
    assert keys(staff, f"?{query}&before={run.pk}") == []
    assert keys(staff, "?created=1") == keys(staff)


INVALID = {
    "created=tomorrow": 'The filter "date" cannot be "tomorrow". Use 1, 7 or 30 days, or a first and a last day',
    "created=2026-02-30..": 'The filter "date" cannot be "2026-02-30..".',
    "created=0001-01-01..": 'The filter "date" cannot be',
    "created=9999-12-31..": 'The filter "date" cannot be',
    "created=2026-11-30..2026-11-01": 'The filter "date" cannot be',
    "created_from=30.11.2026&created_to=": 'The filter "date" cannot be "30.11.2026..".',
    "memory=maybe": 'The filter "memory" cannot be "maybe". Use yes, no.',
    "replays=all": 'The filter "replays" cannot be "all". Use no, only.',
    "status__exact=broken": 'The filter "status" cannot be "broken". Use queued, running, ',
    "triggered_by__exact=me": 'The filter "triggered by" cannot be "me". Use user, ',
    "agent=helper": "The filters in the address are invalid. Choose them in the list.",
    "cost_usd__gt=much": "The filters in the address are invalid.",
    "q=a%00b": "The filters in the address are invalid.",
}


@pytest.mark.parametrize("query", INVALID)
def test_an_invalid_filter_is_never_ignored(staff, query):
    """The list says that it is not filtered, and what to do. The export would have more than was asked for."""
    add(2)
    page = staff.get(f"{url('invocation_changelist')}?model=small&{query}", follow=True)
    (message,) = map(str, page.context["messages"])
    assert message.startswith(INVALID[query])
    assert message.endswith(" The list is not filtered.")
    for kind in ("csv", "jsonl"):
        answer = staff.get(f"{url('invocation_export', kind)}?model=small&{query}")
        assert (answer.status_code, answer["Content-Type"]) == (400, "text/plain; charset=utf-8")
        text = answer.content.decode()
        assert text.startswith(INVALID[query])
        assert text.endswith(" Nothing was exported.")
    assert not list(staff.get(url("invocation_changelist")).context["messages"])
    assert not LogEntry.objects.exists()


def test_the_list_that_follows_an_invalid_filter_is_not_exported_by_its_address(staff):
    add(2)
    answer = staff.get(f"{url('invocation_changelist')}?memory=maybe")
    assert answer.status_code == 302
    assert staff.get(url("invocation_export", "csv") + answer.url[answer.url.index("?") :]).status_code == 400


def test_other_lists_say_that_they_are_not_filtered_too(staff):
    for query in ("is_enabled__exact=maybe", "unknown=1"):
        page = staff.get(f"{url('provider_changelist')}?{query}", follow=True)
        (message,) = map(str, page.context["messages"])
        assert message == (
            "The filters in the address are invalid. Choose them in the list. The list is not filtered."
        )


@pytest.mark.parametrize("name", ["session_id", "user_ref", "agent_name", "status__exact"])
def test_a_filter_with_a_character_that_no_run_has_is_refused(staff, name):
    assert staff.get(f"{url('invocation_changelist')}?{name}=a%00b").status_code == 302
    assert staff.get(f"{url('invocation_export', 'csv')}?{name}=a%00b").status_code == 400


@pytest.mark.parametrize(
    "page", ["agentconfig", "provider", "prompt", "tool", "memorysession", "toolcall", "spend"]
)
@pytest.mark.parametrize("query", ["q=a%00b", "is_enabled__exact=%00", "a%00b=1", "p=%00"])
def test_no_list_of_the_panel_fails_for_a_character_that_postgresql_does_not_store(staff, page, query):
    assert staff.get(f"{url(f'{page}_changelist')}?{query}", follow=True).status_code == 200


def test_replays_can_be_left_out(staff):
    (run,) = add()
    add(replay_of_id=run.pk)
    assert keys(staff, "?replays=no") == [run.pk]


def test_runs_without_memory(staff):
    (run,) = add()
    add(session_id="s")
    assert keys(staff, "?memory=no") == [run.pk]


def test_long_keys_with_the_same_start_are_told_apart(staff):
    (run,) = add(user_ref="u" * 80)
    add(user_ref="u" * 81)
    assert keys(staff, "?user_ref=" + "u" * 80) == [run.pk]


def test_dates_are_those_of_the_tenant(staff):
    midnight = datetime(2026, 3, 2, tzinfo=UTC) - timedelta(hours=1)  # in Berlin
    old = [add(created_at=midnight + timedelta(minutes=minutes))[0].pk for minutes in (-1, 0, 24 * 60 - 1, 24 * 60)]
    (today,) = add()
    assert keys(staff, "?created=2026-03-02..2026-03-02") == [old[2], old[1]]
    assert keys(staff, "?created=2026-03-02..") == [today.pk, *old[:0:-1]]
    assert keys(staff, "?created=..2026-03-01") == [old[0]]
    assert keys(staff, "?created=7") == [today.pk]
    assert keys(staff, "?created=2030-01-01..") == []


@pytest.mark.parametrize(
    ("days", "english", "german"),
    [
        ("2026-03-01..2026-03-02", "2026-03-01 to 2026-03-02", "2026-03-01 bis 2026-03-02"),
        ("2026-03-01..", "From 2026-03-01", "Ab 2026-03-01"),
        ("..2026-03-02", "Until 2026-03-02", "Bis 2026-03-02"),
    ],
)
def test_the_chosen_days_are_named_in_the_language_of_the_user(staff, days, english, german):
    for language, text in (("en", english), ("de", german)):
        page = staff.get(f"{url('invocation_changelist')}?created={days}", headers={"accept-language": language})
        assert f"<b>{text}</b>" in page.content.decode()


def test_search_finds_the_id_the_run_id_the_session_and_the_user(staff):
    first, second, third = (add(**columns)[0] for columns in ({}, {"session_id": "s 1"}, {"user_ref": "ada"}))
    add()
    assert keys(staff, f"?q={first.pk}") == [first.pk]
    assert keys(staff, f"?q={second.run_id}") == [second.pk]
    assert keys(staff, "?q=s+1") == [second.pk]
    assert keys(staff, "?q=ada+") == [third.pk]
    assert keys(staff, "?q=nobody") == []
    Invocation.objects.filter(pk=third.pk).update(user_ref=str(first.pk))
    assert keys(staff, f"?q={first.pk}") == [third.pk, first.pk]


def test_filters_offer_what_was_used_without_reading_the_log(staff):
    add(agent_name="first")
    add(agent_name="second", provider_name="other")
    cl, read = listed(staff, "?agent_name=first")
    offered = {
        spec.parameter_name: dict(spec.lookup_choices)
        for spec in cl.filter_specs
        if hasattr(spec, "lookup_choices")
    }
    assert list(offered["agent_name"]) == ["first", "second"]
    assert list(offered["provider_name"]) == ["main", "other"]
    assert len(read) == 1


def test_a_filter_plans_with_its_index(staff):
    """With sequential scans off, PostgreSQL shows which index the query can use."""
    add(300, session_id="another", user_ref="bob")
    wanted = {
        "zango_ai_inv_session": log_filters.is_text("session_id", "s"),
        "zango_ai_inv_by_user": log_filters.is_text("user_ref", "ada"),
        "zango_ai_inv_only_replays": Q(replay_of__isnull=False),
    }
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE zango_ai_invocation")
        cursor.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
        )
    for index, condition in wanted.items():
        plan = Invocation.objects.filter(condition).order_by("-pk")[:50].explain()
        assert index in plan
        assert "Sort" not in plan
