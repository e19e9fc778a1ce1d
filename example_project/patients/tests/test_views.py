"""Test a view that runs an agent: the page, the prompt that was sent, and the log."""

import pytest
from django.test import Client
from django.urls import reverse

from patients.models import Patient
from zango_ai.exceptions import LLMAPIError, RateLimitExceeded
from zango_ai.models import Invocation
from zango_ai.testing import ScriptAgent, fails, says


def ask(nurse: Client, patient: Patient, question: str) -> tuple[int, str]:
    page = nurse.post(reverse("patients:ask", args=[patient.pk]), {"question": question})
    return page.status_code, page.content.decode()


def test_the_answer_is_on_the_page(nurse: Client, ada: Patient, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent("patient-summary", says("She is allergic to penicillin."))

    status, page = ask(nurse, ada, "Which allergies?")

    assert status == 200
    assert "She is allergic to penicillin." in page
    agent.assert_asked("Question: Which allergies?", system="You help the staff of", times=1)
    agent.assert_asked("Ramipril reduced to 2.5 mg.")
    assert Invocation.objects.get().status == "success"


def test_a_busy_provider_is_asked_again(nurse: Client, ada: Patient, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent("patient-summary", fails(RateLimitExceeded("Too many requests.")), says("Penicillin."))
    assert ask(nurse, ada, "Which allergies?")[0] == 200
    agent.assert_asked("Which allergies?", times=2)


def test_an_error_is_shown_with_the_number_of_the_run(
    nurse: Client, ada: Patient, scripted_agent: ScriptAgent
) -> None:
    scripted_agent("patient-summary", fails(LLMAPIError("The key is not valid.", status_code=401)))
    status, page = ask(nurse, ada, "Which allergies?")
    assert status == 502
    assert "The key is not valid." in page
    assert f"Logged as run {Invocation.objects.get().pk}." in page


@pytest.mark.parametrize("question", ["", "   "])
def test_an_empty_question_is_not_sent(
    question: str, nurse: Client, ada: Patient, scripted_agent: ScriptAgent
) -> None:
    agent = scripted_agent("patient-summary")
    assert ask(nurse, ada, question)[0] == 302
    agent.assert_not_asked()
