"""Conversations that agents remember. These tests commit, since what is remembered outlives transactions."""

import json
import threading
import time
from datetime import timedelta
from functools import partial
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings

from tests.build import make_agent, make_priced_agent, make_prompt, make_provider
from tests.children import child, said
from tests.pure.runs.test_memory_window import talks
from tests.schemas import needs_tenants, schema_context
from tests.together import run_together
from zango_ai import LLMFile, LLMMessage, get_agent
from zango_ai.database import ledger_connection
from zango_ai.exceptions import LLMAPIError, OutputParseError, SessionNotOwned, WrongTenant
from zango_ai.memory import sessions
from zango_ai.models import AgentConfig, Invocation, MemoryMessage, MemorySession, Provider
from zango_ai.testing import Reply

pytestmark = pytest.mark.usefixtures("live_north")


def make_chat(model, name="helper", **fields):
    return make_agent(model, name, short_term_memory=True, **fields)


def sent(model) -> list[tuple[str, str]]:
    """Roles and texts of the last request."""
    return [(message["role"], message["content"]) for message in model.requests[-1].body["messages"]]


def stored(session_id, agent="helper") -> list[tuple[int, str, str]]:
    rows = MemoryMessage.objects.filter(session__session_id=session_id, session__agent__name=agent)
    return list(rows.order_by("sequence").values_list("sequence", "role", "content"))


def test_a_conversation_goes_on_where_it_was(model):
    make_chat(model, system_prompt=make_prompt("Be kind.", "system"))
    model.script("Hello Ada.", "Ada.")
    first = get_agent("helper").run("I am Ada.", user_ref="7")
    second = get_agent("helper").run("Who am I?", session_id=first.session_id, user_ref="7")
    assert second.session_id == first.session_id
    assert sent(model) == [
        ("system", "Be kind."),
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I?"),
    ]
    assert stored(first.session_id) == [
        (1, "user", "I am Ada."),
        (2, "assistant", "Hello Ada."),
        (3, "user", "Who am I?"),
        (4, "assistant", "Ada."),
    ]
    rows = Invocation.objects.order_by("id")
    assert [row.session_id for row in rows] == [first.session_id] * 2
    assert list(MemoryMessage.objects.values_list("invocation", flat=True).distinct().order_by("invocation")) == [
        row.pk for row in rows
    ]
    assert MemorySession.objects.get().user_ref == "7"


def test_without_memory_nothing_is_stored(model):
    make_agent(model)
    response = get_agent("helper").run("hi", session_id="mine")
    assert response.session_id is None
    assert (MemorySession.objects.count(), Invocation.objects.get().session_id) == (0, None)


def test_ids_that_are_made_cannot_be_guessed(model):
    make_chat(model)
    made = {get_agent("helper").run("hi").session_id for _ in range(5)}
    assert len(made) == 5
    assert all(len(each) >= 32 for each in made)


def test_an_id_of_ones_own_begins_a_conversation(model):
    make_chat(model)
    assert get_agent("helper").run("hi", session_id="ticket 4711 ü").session_id == "ticket 4711 ü"
    get_agent("helper").run("again", session_id="ticket 4711 ü")
    assert len(sent(model)) == 3
    get_agent("helper").run("x", session_id="s" * 255)


@pytest.mark.parametrize("wrong", ["", "a" * 256, "a\nb", "a\x00", "\ud800", "a\u200bb"])
def test_an_id_that_is_none_is_a_value_error_with_a_row(model, wrong):
    make_chat(model)
    with pytest.raises(ValueError, match="printable") as caught:
        get_agent("helper").run("hi", session_id=wrong)
    assert Invocation.objects.get(pk=caught.value.invocation_id).status == "failed"
    assert model.requests == []
    with pytest.raises(TypeError):
        get_agent("helper").run("hi", session_id=7)


@needs_tenants
def test_a_session_belongs_to_one_agent_in_one_tenant(model):
    make_chat(model)
    make_agent(model, "other", provider=Provider.objects.get(), short_term_memory=True)
    with schema_context("south"):
        make_chat(model)
    get_agent("helper").run("of the helper", session_id="same")
    for schema, name in (("north", "other"), ("south", "helper")):
        with schema_context(schema):
            get_agent(name).run("hi", session_id="same")
            assert sent(model) == [("user", "hi")]
            assert len(stored("same", name)) == 2


# Whose it is


@pytest.mark.parametrize("other", ["8", "", None, " 7"])
def test_who_opened_a_session_alone_continues_it(model, other):
    make_chat(model)
    get_agent("helper").run("secret", session_id="s", user_ref="7")
    before = len(model.requests)
    with pytest.raises(SessionNotOwned) as caught:
        get_agent("helper").run("what was it?", session_id="s", user_ref=other)
    assert caught.value.session_id == "s"
    assert "secret" not in str(caught.value)
    row = Invocation.objects.get(pk=caught.value.invocation_id)
    assert (row.status, row.error_type) == ("failed", "SessionNotOwned")
    assert len(model.requests) == before
    assert len(stored("s")) == 2
    get_agent("helper").run("it is me", session_id="s", user_ref=7)
    assert len(stored("s")) == 4


def test_a_session_that_nobody_opened_is_open_to_any(model):
    make_chat(model)
    get_agent("helper").run("hi", session_id="s")
    get_agent("helper").run("hi", session_id="s", user_ref="7")
    get_agent("helper").run("hi", session_id="s")
    assert len(stored("s")) == 6


def test_of_two_that_open_the_same_id_at_once_one_owns_it(model):
    make_chat(model)
    get_agent("helper").run("warm")
    model.reset()
    model.script(*[Reply(delay_s=0.3)] * 8)
    outcomes = []

    def open_as(who):
        with schema_context("north"):
            try:
                get_agent("helper").run(f"I am {who}", session_id="race", user_ref=who)
                outcomes.append(who)
            except SessionNotOwned:
                outcomes.append(None)

    run_together([lambda who=who: open_as(who) for who in "abcdefgh"])
    owner = MemorySession.objects.get(session_id="race").user_ref
    assert [who for who in outcomes if who] == [owner]
    assert [text for _, role, text in stored("race") if role == "user"] == [f"I am {owner}"]


# Clearing


def test_a_cleared_session_is_empty_and_begins_anew(model):
    make_chat(model)
    agent = get_agent("helper")
    agent.run("secret", session_id="s", user_ref="7")
    assert agent.clear_session("s") is True
    row = MemorySession.objects.get()
    assert (row.is_active, row.messages.count()) == (False, 0)
    assert agent.clear_session("s") is False
    assert agent.clear_session("another") is False
    agent.run("hi", session_id="s", user_ref="8")
    assert sent(model) == [("user", "hi")]
    row.refresh_from_db()
    assert (row.is_active, row.user_ref) == (True, "8")
    assert [sequence for sequence, *_ in stored("s")] == [1, 2]


def test_a_run_under_way_writes_nothing_into_a_session_that_was_cleared(model):
    """Cleared also means: not brought back a second later."""
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    model.reset()
    model.script(Reply("late", delay_s=0.6))

    def ask():
        with schema_context("north"):
            get_agent("helper").run("two", session_id="s")

    def clear():
        model.wait_for_requests(1)
        with schema_context("north"):
            assert get_agent("helper").clear_session("s")
            get_agent("helper").run("three", session_id="s")

    run_together([ask, clear])
    assert [text for _, role, text in stored("s") if role == "user"] == ["three"]


@needs_tenants
def test_clearing_is_for_the_agents_tenant_and_for_ids(model):
    make_chat(model)
    agent = get_agent("helper")
    with schema_context("south"), pytest.raises(WrongTenant):
        agent.clear_session("s")
    with pytest.raises(ValueError, match="printable"):
        agent.clear_session("")


# What is remembered


def test_a_turn_that_failed_at_the_provider_is_not_remembered(model):
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    model.script(Reply("down", status=400))
    with pytest.raises(LLMAPIError):
        get_agent("helper").run("two", session_id="s")
    assert [text for _, role, text in stored("s") if role == "user"] == ["one"]


@pytest.mark.parametrize("answer", ["no JSON at all", ""])
def test_a_turn_whose_answer_does_not_parse_is_remembered(model, answer):
    make_chat(model, output_schema="json")
    model.script(answer)
    with pytest.raises(OutputParseError):
        get_agent("helper").run("as json", session_id="s")
    assert stored("s") == [(1, "user", "as json"), (2, "assistant", answer)]
    model.script("{}")
    get_agent("helper").run("again as json", session_id="s")
    texts = [text for _, text in sent(model)]
    assert texts == (["as json", answer] if answer else []) + ["again as json"]


def test_given_messages_come_after_the_history_and_are_remembered(model):
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    model.script("five")
    given = [LLMMessage("user", "two"), LLMMessage("assistant", "three"), LLMMessage("user", "four")]
    get_agent("helper").run(messages=given, session_id="s")
    assert sent(model)[0] == ("user", "one")
    assert [text for _, text in sent(model)][2:] == ["two", "three", "four"]
    assert [text for *_, text in stored("s")][2:] == ["two", "three", "four", "five"]


def test_rendered_prompts_are_remembered_as_they_were_sent(model):
    make_chat(model, user_prompt=make_prompt("Look up {{ id }}."))
    get_agent("helper").run(variables={"id": 42}, session_id="s")
    assert stored("s")[0] == (1, "user", "Look up 42.")


def test_files_are_remembered_by_name_and_not_as_bytes(model):
    make_chat(model)
    model.script("I have read it.")
    files = [LLMFile.from_bytes(b"only-in-the-file", "text/plain", "a.txt"), LLMFile.from_bytes(b"x,y", "text/csv")]
    get_agent("helper").run("Read it.", files=files, session_id="s")
    assert stored("s")[0][2] == "Read it.\n[file: attachment] a.txt\n[file: attachment]"
    get_agent("helper").run("And?", session_id="s")
    assert "only-in-the-file" not in json.dumps(sent(model))


def test_only_the_newest_pairs_are_sent(model):
    make_chat(model, short_term_memory_max_messages=2)
    for number in range(5):
        get_agent("helper").run(f"q{number}", session_id="s")
    asked = [text for role, text in sent(model) if role == "user"]
    assert asked == ["q2", "q3", "q4"]
    assert len(stored("s")) == 10


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_no_vendor_refuses_what_is_sent_after_any_history(model, kind):
    """The local model server refuses what the vendor refuses: orphaned results, calls without one, empty texts."""
    agent = make_chat(model, provider=make_provider(model, kind=kind), short_term_memory_max_messages=4)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(talks())
    def check(kept):
        MemoryMessage.objects.all().delete()
        MemorySession.objects.all().delete()
        if kept:
            sessions.store_turn("north", sessions.Session(agent.pk, "s", "", 1, is_new=True), kept, -1)
        response = get_agent("helper").run("And now?", session_id="s")
        assert response.content

    check()


def test_the_local_model_server_refuses_what_the_vendors_refuse(model):
    make_agent(model)
    orphan = [LLMMessage("user", "hi"), LLMMessage("tool", "done", tool_call_id="1")]
    with pytest.raises(LLMAPIError) as caught:
        get_agent("helper").run(messages=orphan)
    assert caught.value.status_code == 400


# Transactions, threads, processes, trouble


def test_a_turn_is_remembered_when_the_caller_rolls_back(model):
    """The answer was given, and paid for: the session id that came with it leads to what was said."""
    make_chat(model)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        response = get_agent("helper").run("hi")
        raise ZeroDivisionError
    assert len(stored(response.session_id)) == 2


def test_nobody_waits_for_a_session_while_its_last_caller_goes_on(model):
    make_chat(model)
    done = []

    def other():
        with schema_context("north"):
            done.append(get_agent("helper").run("two", session_id="s").content)

    with transaction.atomic():
        get_agent("helper").run("one", session_id="s")
        run_together([other])
        assert len(done) == 1
    assert len(stored("s")) == 4


def test_a_caller_that_has_just_made_the_agent_can_talk_to_it(model):
    with transaction.atomic():
        make_chat(model)
        get_agent("helper").run("one", session_id="s")
        get_agent("helper").run("two", session_id="s")
        assert len(sent(model)) == 3
        assert get_agent("helper").clear_session("s")


def test_processes_on_one_session_lose_nothing_and_repeat_no_number(model):
    """Numbers that are counted before they are written are given twice, and one of the turns is lost."""
    make_chat(model)
    get_agent("helper").run("first", session_id="s")
    model.delay_s = 0.02
    code = """
import sys
from tests.together import run_together
from zango_ai.providers import litellm_import
litellm_import.load()
def talk():
    with schema_context("north"):
        for number in range(6):
            get_agent("helper").run("hi", session_id="s")
run_together([talk] * 4)
"""
    try:
        with child(code) as one, child(code) as two:
            said(one), said(two)
    finally:
        model.delay_s = 0.0
    rows = stored("s")
    assert [sequence for sequence, *_ in rows] == list(range(1, 2 * 49 + 1))
    assert [role for _, role, _ in rows] == ["user", "assistant"] * 49
    written_by = list(MemoryMessage.objects.order_by("sequence").values_list("invocation", flat=True))
    assert written_by[::2] == written_by[1::2]  # no turn inside another
    assert MemorySession.objects.get().turns_count == 49


def test_turns_are_in_the_order_in_which_they_ended(model):
    make_chat(model)
    get_agent("helper").run("first", session_id="s")
    model.reset()
    model.script(Reply("slow", delay_s=0.8), Reply("quick"))

    def slow():
        with schema_context("north"):
            get_agent("helper").run("slow one", session_id="s")

    def quick():
        model.wait_for_requests(1)
        with schema_context("north"):
            get_agent("helper").run("quick one", session_id="s")

    run_together([slow, quick])
    assert [text for *_, text in stored("s")][2:] == ["quick one", "quick", "slow one", "slow"]


def test_a_turn_whose_writing_was_not_confirmed_is_there_once(model, monkeypatch):
    from django.db import OperationalError

    from zango_ai.database import writer

    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    really, left = writer.execute_on, [1]

    def once(own, sql, params):
        rows = really(own, sql, params)
        if "roles" in params and left:
            left.pop()
            ledger_connection.own_connection().close()
            raise OperationalError("server closed the connection unexpectedly")
        return rows

    monkeypatch.setattr(writer, "execute_on", once)
    get_agent("helper").run("two", session_id="s")
    assert not left
    assert [sequence for sequence, *_ in stored("s")] == [1, 2, 3, 4]


def test_a_turn_that_cannot_be_written_is_logged_and_the_answer_is_returned(model, monkeypatch, caplog):
    from django.db import DataError

    def fail(*args):
        raise DataError("no")

    make_chat(model)
    monkeypatch.setattr(sessions, "store_turn", fail)
    assert get_agent("helper").run("hi").content
    assert Invocation.objects.get().status == "success"
    assert "Could not write the end of run" in caplog.text


# Growth and age


def fill(agent, session_id, pairs):
    """A session with so many pairs."""
    session = sessions.Session(agent.pk, session_id, "", 1)
    MemorySession.objects.create(agent=agent, session_id=session_id, generation=1, last_active_at=timezone.now())
    turn = [LLMMessage("user", "q" * 200), LLMMessage("assistant", "a" * 200)]
    for number in range(pairs):
        sessions.store_turn("north", session, turn, -number)


def test_a_long_session_costs_no_more_statements_and_reads_no_more_rows(model):
    agent = make_chat(model)
    counts, read = [], []
    for session_id, pairs in (("short", 20), ("long", 1000)):
        fill(agent, session_id, pairs)
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE north.zango_ai_memorymessage")
        get_agent("helper").run("warm", session_id=session_id)
        with CaptureQueriesContext(connection) as asked:
            get_agent("helper").run("hi", session_id=session_id)
        counts.append(len(asked))
        arguments = {"agent": agent.pk, "session": session_id, "user": "", "pairs": 20}
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sessions._fetch_sql('north')}", arguments)
            plan = cursor.fetchone()[0]
            read.append(rows_read((json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]))
    assert counts[0] == counts[1]
    assert max(read) <= 3 * 20 * 2 + 10  # of 2000


def test_messages_that_were_written_by_other_means_are_recalled_and_continued(model):
    """As an import from another system does it, by the fields that the reference names."""
    agent = make_chat(model, short_term_memory_max_messages=2)
    session = MemorySession.objects.create(agent=agent, session_id="s", last_active_at=timezone.now())
    for number in range(1, 9):
        role = "user" if number % 2 else "assistant"
        MemoryMessage.objects.create(session=session, sequence=number, role=role, content=f"m{number}")
    get_agent("helper").run("now", session_id="s")
    assert [text for _, text in sent(model)] == ["m5", "m6", "m7", "m8", "now"]
    get_agent("helper").run("again", session_id="s")
    assert [text for _, text in sent(model)][:3] == ["m7", "m8", "now"]
    assert [sequence for sequence, *_ in stored("s")] == list(range(1, 13))


def test_given_messages_are_as_many_turns_as_they_hold(model):
    make_chat(model, short_term_memory_max_messages=2)
    talk = [LLMMessage("user", "1"), LLMMessage("assistant", "2"), LLMMessage("user", "3")]
    get_agent("helper").run(messages=[*talk, LLMMessage("assistant", "4"), LLMMessage("user", "5")], session_id="s")
    get_agent("helper").run("six", session_id="s")
    assert [text for _, text in sent(model)][:3] == ["3", "4", "5"]


@pytest.mark.parametrize("times", [2, 3, 6])
def test_a_turn_with_several_messages_of_the_user_is_sent_whole(model, times):
    make_chat(model, short_term_memory_max_messages=2)
    for number in range(4):
        asked = [LLMMessage("user", f"{number}.{part}") for part in range(times)]
        get_agent("helper").run(messages=asked, session_id="s")
    get_agent("helper").run("now", session_id="s")
    told = [text for role, text in sent(model) if role == "user"]
    assert told == ["\n\n".join(f"{number}.{part}" for part in range(times)) for number in (2, 3)] + ["now"]


def test_turns_without_an_answer_take_no_place_of_others(model):
    agent = make_chat(model, short_term_memory_max_messages=2)
    fill(agent, "s", 3)
    session = MemorySession.objects.get()
    for number in range(7, 15):
        MemoryMessage.objects.create(
            session=session, sequence=number, role="user" if number % 2 else "assistant", content=""
        )
    MemorySession.objects.update(last_sequence=14)
    get_agent("helper").run("now", session_id="s")
    assert [text[0] for _, text in sent(model)] == ["q", "a", "q", "a", "n"]


def rows_read(plan) -> int:
    """Rows of tables that a part of the plan, and those below it, have looked at."""
    here = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) if "Relation Name" in plan else 0
    return int(here) + sum(map(rows_read, plan.get("Plans", ())))


def test_sessions_that_are_idle_for_long_are_deleted(model, settings, monkeypatch):
    make_chat(model)
    for session_id in ("old", "older", "young"):
        get_agent("helper").run("hi", session_id=session_id)
    old = MemorySession.objects.filter(session_id__startswith="old")
    old.update(last_active_at=F("last_active_at") - timedelta(days=31))
    call_command("zango_ai_maintain", verbosity=0)
    assert MemorySession.objects.count() == 3  # off by default
    settings.ZANGO_AI = {**settings.ZANGO_AI, "SESSION_TTL_DAYS": 30}
    monkeypatch.setattr(sessions, "_BATCH", 1)
    out = StringIO()
    call_command("zango_ai_maintain", stdout=out)
    assert out.getvalue() == "north: 2 idle conversations deleted\n"
    assert [row.session_id for row in MemorySession.objects.all()] == ["young"]
    assert MemoryMessage.objects.count() == 2
    get_agent("helper").run("hi", session_id="old")
    assert sent(model) == [("user", "hi")]


@pytest.mark.parametrize("reopened", [False, True])
def test_a_run_that_is_under_way_when_its_session_is_deleted_writes_nothing(model, reopened):
    """Least of all into what another user has begun under the same id meanwhile."""
    make_chat(model)
    get_agent("helper").run("one", session_id="s", user_ref="7")
    model.reset()
    model.script(Reply("late", delay_s=0.6))

    def ask():
        with schema_context("north"):
            get_agent("helper").run("my secret", session_id="s", user_ref="7")

    def delete():
        model.wait_for_requests(1)
        with schema_context("north"):
            sessions.delete_idle("north", -1)
            if reopened:
                get_agent("helper").run("another's", session_id="s", user_ref="8")

    run_together([ask, delete])
    assert [text for _, role, text in stored("s") if role == "user"] == (["another's"] if reopened else [])


def test_clearing_while_others_talk_leaves_nothing_behind(model):
    """A delete that sees the messages as they were before it waited leaves one turn to whoever comes next."""
    make_chat(model)
    get_agent("helper").run("warm")
    failures = []

    def talk(who):
        with schema_context("north"):
            for number in range(40):
                try:
                    get_agent("helper").run(f"{who} {number}", session_id="s")
                except Exception as exc:
                    failures.append(exc)

    def clear():
        with schema_context("north"):
            for _ in range(150):
                get_agent("helper").clear_session("s")

    run_together([partial(talk, "a"), partial(talk, "b"), partial(talk, "c"), clear])
    assert failures == []
    sequences = [sequence for sequence, *_ in stored("s")]
    assert sequences == list(range(1, len(sequences) + 1))
    get_agent("helper").clear_session("s")
    assert stored("s") == []


def test_a_clear_that_waits_for_a_turn_deletes_it_too(model):
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    session = MemorySession.objects.get()
    held, cleared = threading.Event(), []

    def write():
        with schema_context("north"), transaction.atomic():
            MemorySession.objects.select_for_update().get(pk=session.pk)
            held.set()
            time.sleep(0.5)
            MemoryMessage.objects.create(session=session, sequence=3, role="user", content="secret")

    def clear():
        held.wait(10)
        with schema_context("north"):
            cleared.append(get_agent("helper").clear_session("s"))

    run_together([write, clear])
    assert cleared == [True]
    assert stored("s") == []


def test_a_lock_of_the_callers_own_delays_a_run_by_no_more_than_the_locks_timeout(model, caplog):
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    started = time.monotonic()
    with transaction.atomic():
        MemorySession.objects.select_for_update().get()
        assert get_agent("helper").run("two", session_id="s").content
    assert time.monotonic() - started < 2 * ledger_connection.LOCK_TIMEOUT_MS / 1000
    assert "Could not write the end of run" in caplog.text


def test_an_agent_that_is_talked_to_can_be_deleted_and_nothing_stays(model):
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    model.reset()
    model.script(Reply("late", delay_s=0.5))

    def ask():
        with schema_context("north"):
            get_agent("helper").run("two")

    def delete():
        model.wait_for_requests(1)
        with schema_context("north"):
            AgentConfig.objects.get().delete()

    run_together([ask, delete])
    MemorySession.objects.update(last_active_at=F("last_active_at") - timedelta(hours=2))
    call_command("zango_ai_maintain", verbosity=0)
    assert (MemorySession.objects.count(), MemoryMessage.objects.count()) == (0, 0)


@pytest.mark.parametrize("wrong", ["a\x00", "\ud800"])
def test_a_user_who_cannot_be_stored_owns_no_session(model, wrong):
    """Stored as something else, he would be somebody else."""
    make_chat(model)
    with pytest.raises(ValueError, match="user_ref"):
        get_agent("helper").run("hi", session_id="s", user_ref=wrong)


def test_deleting_an_agent_deletes_its_conversations(model):
    make_chat(model)
    get_agent("helper").run("hi")
    AgentConfig.objects.all().delete()
    assert (MemorySession.objects.count(), MemoryMessage.objects.count()) == (0, 0)
    assert Invocation.objects.count() == 1


def test_a_refused_run_leaves_its_session_as_it_was(model):
    make_priced_agent(model, monthly_budget_usd="0.3", short_term_memory=True)
    get_agent("helper").run("one", session_id="s", user_ref="7")
    AgentConfig.objects.update(monthly_budget_usd=0)
    with pytest.raises(Exception, match="budget"):
        get_agent("helper").run("two", session_id="s", user_ref="7")
    assert len(stored("s")) == 2


def test_when_it_was_last_active_is_known(model):
    make_chat(model)
    get_agent("helper").run("one", session_id="s")
    before = MemorySession.objects.get().last_active_at
    time.sleep(0.01)
    get_agent("helper").run("two", session_id="s")
    assert MemorySession.objects.get().last_active_at > before


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_turn_is_stored_before_the_row_says_that_the_run_has_ended(model, monkeypatch, output):
    make_chat(model, output_schema=output)
    really, seen = sessions.store_turn, []

    def store_turn(schema, session, turn, invocation_id, user_ref):
        seen.append(Invocation.objects.get(pk=invocation_id).status)
        really(schema, session, turn, invocation_id, user_ref)

    monkeypatch.setattr(sessions, "store_turn", store_turn)
    model.script('{"a": 1}', '{"a": 2}')
    get_agent("helper").run("one", session_id="s")
    get_agent("helper").run("two", session_id="s")
    assert seen == ["running", "running"]
    assert Invocation.objects.filter(status="success").count() == 2
    assert len(stored("s")) == 4
