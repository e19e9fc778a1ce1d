"""Test the chat page: its memory, its tools, and the approval of what it writes."""

import json
from typing import Any

from django.test import Client
from django.urls import reverse

from patients.models import Note, Patient
from patients.tools import count_appointments, find_patient, record_note
from zango_ai.testing import ScriptAgent, calls, says

CHAT = "chat-agent"


def send(nurse: Client, question: str) -> str:
    page = nurse.post(reverse("patients:chat"), {"question": question}, follow=True)
    return page.content.decode()


def decide(nurse: Client, answer: str) -> str:
    (call,) = nurse.get(reverse("patients:chat")).context["waiting"].pending_approvals
    page = nurse.post(reverse("patients:decide"), {call.id: answer}, follow=True)
    return page.content.decode()


def test_the_conversation_is_remembered_and_shown(nurse: Client, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent(CHAT, says("Good morning."), says("You said hello."))
    send(nurse, "Hello.")
    page = send(nurse, "What did I say?")
    assert [message.content for message in agent.last_request.messages] == [
        "Hello.",
        "Good morning.",
        "What did I say?",
    ]
    assert "Good morning." in page
    assert "You said hello." in page


def test_starting_over_forgets_the_conversation(nurse: Client, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent(CHAT, says("Good morning."), says("Nothing yet."))
    send(nurse, "Hello.")
    nurse.post(reverse("patients:start-over"))
    send(nurse, "What did I say?")
    assert [message.content for message in agent.last_request.messages] == ["What did I say?"]


def test_the_agent_looks_up_a_patient_before_it_counts(
    nurse: Client, ada: Patient, scripted_agent: ScriptAgent
) -> None:
    agent = scripted_agent(
        CHAT,
        calls(find_patient, name="ada"),
        lambda asked: calls(count_appointments, patient_id=_first(asked.tool_results)["id"], year=2026),
        says("Two appointments."),
    )

    assert "Two appointments." in send(nurse, "How many appointments has Ada?")

    agent.assert_tools_called("find_patient", "count_appointments")
    agent.assert_tool_called("count_appointments", patient_id=ada.pk)
    assert agent.tool_calls[-1].result == {"appointments": 2}
    agent.assert_tool_not_called("record_note")


def _first(results: list[str]) -> Any:
    return json.loads(results[0])[0]


def test_a_note_is_written_once_it_is_approved(nurse: Client, ada: Patient, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent(CHAT, calls(record_note, patient_id=ada.pk, text="Feels well."), says("Noted."))

    assert "The agent wants to call" in send(nurse, "Note that Ada feels well.")
    agent.assert_tool_not_called("record_note")
    assert "Noted." in decide(nurse, "yes")

    agent.assert_tool_called("record_note", text="Feels well.")
    assert Note.objects.get().patient == ada


def test_a_refused_note_is_not_written(nurse: Client, ada: Patient, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent(CHAT, calls(record_note, patient_id=ada.pk, text="Feels well."), says("As you wish."))
    send(nurse, "Note that Ada feels well.")
    assert "As you wish." in decide(nurse, "no")
    agent.assert_tool_not_called("record_note")
    assert not Note.objects.exists()
