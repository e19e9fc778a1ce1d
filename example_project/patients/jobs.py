"""Run an agent in the background: one view queues the run, another shows its status."""

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST

from zango_ai import get_agent, get_run
from zango_ai.exceptions import RunFailed, ZangoAIError
from zango_ai.models import Invocation

from .models import Patient
from .tasks import QUESTION


@login_required
@require_POST
def summarise(request: HttpRequest, pk: int) -> HttpResponse:
    """Queue a run that summarises a patient's history."""
    patient = get_object_or_404(Patient.objects.prefetch_related("visits"), pk=pk)
    try:
        run = get_agent("patient-summary").enqueue(
            variables={"history": patient.history(), "question": QUESTION},
            system_variables={"clinic": request.tenant.name},
            user_ref=str(request.user.pk),
            triggered_by="user",
        )
    except ZangoAIError as exc:
        return render(request, "patients/detail.html", {"patient": patient, "error": exc}, status=502)
    return redirect("patients:job", run_id=run.run_id)


@login_required
def job(request: HttpRequest, run_id: UUID) -> HttpResponse:
    """Show the status of a run. The page reloads until the run has finished."""
    get_object_or_404(Invocation, run_id=run_id, user_ref=str(request.user.pk))  # only the user's own runs
    run = get_run(run_id)
    context = {"run": run, "status": run.status, "is_finished": run.is_finished}
    if context["is_finished"]:
        try:
            context["response"] = run.response()
        except RunFailed as exc:
            context["error"] = exc
    return render(request, "patients/job.html", context)
