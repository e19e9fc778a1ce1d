"""Old texts and rows go after their time; what was spent stays counted. These tests commit."""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F, Sum

from tests.build import QUARTER, make_agent_with, make_prompt, price_models
from tests.db.log.test_maintenance import maintained
from tests.db.log.test_reconcile import reconciled
from zango_ai import LLMFile, get_agent, tool
from zango_ai.ledger import retention
from zango_ai.models import (
    Invocation,
    InvocationFile,
    InvocationRound,
    MemoryMessage,
    MemorySession,
    Payload,
    Spend,
    ToolCall,
    UsageRollup,
)
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")
SECRET = "the patient's secret, which is long enough to be stored apart from the row of its round"


@tool(description="Look something up.")
def recall_text(text: str) -> str:
    return f"found {text}"


@pytest.fixture
def agent(model, settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path
    settings.ZANGO_AI = {**settings.ZANGO_AI, "PAYLOAD_TTL_DAYS": 30, "INVOCATION_TTL_DAYS": 365}
    agent = make_agent_with(model, recall_text, short_term_memory=True, system_prompt=make_prompt(SECRET, "system"))
    price_models(agent.provider)
    return agent


def ask(model, session="s"):
    """A run that leaves its texts in every table."""
    model.script(Reply(calls=[Call("recall_text", {"text": SECRET})]), Reply(SECRET, output_tokens=1000))
    file = LLMFile.from_bytes(SECRET.encode(), "text/plain", "secret.txt")
    return get_agent("helper").run(
        "x", system_variables={"x": SECRET}, user_ref="ada", session_id=session, files=[file]
    )


def let_pass(days: int) -> None:
    age = timedelta(days=days)
    Invocation.objects.update(started_at=F("started_at") - age, created_at=F("created_at") - age)
    Payload.objects.update(last_used_on=F("last_used_on") - age)


def texts_of(invocation_id: int) -> str:
    """Everything that the log says of the run."""
    rows = [Invocation.objects.filter(pk=invocation_id).values()]
    rows += [InvocationRound.objects.filter(invocation=invocation_id).values()]
    rows += [ToolCall.objects.filter(round__invocation=invocation_id).values()]
    rows += [InvocationFile.objects.filter(invocation=invocation_id).values()]
    return str([list(each) for each in rows])


def totals() -> list[object]:
    return [
        list(Spend.objects.order_by("owner").values_list("spent_usd", "calls", "unknown_calls")),
        UsageRollup.objects.aggregate(Sum("runs"), Sum("cost_usd"), Sum("output_tokens")),
        Invocation.objects.aggregate(Sum("cost_usd"), Sum("input_tokens"), Sum("output_tokens"), Sum("latency_ms")),
    ]


def test_old_texts_go_and_numbers_stay(model, agent, tmp_path):
    old = ask(model).invocation_id
    before, stored = totals(), [each for each in tmp_path.rglob("*") if each.is_file()]
    assert SECRET in texts_of(old)
    assert len(stored) == 1
    let_pass(days=31)
    assert maintained() == "north: texts of 1 runs removed, 0 runs deleted, 0 kept by a legal hold\n"
    assert SECRET[:20] not in texts_of(old)
    assert "secret.txt" not in texts_of(old)
    assert not stored[0].exists()
    assert not Payload.objects.exists()
    row = Invocation.objects.get()
    assert row.payload_removed_at
    assert (row.status, row.rounds_count, row.agent_name, row.user_ref) == ("success", 2, "helper", "ada")
    assert totals() == before
    assert reconciled() == ("north: adds up\nsouth: adds up\n", "")
    assert MemoryMessage.objects.filter(content__contains="secret").exists(), "a conversation has its own limit"
    assert maintained() == ""


def test_texts_that_newer_runs_use_stay_for_these(model, agent):
    old = ask(model).invocation_id
    let_pass(days=31)
    new = ask(model).invocation_id
    sent = list(InvocationRound.objects.filter(invocation=new).values_list("request_messages", flat=True))
    maintained()
    assert SECRET not in texts_of(old)
    assert list(InvocationRound.objects.filter(invocation=new).values_list("request_messages", flat=True)) == sent


def test_old_rows_go_and_what_they_cost_stays_counted(model, agent):
    ask(model)
    spent = list(Spend.objects.order_by("owner").values_list("spent_usd", "calls"))
    let_pass(days=366)
    ask(model, session="t")
    usage = totals()[1]
    assert maintained() == "north: texts of 0 runs removed, 1 runs deleted, 0 kept by a legal hold\n"
    assert Invocation.objects.get().session_id == "t"
    assert set(InvocationRound.objects.values_list("invocation__session_id", flat=True)) == {"t"}
    with InvocationFile.objects.get().file.open() as content:
        assert content.read() == SECRET.encode(), "the newer run has sent the same content"
    assert list(Spend.objects.order_by("owner").values_list("spent_usd", "calls")) == [
        (usd * 2, calls * 2) for usd, calls in spent
    ]
    out, err = reconciled()
    assert err == ""
    assert "2 of 4 calls were deleted from the log" in out
    call_command("zango_ai_reconcile", rebuild_usage=True, stdout=StringIO())
    assert totals()[1] == usage
    assert MemorySession.objects.count() == 2
    assert not MemoryMessage.objects.filter(session__session_id="s", invocation__isnull=False).exists()


@pytest.mark.parametrize("what", ["run", "conversation"])
def test_a_legal_hold_keeps_everything(model, agent, settings, what):
    held = ask(model).invocation_id
    ask(model, session="other")
    if what == "run":
        Invocation.objects.filter(pk=held).update(is_on_hold=True)
    else:
        MemorySession.objects.filter(session_id="s").update(is_on_hold=True)
    told = texts_of(held)
    let_pass(days=366)
    settings.ZANGO_AI = {**settings.ZANGO_AI, "SESSION_TTL_DAYS": 1}
    MemorySession.objects.update(last_active_at=F("last_active_at") - timedelta(days=366))
    said = maintained()
    assert "0 runs removed, 1 runs deleted, 1 kept by a legal hold\n" in said
    assert Invocation.objects.get().pk == held
    assert [len(row.request_messages) for row in InvocationRound.objects.order_by("number")] == [2, 4]
    assert texts_of(held).count(SECRET) == told.count(SECRET) > 5
    assert list(MemorySession.objects.values_list("session_id", flat=True)) == (["s"] if what != "run" else [])


@pytest.mark.parametrize("is_agent", [True, False])
def test_the_runs_of_a_conversation_on_hold_stay_when_its_agent_or_itself_is_deleted(model, agent, is_agent):
    held = ask(model).invocation_id
    ask(model, session="other")
    MemorySession.objects.filter(session_id="s").update(is_on_hold=True)
    told = texts_of(held)
    (agent if is_agent else MemorySession.objects.get(session_id="s")).delete()
    let_pass(days=366)
    assert "0 runs removed, 1 runs deleted, 1 kept by a legal hold\n" in maintained()
    assert texts_of(held).count(SECRET) == told.count(SECRET)


def test_a_dry_run_reports_and_changes_nothing(model, agent, settings):
    for days in (100, 300, 10):
        ask(model, session=str(days))
        let_pass(days)
    held = Invocation.objects.order_by("id").first()
    settings.ZANGO_AI = {**settings.ZANGO_AI, "SESSION_TTL_DAYS": 1}
    MemorySession.objects.update(last_active_at=F("last_active_at") - timedelta(days=2))
    before = (totals(), Payload.objects.count(), MemoryMessage.objects.count())
    assert maintained(dry_run=True, schema="north") == (
        "north: would remove the texts of 1 runs, delete 1 runs and 3 idle conversations, and keep 0 "
        "runs by a legal hold\n"
    )
    Invocation.objects.filter(pk=held.pk).update(is_on_hold=True)
    assert "remove the texts of 1 runs, delete 0 runs" in maintained(dry_run=True, schema="north")
    assert (totals(), Payload.objects.count(), MemoryMessage.objects.count()) == before


def test_runs_in_progress_keep_their_texts(model, agent):
    ask(model)
    let_pass(days=400)
    Invocation.objects.update(status="awaiting_approval")
    retention.apply("north", retention.Retention(30, 365))
    assert SECRET in texts_of(Invocation.objects.get().pk)
    assert Payload.objects.exists()


def test_an_interrupted_maintenance_goes_on(model, agent, monkeypatch):
    """The storage is away at the second batch: what was done stays done, and the rest is found again."""
    monkeypatch.setattr(retention, "_BATCH", 1)
    for session in "abc":
        ask(model, session)
    let_pass(days=31)
    storage = InvocationFile._meta.get_field("file").storage
    monkeypatch.setattr(storage, "delete", lambda name: (_ for _ in ()).throw(OSError("the storage is away")))
    with pytest.raises(CommandError):
        maintained()
    left = Invocation.objects.filter(payload_removed_at__isnull=True)
    assert [row.session_id for row in left] == ["c"], "only the last run's content is stored for no other run"
    assert InvocationFile.objects.get().sha256
    monkeypatch.undo()
    maintained()
    assert not left.all().exists()
    assert not InvocationFile.objects.exists()


def test_a_budget_is_as_used_up_as_before(model, agent):
    model.script(QUARTER)
    get_agent("helper").run("hi")
    let_pass(days=400)
    maintained()
    assert {row.spent_usd for row in Spend.objects.all()} == {Decimal("0.25")}
