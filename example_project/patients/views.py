"""Call an agent from a view: look it up by name, run it, and show the response."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from zango_ai import get_agent
from zango_ai.exceptions import ZangoAIError

from .models import Patient

SUGGESTIONS = ["What is this patient allergic to?", "Summarise the last visit.", "Which follow-ups are open?"]


@login_required
def patients(request: HttpRequest) -> HttpResponse:
    return render(request, "patients/list.html", {"patients": Patient.objects.all()})


@login_required
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    patient = get_object_or_404(Patient.objects.prefetch_related("visits"), pk=pk)
    return render(request, "patients/detail.html", {"patient": patient, "suggestions": SUGGESTIONS})


@login_required
@require_POST
def ask(request: HttpRequest, pk: int) -> HttpResponse:
    """Answer a question about a patient from the patient's history."""
    patient = get_object_or_404(Patient.objects.prefetch_related("visits"), pk=pk)
    question = request.POST.get("question", "").strip()
    if not question:
        messages.warning(request, "Please enter a question.")
        return redirect("patients:detail", pk=pk)
    context = {"patient": patient, "suggestions": SUGGESTIONS, "question": question}
    try:
        context["response"] = get_agent("patient-summary").run(
            variables={"history": patient.history(), "question": question},
            system_variables={"clinic": request.tenant.name},
            user_ref=str(request.user.pk),
            triggered_by="user",
        )
    except ZangoAIError as exc:
        context["error"] = exc
        return render(request, "patients/detail.html", context, status=502)
    return render(request, "patients/detail.html", context)
