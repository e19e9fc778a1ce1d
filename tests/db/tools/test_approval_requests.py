"""What a person decides about a tool call beyond yes and no, and how people learn that a call waits."""

from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core import mail
from patients.models import Patient

from tests.build import make_agent_with
from zango_ai import ToolSafety, get_agent, get_run, tool
from zango_ai.exceptions import DecisionNotAllowed, NotAwaitingApproval, QueueUnavailable, ToolDeclarationInvalid
from zango_ai.models import AgentConfig, Invocation, ToolCall
from zango_ai.runs import queue
from zango_ai.runs.resumption import execute_queued
from zango_ai.signals import approval_requested
from zango_ai.testing import Call, Reply


def in_words(name: str, times: int) -> str:
    known = Patient.objects.filter(name=name).exists()
    return f"Admit {name} {times} times ({'known' if known else 'new'})"


@tool(description="Admit a patient.", safety=ToolSafety.WRITE, requires_approval=True, describe=in_words)
def admit_patient(name: str, times: int = 1) -> dict:
    for _ in range(times):
        Patient.objects.create(name=name, born="1957-03-09")
    return {"admitted": name}


ADA = Call("admit_patient", {"name": "Ada", "times": 2}, id="ada")


@pytest.fixture
def agent(model, north):
    return make_agent_with(model, admit_patient)


def start(model, *calls, **arguments):
    model.script(Reply("I shall.", calls=calls or (ADA,)))
    return get_agent("helper").run("Admit Ada.", **arguments)


def decisions(response, *values):
    return {pending.id: value for pending, value in zip(response.pending_approvals, values, strict=True)}


@contextmanager
def received():
    found = []

    def note(**arguments):
        found.append(arguments)

    approval_requested.connect(note)
    try:
        yield found
    finally:
        approval_requested.disconnect(note)


def test_a_call_is_made_with_the_arguments_that_a_person_approved(model, agent):
    response = start(model)
    model.script("Done.")
    change = {"name": "Ben", "times": 1}
    done = get_agent("helper").resume(response.run_id, decisions(response, change), decided_by="dr.berger")
    assert [patient.name for patient in Patient.objects.all()] == ["Ben"]
    assert [(call.input, call.status) for call in done.tool_calls] == [(change, "success")]
    told = model.requests[1].body["messages"]
    assert '"Ada"' in told[-2]["tool_calls"][0]["function"]["arguments"]
    assert "A person changed the arguments" in told[-1]["content"]
    assert '"Ben"' in told[-1]["content"]
    call = ToolCall.objects.get()
    assert (call.arguments, call.approved_arguments) == ({"name": "Ada", "times": 2}, change)
    assert (call.decision, call.decided_by) == ("approved", "dr.berger")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "Ben", "times": "often"}, "times: Input should be a valid integer"),
        ({"times": 1}, "name: Field required"),
        ({"name": "Ben", "mood": "good"}, "mood: Unexpected keyword argument"),
    ],
    ids=["type", "missing", "unknown"],
)
def test_arguments_that_the_tool_does_not_take_decide_nothing(model, agent, change, reason):
    response = start(model)
    with pytest.raises(ValueError, match=reason):
        get_agent("helper").resume(response.run_id, decisions(response, change))
    assert Invocation.objects.get().status == "awaiting_approval"


def test_unchanged_arguments_are_a_plain_approval(model, agent):
    response = start(model)
    model.script("Done.")
    get_agent("helper").resume(response.run_id, decisions(response, {"name": "Ada", "times": 2}))
    assert ToolCall.objects.get().approved_arguments is None
    assert "changed" not in model.requests[1].body["messages"][-1]["content"]


def test_the_one_who_asked_cannot_decide_where_another_person_has_to(model, agent):
    AgentConfig.objects.update(approval_by_another_person=True)
    response = start(model, user_ref="7")
    for decider in ("7", ""):
        with pytest.raises(DecisionNotAllowed) as caught:
            get_agent("helper").resume(response.run_id, decisions(response, True), decided_by=decider)
        assert caught.value.run_id == response.run_id
    assert not Patient.objects.exists()
    model.script("Done.")
    get_agent("helper").resume(response.run_id, decisions(response, True), decided_by="8")
    assert Patient.objects.count() == 2


def test_a_call_is_described_in_words(model, agent):
    Patient.objects.create(name="Ada", born="1957-03-09")
    (pending,) = start(model).pending_approvals
    assert pending.description == "Admit Ada 2 times (known)"
    assert ToolCall.objects.get().description == pending.description
    assert get_run(Invocation.objects.get().run_id).response().pending_approvals == [pending]


def failing(name: str) -> str:
    raise LookupError(name)


def writing(name: str) -> str:
    Patient.objects.create(name=name, born="1957-03-09")
    return "Wrote."


@tool(description="Release a patient.", requires_approval=True, describe=failing)
def release_failing(name: str) -> None: ...


@tool(description="Release a patient.", requires_approval=True, describe=writing)
def release_writing(name: str) -> None: ...


@tool(description="Release a patient.", requires_approval=True, describe=lambda name: f"Release {name} " * 100)
def release_wordy(name: str) -> None: ...


@tool(description="Release a patient.", requires_approval=True, describe=lambda name: 7)
def release_numbered(name: str) -> None: ...


@tool(description="Release a patient.", requires_approval=True)
def release_plain(name: str) -> None: ...


def test_without_words_a_call_is_described_by_its_name_and_arguments(model, north):
    tools = (release_failing, release_writing, release_numbered, release_plain, release_wordy)
    make_agent_with(model, *tools)
    response = start(model, *(Call(each.tool.name, {"name": "Ada"}, id=each.tool.name) for each in tools))
    *plain, wordy = (pending.description for pending in response.pending_approvals)
    assert plain == [f'{each.tool.name}(name="Ada")' for each in tools[:-1]]
    assert (wordy[:11], len(wordy)) == ("Release Ada", 300)
    stored = [call.description for call in ToolCall.objects.order_by("position")]
    assert stored == ["", "", "", "", wordy]  # arguments are stored only where they can be redacted
    assert get_run(response.run_id).response().pending_approvals == response.pending_approvals
    assert not Patient.objects.exists()


def test_a_description_that_cannot_be_called_is_refused():
    with pytest.raises(ToolDeclarationInvalid, match="use a function that returns a text"):
        tool(name="release_badly", description="Release.", describe="Release {name}")(lambda name: None)


def test_a_run_that_pauses_says_so_by_signal_once(model, agent):
    with received() as signals:
        response = start(model, ADA, Call("admit_patient", {"name": "Ben"}, id="ben"), user_ref="7")
    (sent,) = signals
    assert sent["sender"] is Invocation
    names = ("schema", "run_id", "invocation_id", "agent_name", "user_ref")
    assert [sent[name] for name in names] == ["north", response.run_id, response.invocation_id, "helper", "7"]
    first = response.pending_approvals[0]
    assert sent["tool_calls"][0] == {"id": first.id, "tool_name": "admit_patient", "expires_at": first.expires_at}
    assert len(sent["tool_calls"]) == 2


def test_an_email_tells_who_decides_but_not_what(model, agent, settings):
    asked = []

    def addresses(request):
        asked.append(request)
        return ["ward@example.com"]

    settings.ZANGO_AI = {
        **settings.ZANGO_AI,
        **{"APPROVAL_EMAILS": addresses, "SITE_URL": "https://{schema}.example.com"},
    }
    response = start(model, user_ref="7")
    (message,) = mail.outbox
    assert (message.to, message.subject) == (["ward@example.com"], "helper waits for your approval")
    link = f"https://north.example.com/admin/zango_ai/toolcall/runs/{response.invocation_id}/"
    assert link in message.body
    assert "admit_patient" in message.body
    assert "Ada" not in message.body
    assert (asked[0].agent_name, asked[0].schema) == ("helper", "north")


def test_a_mail_server_that_is_down_changes_nothing(model, agent, settings, monkeypatch, caplog):
    def refuse(*arguments, **more):
        raise ConnectionRefusedError

    settings.ZANGO_AI = {**settings.ZANGO_AI, "APPROVAL_EMAILS": ["ward@example.com"]}
    monkeypatch.setattr("zango_ai.runs.approval_requests.send_mail", refuse)
    assert start(model).stop_reason == "approval_required"
    assert "Could not send an e-mail" in caplog.text


@pytest.fixture
def sent(monkeypatch):
    """The runs for which a task was sent."""
    runs = []
    monkeypatch.setattr(queue, "send", lambda run_id, schema: runs.append(run_id) or str(run_id))
    return runs


def test_a_worker_continues_a_run_with_the_decisions(model, agent, sent, django_capture_on_commit_callbacks):
    response = start(model, ADA, Call("admit_patient", {"name": "Eve"}, id="eve"))
    approvals = decisions(response, {"name": "Ben"}, "She has left.")
    with django_capture_on_commit_callbacks(execute=True):
        run = get_agent("helper").enqueue_resume(response.run_id, approvals, decided_by="dr.berger")
    assert (sent, run.status) == ([response.run_id], "queued")
    first, second = ToolCall.objects.order_by("position")
    assert (first.decision, first.approved_arguments, first.status) == (
        "approved",
        {"name": "Ben"},
        "awaiting_approval",
    )
    assert (second.decision, second.decided_by) == ("denied She has left.", "dr.berger")
    with pytest.raises(NotAwaitingApproval):
        get_agent("helper").resume(response.run_id, approvals)
    ToolCall.objects.update(expires_at=first.decided_at + timedelta(microseconds=1))  # executed after it
    model.script("Done.")
    assert execute_queued(str(response.run_id), celery_task_id="") == 0
    assert [call.status for call in run.response().tool_calls] == ["success", "denied"]
    assert [patient.name for patient in Patient.objects.all()] == ["Ben"]
    assert "She has left." in model.requests[1].body["messages"][-1]["content"]


def test_a_run_waits_again_if_its_task_cannot_be_sent(
    model, agent, monkeypatch, django_capture_on_commit_callbacks, caplog
):
    def refuse(run_id, schema):
        raise ConnectionError

    response = start(model)
    with monkeypatch.context() as patch, django_capture_on_commit_callbacks(execute=True):
        patch.setattr(queue, "send", refuse)
        get_agent("helper").enqueue_resume(response.run_id, decisions(response, True), decided_by="dr.berger")
    assert "could not be sent" in caplog.text
    assert QueueUnavailable.__name__ in caplog.text
    call = ToolCall.objects.get()
    assert (Invocation.objects.get().status, call.decision, call.decided_at) == ("awaiting_approval", "", None)
    model.script("Done.")
    assert get_agent("helper").resume(response.run_id, decisions(response, True)).content == "Done."
