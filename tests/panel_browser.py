"""The admin in a real Chromium: a server in this process, logged-in pages, and what every page must hold."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth.models import User
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test import Client
from django.test.testcases import LiveServerThread
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
_AXE = Path(__file__).parent / "vendor/axe-core/axe.min.js"
_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'"
_WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", event => {
  // Django's own header has inline styles before version 6.1.
  const isOurs = event.target.closest?.("#content") || !event.violatedDirective.startsWith("style");
  if (isOurs) window.violations.push(`${event.violatedDirective}: ${event.target.outerHTML?.slice(0, 200)}`);
});
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    assert CHROMIUM is not None, "no Chromium on this machine"
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    # Playwright runs an event loop in this thread, in which Django would refuse every query.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            yield browser
            browser.close()
            # In its event loop, this thread has another connection, which later loops would find in its context.
            connections.close_all()
            for connection in connections.all(initialized_only=True):
                del connections[connection.alias]
    finally:
        if before is None:
            del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@contextmanager
def serve() -> Iterator[str]:
    """Serve the example project under a strict content security policy. Yields the address of tenant north."""
    thread = LiveServerThread("127.0.0.1", lambda app: StaticFilesHandler(_with_policy(app)))
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    try:
        yield f"http://north.localhost:{thread.port}"
    finally:
        thread.terminate()


def _with_policy(app: Any) -> Any:
    """The application, whose pages may load scripts and styles only from files."""

    class WithPolicy:
        def __getattr__(self, name: str) -> Any:
            return getattr(app, name)

        def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Any:
            def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
                return start_response(status, [*headers, ("Content-Security-Policy", _POLICY)], *more)

            return app(environ, start)

    return WithPolicy()


def open_page(
    browser: Browser,
    site: str,
    *,
    user: User | None = None,
    width: int = 1280,
    scheme: Any = "light",
    language: str = "en",
) -> Page:
    """A page at ``site`` on which ``user``, or else a superuser of the active tenant, is logged in."""
    if user is None:
        user = User.objects.filter(username="root").first() or User.objects.create_superuser("root")
    client = Client()
    client.force_login(user)
    context = browser.new_context(
        base_url=site,
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        reduced_motion="reduce",
        locale=language,
    )
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": site}])
    page = context.new_page()
    page.errors = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.errors.append(str(error)))  # type: ignore[attr-defined]
    page.add_init_script(_WATCH_POLICY)
    return page


def assert_sound(page: Page) -> None:
    """The page has no script error, keeps the content policy, scrolls only down, and axe-core finds nothing."""
    assert page.errors == []  # type: ignore[attr-defined]
    assert page.evaluate("() => window.violations") == []
    assert_no_sideways_scroll(page)
    assert_accessible(page)


def assert_no_sideways_scroll(page: Page) -> None:
    """Nothing is wider than the page, and no list or table that should fit is cut off."""
    wide = page.evaluate(
        """() => {
          const root = document.documentElement;
          const found = [];
          if (root.scrollWidth > root.clientWidth) {
            const all = [...document.querySelectorAll("#main *")];
            const outside = all.filter(e => e.getBoundingClientRect().right > root.clientWidth + 1);
            found.push("the page", ...outside.slice(-3).map(e => e.outerHTML.slice(0, 120)));
          }
          for (const box of document.querySelectorAll(".results, .za-card, .za-header, .za-call")) {
            if (box.scrollWidth > box.clientWidth + 1) found.push(box.className || box.id);
          }
          return found;
        }"""
    )
    assert wide == [], f"{page.url}: wider than its frame: {wide}"


def assert_accessible(page: Page, within: str = "#content") -> None:
    """axe-core finds nothing in the panel's part of the page."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_AXE.read_text("utf-8"))
    found = page.evaluate("within => axe.run(within, {resultTypes: ['violations']})", within)
    problems = [
        f"{each['id']}: {each['help']}: {node['html'][:160]} {node.get('failureSummary', '')[:300]}"
        for each in found["violations"]
        for node in each["nodes"][:4]
    ]
    assert problems == [], f"{page.url}:\n" + "\n".join(problems)
