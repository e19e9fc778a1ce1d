"""Take pictures of the admin pages: ``python -m tests.screenshots [page ...]``.

Starts PostgreSQL and the example project with thirty days of data, and photographs each page with headless
Chromium at 1,280 and 390 pixels, light and dark. ``--docs`` takes the documentation's pictures instead.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import screenshot_replays

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
ADMIN = "/admin/zango_ai"
_TABS = ("prompt", "cost", "time", "data", "code")


def _compare(page: "Page") -> None:
    """The playground with the answers of two columns."""
    page.goto(f"{ADMIN}/agentconfig/1/playground/", wait_until="networkidle")
    values = {"history": "HbA1c 7.1 % on 3 September.", "question": "When was the last blood test?"}
    for name, value in values.items():
        page.fill(f"[name=var-{name}]", value)
    page.fill("[name=sysvar-clinic]", "North Clinic")
    page.click("[data-za-add]")
    page.fill("[name=c2-model]", "gpt-4o")
    page.keyboard.press("Escape")
    page.wait_for_load_state("networkidle")
    page.click("button[name=run]")
    for number in (1, 2):
        page.wait_for_selector(f"[data-za-column='{number}'] .za-run-figures")
    page.wait_for_load_state("networkidle")


def _approve(page: "Page") -> None:
    """The playground where a tool call waits for a decision."""
    page.goto(f"{ADMIN}/agentconfig/2/playground/", wait_until="networkidle")
    page.fill("[name=sysvar-clinic]", "North Clinic")
    page.fill("[name=message]", "Note that Ada was seen today.")
    page.click("button[name=run]")
    page.wait_for_selector("[data-za-decide]")


def _open_run(query: str, *, tab: str = "") -> "Callable[[Page], None]":
    """The page of the newest run that the list shows for ``query``."""

    def show(page: "Page") -> None:
        page.goto(f"{ADMIN}/invocation/?{query}", wait_until="networkidle")
        page.click("#result_list tbody th a >> nth=0")
        page.wait_for_load_state("networkidle")
        if tab:
            page.click(f"#za-tab-{tab}")

    return show


def _unfold(page: "Page") -> None:
    """The list, with the rounds of a run that has called a tool."""
    page.goto(f"{ADMIN}/invocation/?agent_name=care-assistant&status__exact=success", wait_until="networkidle")
    page.click("[data-za-unfold] >> nth=1")
    page.wait_for_selector(".za-unfolded table")


def _fetch(page: "Page") -> None:
    """A new provider whose connection was tested, with the models of the vendor."""
    from zango_ai.models import Provider

    page.goto(f"{ADMIN}/provider/add/", wait_until="networkidle")
    page.check("[name=kind][value=openai]")
    page.fill("[name=name]", "openai-second")
    page.fill("[name=api_key]", "sk-example")
    page.fill("[name=api_base]", Provider.objects.get(name="openai-main").credentials["api_base"])
    page.fill("[name=default_model]", "gpt-4o-mini")
    page.click("[data-za-fetch]")
    page.wait_for_selector(".za-fetched")


def _change(page: "Page") -> None:
    """The page that decides about a run, with the fields that change the arguments."""
    page.goto(f"{ADMIN}/toolcall/", wait_until="networkidle")
    page.click(".za-request .za-button-primary >> nth=0")
    page.check("[value=change]")


def _decided(page: "Page") -> None:
    page.goto(f"{ADMIN}/toolcall/?tab=decided", wait_until="networkidle")
    page.click(".za-history th a >> nth=0")
    page.wait_for_load_state("networkidle")


PAGES: dict[str, str | Callable[["Page"], None]] = {
    "admin": "/admin/",
    "overview": f"{ADMIN}/",
    "agents": f"{ADMIN}/agentconfig/",
    "agent": f"{ADMIN}/agentconfig/2/change/",
    "agent-add": f"{ADMIN}/agentconfig/add/",
    "playground": _compare,
    "playground-approval": _approve,
    "providers": f"{ADMIN}/provider/",
    "provider": f"{ADMIN}/provider/1/change/",
    "provider-add": _fetch,
    **{f"setup-{step}": f"{ADMIN}/agentconfig/setup/{step}/" for step in ("provider", "prompt", "agent", "run")},
    "provider-model": f"{ADMIN}/providermodel/1/change/",
    "provider-reset": f"{ADMIN}/provider/1/reset-spend/",
    "prompts": f"{ADMIN}/prompt/",
    "prompt": f"{ADMIN}/prompt/1/change/",
    "prompt-version": f"{ADMIN}/prompt/1/versions/1/",
    "prompt-diff": f"{ADMIN}/prompt/1/compare/",
    "prompt-diff-inline": f"{ADMIN}/prompt/1/compare/?view=inline",
    "tools": f"{ADMIN}/tool/",
    "tool": f"{ADMIN}/tool/2/change/",
    "approvals": f"{ADMIN}/toolcall/",
    "approvals-decided": f"{ADMIN}/toolcall/?tab=decided",
    "approval": _change,
    "approval-decided": _decided,
    "sessions": f"{ADMIN}/memorysession/",
    "session": f"{ADMIN}/memorysession/1/change/",
    "session-clear": f"{ADMIN}/memorysession/1/clear/",
    "invocations": f"{ADMIN}/invocation/",
    "invocations-unfolded": _unfold,
    "invocations-grouped": f"{ADMIN}/invocation/?group=session&memory=yes",
    "invocation": _open_run("agent_name=care-assistant&status__exact=success"),
    "invocation-plain": _open_run("agent_name=patient-summary&status__exact=success"),
    "invocation-memory": _open_run("memory=yes&status__exact=success"),
    "invocation-failed": _open_run("status__exact=failed"),
    "invocation-waiting": _open_run("status__exact=awaiting_approval"),
    **{f"invocation-{tab}": _open_run("agent_name=care-assistant&status__exact=success", tab=tab) for tab in _TABS},
    "replay-form": screenshot_replays.form,
    "replay": screenshot_replays.replay,
    "replay-batch-form": f"{ADMIN}/invocation/replays/?agent=1",
    "replay-batch": screenshot_replays.batch,
    "replay-batch-working": screenshot_replays.batch_working,
    "replay-batch-stalled": screenshot_replays.batch_stalled,
    "spending": f"{ADMIN}/spend/",
}
"""The address of each page, or what to do in the browser to reach it."""

DOCS = (
    "overview",
    "invocation",
    "prompt-diff",
    "agents",
    "agent",
    "playground",
    "approvals",
    "approval",
    "replay",
    "replay-batch",
    "provider",
)
"""Pages whose pictures are part of the documentation: 1,280 pixels wide, light."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="page", help=f"default: all of {', '.join(PAGES)}")
    parser.add_argument("--docs", action="store_true", help="write docs/images/")
    parser.add_argument("--screen", action="store_true", help="only what is visible without scrolling")
    parser.add_argument("--language", default="en", help="the browser's language: en or de (default: en)")
    parser.add_argument("--out", type=Path, help="the folder (default: a new one in the temp folder)")
    options = parser.parse_args()
    unknown = set(options.pages) - set(PAGES)
    if unknown:
        parser.error(f"unknown pages: {', '.join(sorted(unknown))}")
    folder = ROOT / "docs/images" if options.docs else options.out or Path(tempfile.mkdtemp(prefix="panel-"))
    folder.mkdir(parents=True, exist_ok=True)
    start_database()
    pages = options.pages or list(DOCS if options.docs else PAGES)
    take(pages, folder, only_docs=options.docs, full_page=not options.screen, language=options.language)


def start_database() -> None:
    """A database with tenant north, filled; deleted when this process ends."""
    sys.path.insert(0, str(ROOT / "example_project"))
    from clinic import database

    folder = Path(tempfile.mkdtemp(prefix="panel-db-"))
    folder.chmod(0o755)
    os.environ["DATABASE_URL"] = database.start(folder, keep=False)
    os.environ.setdefault("MEDIA_ROOT", tempfile.mkdtemp(prefix="panel-media-"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "clinic.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate_schemas", shared=True, verbosity=0)
    from patients import setup

    for schema in ("public", "north"):
        setup.create_site(schema)


def take(pages: list[str], folder: Path, *, only_docs: bool, full_page: bool, language: str = "en") -> None:
    from django.conf import settings
    from django_tenants.utils import schema_context

    from tests import panel_data
    from tests.panel_browser import SCHEMES, WIDTHS, chromium, open_page, serve
    from tests.task_queues import tasks_settings
    from zango_ai.testing import Call, ModelServer, Reply

    def answer(seen: Any) -> Reply | str | None:
        if not seen.body:  # a request for the list of models
            return None
        if seen.body.get("tools"):
            return Reply("I will note it.", calls=[Call("record_note", {"patient_id": 1, "text": "Seen today."})])
        if "one short sentence" in str(seen.body["messages"]) or seen.body["model"] == "gpt-4o":
            return "Her last blood test was on 3 September 2026: HbA1c 7.1 %. The next one is due in December."
        return "The last blood test was on 3 September 2026: HbA1c 7.1 %. It is due again in December."

    settings.DEBUG = False
    # Chromium first: within its event loop, this thread has another database connection.
    with ModelServer(answer=answer) as model, chromium() as browser, schema_context("north"):
        settings.TASKS = tasks_settings()
        settings.ZANGO_AI = {"ALLOWED_API_BASES": [model.url], "QUEUE": "tasks:no_worker"}
        panel_data.fill(api_base=model.openai_base)
        with serve() as site:
            for width in WIDTHS[:1] if only_docs else WIDTHS:
                for scheme in SCHEMES[:1] if only_docs else SCHEMES:
                    page = open_page(browser, site, width=width, scheme=scheme, language=language)
                    for name in pages:
                        _show(page, name)
                        path = folder / (f"{name}.png" if only_docs else f"{name}-{width}-{scheme}.png")
                        page.screenshot(path=path, full_page=full_page)
                        print(path, *(error[:200] for error in page.errors))  # type: ignore[attr-defined]
                        page.errors.clear()  # type: ignore[attr-defined]


def _show(page: "Page", name: str) -> None:
    way = PAGES[name]
    if callable(way):
        way(page)
        return
    page.goto(way, wait_until="networkidle")


if __name__ == "__main__":
    main()
