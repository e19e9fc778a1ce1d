"""Background tasks. ``NightlyPatientSummaryTask.delay()`` queues this one, and so does Celery beat every night."""

import logging

from django.db import connection

from zango_ai import get_agent
from zango_ai.exceptions import ZangoAIError
from zango_ai.tasks import BaseTask

from .models import Patient

log = logging.getLogger(__name__)

QUESTION = "Summarise this patient's recent activity and list any concerns."


class NightlyPatientSummaryTask(BaseTask):
    """Summarise each patient that is flagged for review, in every clinic."""

    name = "nightly_patient_summary"
    every_tenant = True

    def run(self) -> None:
        agent = get_agent("patient-summary")
        for patient in Patient.objects.filter(flagged_for_review=True).prefetch_related("visits"):
            try:
                response = agent.run(
                    variables={"history": patient.history(), "question": QUESTION},
                    system_variables={"clinic": connection.tenant.name},
                    triggered_by="task",
                )
            except ZangoAIError as exc:
                log.error("No summary of patient %s: %s", patient.pk, exc)
                continue
            patient.ai_summary = response.content
            patient.save(update_fields=["ai_summary"])
