"""The example's view over HTTP, under ATOMIC_REQUESTS and on committed rows."""

from datetime import date

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_tenants.utils import schema_context
from patients.models import Patient
from tenants.models import Clinic, Domain

from tests.build import make_agent, make_prompt
from zango_ai import get_agent
from zango_ai.configuration import tool_rows
from zango_ai.models import Invocation, Provider, Tool, ToolCall
from zango_ai.testing import Call, Reply


@pytest.fixture
def nurse(model, live_north, settings):
    """A browser logged in to north, where the agent and one patient are."""
    assert settings.DATABASES["default"]["ATOMIC_REQUESTS"]
    with schema_context("public"):
        Domain.objects.get_or_create(
            domain="north.localhost", defaults={"tenant": Clinic.objects.get(schema_name="north")}
        )
    make_agent(
        model,
        "patient-summary",
        system_prompt=make_prompt("You work at {{ clinic }}.", "system"),
        user_prompt=make_prompt("{{ history }}\n{{ question }}"),
    )
    Patient.objects.create(name="Ada", born=date(1957, 3, 9), allergies="penicillin")
    user = User.objects.create_superuser("nurse")
    client = Client(headers={"host": "north.localhost"}, raise_request_exception=False)
    client.force_login(user)
    return client


def ask(nurse):
    with schema_context("north"):
        patient = Patient.objects.get()
    return nurse.post(reverse("patients:ask", args=[patient.pk]), {"question": "Allergies?"})


def test_a_question_is_answered_on_the_page_and_in_the_log(model, nurse):
    model.script("Penicillin.")
    page = ask(nurse)
    assert page.status_code == 200
    assert "Penicillin." in page.content.decode()
    with schema_context("north"):
        row = Invocation.objects.get()
        assert row.rendered_system_prompt == "You work at North."
        assert row.user_ref == str(User.objects.get().pk)


def test_a_provider_in_trouble_is_told_with_the_run(model, nurse):
    model.script(Reply(status=500))
    page = ask(nurse)
    assert page.status_code == 502
    assert "Try again later" in page.content.decode()
    assert f"run {page.context['error'].invocation_id}" in page.content.decode()


def test_a_view_that_fails_after_the_run_takes_its_own_changes_back_and_leaves_the_log(model, nurse, monkeypatch):
    from patients import views

    def fails(*args, **kwargs):
        Patient.objects.update(ai_summary="half done")
        raise RuntimeError("after the run")

    monkeypatch.setattr(views, "render", fails)
    assert ask(nurse).status_code == 500
    with schema_context("north"):
        assert Patient.objects.get().ai_summary == ""
        assert Invocation.objects.get().status == "success"


def test_a_chat_asks_for_approval_and_goes_on(model, nurse):
    with schema_context("north"):
        agent = make_agent(model, "chat-agent", provider=Provider.objects.get(), short_term_memory=True)
        tool_rows.sync()
        agent.tools.set(Tool.objects.filter(section="patients"))
        patient = Patient.objects.get()
    wish = {"patient_id": patient.pk, "text": "Call <b>back</b>."}
    model.script(Reply("I should write that down.", calls=[Call("record_note", wish)]), "Written down.")
    page = nurse.post(reverse("patients:chat"), {"question": "Remember to call."}, follow=True).content.decode()
    assert "record_note" in page
    assert "Call &lt;b&gt;back&lt;/b&gt;." in page
    with schema_context("north"):
        waiting = ToolCall.objects.get()
        assert not patient.notes.exists()
    page = nurse.post(reverse("patients:decide"), {str(waiting.uid): "yes"}, follow=True).content.decode()
    assert "Written down." in page
    with schema_context("north"):
        assert patient.notes.get().text == "Call <b>back</b>."
        assert ToolCall.objects.get().decided_by == "nurse"
        assert Invocation.objects.get().status == "success"


def test_a_job_is_shown_to_whoever_queued_it(model, nurse):
    with schema_context("north"):
        response = get_agent("patient-summary").run(
            variables={"history": "h", "question": "q"}, system_variables={"clinic": "N"}, user_ref="somebody else"
        )
        own = get_agent("patient-summary").run(
            variables={"history": "h", "question": "q"},
            system_variables={"clinic": "N"},
            user_ref=str(User.objects.get().pk),
        )
    assert nurse.get(reverse("patients:job", args=[response.run_id])).status_code == 404
    page = nurse.get(reverse("patients:job", args=[own.run_id]))
    assert page.status_code == 200
    assert "success" in page.content.decode()
