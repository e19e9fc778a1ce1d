"""Test tasks and background runs without a broker and a worker."""

from django.test import Client
from django.urls import reverse

from patients.models import Patient
from patients.tasks import QUESTION, NightlyPatientSummaryTask
from zango_ai.exceptions import LLMTimeoutError
from zango_ai.testing import ScriptAgent, fails, says


def test_the_nightly_task_summarises_the_flagged_patients(ada: Patient, scripted_agent: ScriptAgent) -> None:
    agent = scripted_agent("patient-summary", says("Check the blood pressure."))

    NightlyPatientSummaryTask().run()

    ada.refresh_from_db()
    assert ada.ai_summary == "Check the blood pressure."
    agent.assert_asked(QUESTION, system="North", times=1)


def test_one_patient_without_a_summary_does_not_stop_the_task(ada: Patient, scripted_agent: ScriptAgent) -> None:
    Patient.objects.update(flagged_for_review=True)
    scripted_agent("patient-summary", fails(LLMTimeoutError("Late.")), says("No concerns."))

    NightlyPatientSummaryTask().run()

    assert list(Patient.objects.values_list("name", "ai_summary")) == [
        ("Ada Berger", ""),
        ("Jonas Lindqvist", "No concerns."),
    ]


def test_the_page_of_a_job_waits_and_then_shows_the_summary(
    nurse: Client, ada: Patient, scripted_agent: ScriptAgent
) -> None:
    agent = scripted_agent("patient-summary", says("Two visits, nothing open."))

    queued = nurse.post(reverse("patients:summarise", args=[ada.pk]))
    waiting = nurse.get(queued["Location"]).content.decode()
    agent.run_enqueued()
    finished = nurse.get(queued["Location"]).content.decode()

    assert "This page reloads until the run has finished." in waiting
    assert "Two visits, nothing open." in finished
