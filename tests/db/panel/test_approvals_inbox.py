"""The approvals inbox: people approve, change and deny the tool calls of runs that wait."""

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django.utils.html import escape
from patients.models import Note, Patient
from patients.tools import record_note

from tests import panel_data
from tests.build import make_agent_with
from tests.panel_browser import assert_sound, open_page
from zango_ai import ToolSafety, get_agent, tool
from zango_ai.agent import Agent
from zango_ai.configuration import tool_rows
from zango_ai.exceptions import QueueUnavailable
from zango_ai.models import AgentConfig, Invocation, ToolCall
from zango_ai.runs import queue
from zango_ai.testing import Call, Reply

INBOX = "/admin/zango_ai/toolcall/"
DECIDER = ("view_toolcall", "decide_approval", "view_payload", "view_invocation")


@tool(description="Book a bed.", safety=ToolSafety.WRITE, requires_approval=True)
def book_bed(
    name: str, nights: int = 1, is_private: bool = False, wishes: list[str] | None = None, note: str | None = None
) -> dict:
    Patient.objects.create(name=f"{name} {nights} {is_private} {wishes} {note}", born="1957-03-09")
    return {"booked": name}


ADA = {"name": "Ada", "nights": 2}


@pytest.fixture
def agent(model, north, monkeypatch):
    monkeypatch.setattr(queue, "is_available", lambda: False)
    tool_rows.sync()
    return make_agent_with(model, book_bed)


def start(model, *arguments, **options):
    calls = [Call("book_bed", each, id=f"call-{number}") for number, each in enumerate(arguments or (ADA,))]
    model.script(Reply("I shall book it.", calls=calls))
    return get_agent("helper").run("A bed, please.", **options)


def page_of(response):
    return f"{INBOX}runs/{response.invocation_id}/"


def posted(response, *decisions):
    """The form's data: for each call its decision and more fields."""
    data = {}
    for pending, (decision, fields) in zip(response.pending_approvals, decisions, strict=True):
        data[f"{pending.id}-decision"] = decision
        data |= {f"{pending.id}-{name}": value for name, value in fields.items()}
    return data


def test_the_inbox_shows_who_waits_for_what(model, agent, client_of):
    client = client_of(*DECIDER)
    assert "Nothing waits for you" in client.get(INBOX).content.decode()
    start(model, ADA, {"name": "Ben"}, user_ref="dr-berger")
    page = client.get(INBOX).content.decode()
    for shown in ("book_bed", "helper", "dr-berger", "Review 2 calls"):
        assert shown in page


@pytest.mark.parametrize(("address", "status"), [("?page=9999999999999999999", 200), ("abc/change/", 404)])
def test_a_broken_address_is_no_server_error(agent, client_of, address, status):
    assert client_of(*DECIDER).get(INBOX + address).status_code == status


def test_a_call_is_approved_and_the_run_goes_on_in_place(model, agent, client_of):
    response = start(model)
    model.script("Booked.")
    client = client_of(*DECIDER)
    page = client.post(page_of(response), posted(response, ("approve", {})), follow=True).content.decode()
    assert "the run went on" in page
    assert "Booked." in page
    assert Patient.objects.get().name == "Ada 2 False None None"
    call = ToolCall.objects.get()
    assert (call.decision, call.decided_by, call.status) == ("approved", "user-0", "success")
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.change_message) == (str(call.pk), "Approved the call.")
    assert "user-0" in client.get(INBOX + "?tab=decided").content.decode()


def test_arguments_are_changed_field_by_field(model, agent, client_of):
    response = start(model, {**ADA, "wishes": ["window"]})
    model.script("Booked.")
    fields = {
        **{"argument-name": "Ada B.", "argument-nights": "3", "argument-is_private": "true"},
        **{"argument-wishes": '["garden", "quiet"]', "argument-note": "at the door"},
    }
    client_of(*DECIDER).post(page_of(response), posted(response, ("change", fields)))
    assert Patient.objects.get().name == "Ada B. 3 True ['garden', 'quiet'] at the door"
    call = ToolCall.objects.get()
    assert call.arguments == {**ADA, "wishes": ["window"]}
    assert call.approved_arguments["nights"] == 3
    assert LogEntry.objects.get().change_message.endswith(": name, nights, wishes, is_private, note.")


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("nights", "many", "Write this as JSON"),
        ("nights", "1.5", "valid integer"),
        ("wishes", "[garden]", "Write this as JSON"),
        ("wishes", '[["garden"]]', "valid string"),
    ],
    ids=["no-number", "no-integer", "no-json", "wrong-items"],
)
def test_a_wrong_argument_gets_a_message_at_its_field_and_loses_nothing(
    model, agent, client_of, field, text, reason
):
    response = start(model)
    fields = {"argument-name": "Eve", "argument-nights": "2", "argument-wishes": "", f"argument-{field}": text}
    page = client_of(*DECIDER).post(page_of(response), posted(response, ("change", fields)))
    (card,) = page.context["waiting"]
    assert list(card.form.errors) == [f"argument-{field}"]
    assert reason in page.content.decode()
    assert "Eve" in page.content.decode()
    assert escape(text) in page.content.decode()
    assert Invocation.objects.get().status == "awaiting_approval"


def test_each_call_of_a_run_needs_a_decision(model, agent, client_of):
    response = start(model, ADA, {"name": "Ben"})
    client = client_of(*DECIDER)
    page = client.post(page_of(response), posted(response, ("deny", {"reason": "No bed is free."}), ("", {})))
    assert "Choose what to do about this call." in page.content.decode()
    assert "No bed is free." in page.content.decode()
    model.script("I see.")
    denied, approved = ("deny", {"reason": "No bed is free."}), ("approve", {})
    client.post(page_of(response), posted(response, denied, approved))
    assert [call.decision for call in ToolCall.objects.order_by("position")] == [
        "denied No bed is free.",
        "approved",
    ]
    told = [message["content"] for message in model.requests[1].body["messages"][-2:]]
    assert "No bed is free." in told[0]
    assert LogEntry.objects.count() == 2
    assert "No bed" not in "".join(LogEntry.objects.values_list("change_message", flat=True))


def test_the_second_person_to_decide_is_told_and_changes_nothing(model, agent, client_of):
    response = start(model)
    first, second = client_of(*DECIDER), client_of(*DECIDER)
    assert second.get(page_of(response)).context["waiting"]
    model.script("Booked.")
    first.post(page_of(response), posted(response, ("approve", {})))
    page = second.post(page_of(response), posted(response, ("deny", {})), follow=True).content.decode()
    assert "your decision was not used" in page
    assert "user-0" in page
    assert ToolCall.objects.get().decision == "approved"
    assert (Patient.objects.count(), LogEntry.objects.count()) == (1, 1)


def test_an_expired_call_can_only_be_denied(model, agent, client_of):
    response = start(model)
    ToolCall.objects.update(expires_at=timezone.now() - timedelta(minutes=1))
    client = client_of(*DECIDER)
    assert "the call can only be denied" in client.get(page_of(response)).content.decode()
    page = client.post(page_of(response), posted(response, ("approve", {})))
    assert "This call can only be denied." in page.content.decode()
    model.script("I see.")
    client.post(page_of(response), posted(response, ("deny", {})))
    assert ToolCall.objects.get().status == "denied"


def test_the_one_who_asked_cannot_decide_where_another_person_has_to(model, agent, client_of):
    AgentConfig.objects.update(approval_by_another_person=True)
    asker, other = client_of(*DECIDER), client_of(*DECIDER)
    response = start(model, user_ref=asker.session["_auth_user_id"])
    page = asker.get(page_of(response))
    assert "Another person has to decide." in page.content.decode()
    assert "<form method" not in page.content.decode().partition('id="content-main"')[2]
    assert asker.post(page_of(response), posted(response, ("approve", {}))).status_code == 403
    model.script("Booked.")
    assert other.post(page_of(response), posted(response, ("approve", {}))).status_code == 302
    assert ToolCall.objects.get().decided_by == "user-1"


@pytest.mark.parametrize("missing", ["decide_approval", "view_payload", "view_toolcall"])
def test_each_permission_is_needed_to_decide(model, agent, client_of, missing):
    response = start(model)
    client = client_of(*(each for each in DECIDER if each != missing))
    page = client.get(page_of(response))
    assert page.status_code == (403 if missing == "view_toolcall" else 200)
    assert ("Ada" in page.content.decode()) == (missing == "decide_approval")
    assert client.post(page_of(response), posted(response, ("approve", {}))).status_code == 403
    assert Invocation.objects.get().status == "awaiting_approval"


def test_without_an_enabled_agent_nothing_is_decided(model, agent, client_of):
    response = start(model)
    AgentConfig.objects.update(is_enabled=False)
    page = client_of(*DECIDER).post(page_of(response), posted(response, ("approve", {})), follow=True)
    assert "Nothing was decided: Agent &#x27;helper&#x27; is disabled" in page.content.decode()
    assert page.context["waiting"]
    assert not LogEntry.objects.exists()


def test_with_a_queue_a_worker_continues_the_run(
    model, agent, client_of, monkeypatch, django_capture_on_commit_callbacks
):
    sent = []
    monkeypatch.setattr(queue, "is_available", lambda: True)
    monkeypatch.setattr(queue, "send", lambda run_id, schema: sent.append(run_id) or str(run_id))
    response = start(model)
    client = client_of(*DECIDER)
    with django_capture_on_commit_callbacks(execute=True):
        page = client.post(page_of(response), posted(response, ("approve", {})), follow=True).content.decode()
    assert sent == [response.run_id]
    assert "A worker continues the run" in page
    assert 'data-za-status="queued"' in page
    assert "in the queue" in client.get(INBOX + "?tab=decided").content.decode()
    assert "Nothing waits for you" in client.get(INBOX).content.decode()


def test_without_a_broker_the_run_goes_on_in_place(model, agent, client_of, monkeypatch):
    def refuse(*arguments, **more):
        raise QueueUnavailable(None, "The broker is down.")

    monkeypatch.setattr(queue, "is_available", lambda: True)
    monkeypatch.setattr(Agent, "enqueue_resume", refuse)
    response = start(model)
    model.script("Booked.")
    page = client_of(*DECIDER).post(page_of(response), posted(response, ("approve", {})), follow=True)
    assert "the run went on" in page.content.decode()
    assert Invocation.objects.get().status == "success"


def test_a_run_that_fails_after_the_decision_says_so(model, agent, client_of):
    response = start(model)
    model.script(Reply(status=400))
    page = client_of(*DECIDER).post(page_of(response), posted(response, ("approve", {})), follow=True)
    assert "The run failed:" in page.content.decode()
    assert Patient.objects.count() == 1
    assert LogEntry.objects.get().change_message == "Approved the call."


def test_links_in_the_admins_history_lead_to_the_run(model, agent, client_of):
    response = start(model)
    answer = client_of(*DECIDER).get(f"{INBOX}{ToolCall.objects.get().pk}/change/")
    assert (answer.status_code, answer.url) == (302, page_of(response))


def test_the_pages_take_the_same_queries_for_one_call_and_for_many(model, agent, client_of):
    client, old, one = client_of(*DECIDER), start(model), start(model)
    of_old = ToolCall.objects.filter(round__invocation=old.invocation_id)
    of_old.update(decided_at=timezone.now(), decision="approved")
    client.get(INBOX)

    def counts(response):
        found = []
        for address in (INBOX, INBOX + "?tab=decided", page_of(response)):
            with CaptureQueriesContext(connection) as queries:
                assert client.get(address).status_code == 200
            found.append(len(queries))
        return found

    before = counts(one)
    many = start(model, *({"name": f"Patient {number}"} for number in range(9)))
    ToolCall.objects.filter(round__invocation=one.invocation_id).update(decided_at=timezone.now())
    assert counts(many) == before


def test_a_person_approves_a_call_in_the_browser(browser, site, model, monkeypatch):
    monkeypatch.setattr(queue, "is_available", lambda: False)
    panel_data.fill(runs=30, api_base=model.openai_base)
    patient = Patient.objects.create(name="Ada Berger", born="1957-03-09")
    note = {"patient_id": patient.pk, "text": "Seen today."}
    model.script(Reply("I will note it.", calls=[Call(record_note.tool.name, note, id="note")]))
    run = get_agent("care-assistant").run("Note that Ada was seen.", system_variables={"clinic": "North"})
    page = open_page(browser, site, width=390, scheme="dark")
    for address in (INBOX, INBOX + "?tab=decided", page_of(run)):
        page.goto(address)
        assert_sound(page)
    page = open_page(browser, site)
    page.goto(INBOX)
    assert_sound(page)
    page.click("article:has-text('Seen today.') >> text=Review")
    page.check("[value=change]")
    page.fill(f"[name='{run.pending_approvals[0].id}-argument-text']", "Seen today at noon.")
    assert_sound(page)
    model.script("Noted.")
    page.click("text=Decide and continue the run")
    page.wait_for_selector("text=Noted.")
    assert page.locator("ins").inner_text() == "Seen today at noon."
    assert_sound(page)
    assert Note.objects.get().text == "Seen today at noon."
