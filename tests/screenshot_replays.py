"""Ways to the pages of replays, for their pictures. What they show is made here."""

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page

ADMIN = "/admin/zango_ai"


def form(page: "Page") -> None:
    """What to replay a run with. The run is made here, because a replay needs its texts."""
    from zango_ai import get_agent

    values = {"history": "HbA1c 7.1 % on 3 September.", "question": "When is her next blood test?"}
    run = get_agent("patient-summary").run(variables=values, system_variables={"clinic": "North Clinic"})
    page.goto(f"{ADMIN}/invocation/{run.invocation_id}/replay/", wait_until="networkidle")
    page.fill("[name=model]", "gpt-4o")
    page.select_option("[name=system_version]", "draft")


def replay(page: "Page") -> None:
    """A replay beside its run."""
    form(page)
    page.fill("[name=system_draft]", "You help the staff of {{ clinic }}. Answer in one short sentence.")
    page.click("form .za-button-primary")
    page.wait_for_url("**/comparison/")
    page.wait_for_load_state("networkidle")


def _queue_batch(page: "Page") -> None:
    """The last runs of an agent, whose replays wait for a worker."""
    from zango_ai import get_agent

    for number in range(8):
        question = "When is her next blood test?" if number % 3 else "Is she well, in one short sentence?"
        values = {"history": "HbA1c 7.1 % on 3 September.", "question": question}
        get_agent("patient-summary").run(variables=values, system_variables={"clinic": "North Clinic"})
    page.goto(f"{ADMIN}/invocation/replays/?agent=1", wait_until="networkidle")
    page.fill("[name=count]", "8")
    page.fill("[name=model]", "gpt-4o")
    page.click("form .za-button-primary")
    page.wait_for_selector("[data-za-working]")


def _work(count: int) -> None:
    """Execute queued replays, as a worker does. The last one of a whole batch is cancelled."""
    from zango_ai import get_run
    from zango_ai.models import Invocation
    from zango_ai.runs.resumption import execute_queued

    queued = Invocation.objects.filter(status="queued", replay_of__isnull=False).order_by("pk")
    for run_id in list(queued.values_list("run_id", flat=True)[:count]):
        execute_queued(str(run_id), celery_task_id="a task")
    if count == 7:
        get_run(queued.get().run_id).cancel()


def batch(page: "Page") -> None:
    """The last runs of an agent, replayed."""
    _queue_batch(page)
    _work(7)
    page.wait_for_selector("[data-za-live=ended]", state="attached")
    page.click(".za-unfold >> nth=0")
    page.wait_for_selector(".za-unfolded")


def batch_working(page: "Page") -> None:
    """A batch while workers execute it."""
    _queue_batch(page)
    _work(3)
    page.wait_for_selector("text=3 of 8")
    _abandon_queue()


def batch_stalled(page: "Page") -> None:
    """A batch that no worker takes."""
    from django.db.models import F

    from zango_ai.models import Invocation

    _queue_batch(page)
    _work(1)
    Invocation.objects.update(updated_at=F("updated_at") - timedelta(minutes=5))
    page.wait_for_selector(".za-alert.za-warn")
    _abandon_queue()


def _abandon_queue() -> None:
    """The rest of a batch stays as it is, and the next one does not execute it."""
    from zango_ai.models import Invocation

    Invocation.objects.filter(status="queued").update(status="abandoned")
