"""The site in a real browser: what a clinic's staff see and click.

Needs Chromium on the machine (Debian's package ``chromium``); without it these tests are skipped, in CI they fail.
Set ZANGO_AI_PICTURES to a folder to keep a picture of every page.
"""

import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.e2e.conftest import new_environment, port_that_is_free
from tests.e2e.test_demo import serve, wait_until_served
from zango_ai.testing import STAND_IN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must install Chromium")
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(installed, tmp_path_factory):
    """The address of the running demo, as ``site("north")``; one for all tests of this module in a process."""
    port = port_that_is_free()
    with new_environment(installed, tmp_path_factory.mktemp("site")) as environment:
        demo = serve(environment, port)
        try:
            wait_until_served(demo, port)
            yield lambda tenant: f"http://{tenant}.localhost:{port}"
        finally:
            demo.terminate()
            demo.communicate(timeout=30)


def open_page(browser: Browser, scheme: str = "light") -> Page:
    page = browser.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}).new_page()
    page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    return page


def log_in(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/login/?next=/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("input[type=submit]")


def picture(page: Page, name: str) -> None:
    folder = os.environ.get("ZANGO_AI_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_nurse_asks_about_a_patient_and_finds_the_run_in_the_log(browser, site):
    page = open_page(browser)
    log_in(page, site("north"))
    picture(page, "patients")
    page.click("text=Ada Berger")
    page.fill("#question", "What is she allergic to?")
    page.click("text=Ask >> nth=-1")
    assert STAND_IN in page.inner_text(".answer")
    picture(page, "answer")

    page.goto(f"{site('north')}/admin/zango_ai/invocation/")
    picture(page, "invocations")
    page.click("#result_list tbody tr:first-child th a")
    assert "What is she allergic to?" in page.inner_text("#content")
    assert page.query_selector("#content input:not([type=hidden])") is None
    picture(page, "invocation")

    other = open_page(browser)
    log_in(other, site("south"))
    other.goto(f"{site('south')}/admin/zango_ai/invocation/")
    assert other.locator("#result_list tbody tr").count() == 11
    other.goto(site("south"))
    assert "Ada Berger" not in other.inner_text("body")


def test_a_summary_is_made_in_the_background_and_its_page_follows(browser, site):
    page = open_page(browser)
    log_in(page, site("north"))
    page.click("text=Ada Berger")
    page.click("text=Summarise in the background")
    picture(page, "job")
    page.wait_for_selector(".answer", timeout=60_000)
    assert STAND_IN in page.inner_text(".answer")
    assert page.inner_text("#status") == "success"
    picture(page, "job-done")


def ask_in_chat(page: Page, text: str) -> None:
    page.wait_for_load_state("load")  # without its script, the page sends the form
    page.fill("#question", text)
    page.click("text=Send")
    page.wait_for_selector("#progress:text-is('Answered.')")


def test_a_visitor_chats_and_starts_over(browser, site):
    page = open_page(browser)
    log_in(page, site("north"))
    page.click("nav >> text=Chat")
    for text in ("I am Ada.", "Who am I?"):
        ask_in_chat(page, text)
    assert "You asked: Who am I? This began with: I am Ada." in page.inner_text(".answer >> nth=-1")
    picture(page, "chat")
    page.click("text=Start over")
    ask_in_chat(page, "Who am I?")
    assert "Ada" not in page.inner_text("body >> .answer")
    page.goto(f"{site('north')}/admin/zango_ai/memorysession/")
    picture(page, "conversations")
    dark = open_page(browser, "dark")
    dark.set_viewport_size({"width": 390, "height": 800})
    log_in(dark, site("north"))
    dark.goto(f"{site('north')}/chat/")
    ask_in_chat(dark, "Good evening.")
    assert dark.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(dark, "chat-dark")


def test_a_file_that_went_along_is_saved_from_the_runs_page(browser, site, tmp_path):
    page = open_page(browser)
    log_in(page, site("north"))
    page.goto(f"{site('north')}/admin/zango_ai/invocation/?agent_name=report-analyser")
    page.click("#result_list tbody tr:first-child th a")
    page.click("[role=tab]:has-text('Files')")
    picture(page, "run-with-files")
    with page.expect_download() as saved:
        page.click('a[download]:text-is("lab-june.csv")')
    assert saved.value.suggested_filename == "lab-june.csv"
    saved.value.save_as(tmp_path / "saved.csv")
    assert (tmp_path / "saved.csv").read_bytes() == b"test,value\nHbA1c,7.1\n"


def test_an_administrator_changes_a_prompt_and_brings_the_old_wording_back(browser, site):
    page = open_page(browser)
    log_in(page, site("north"))
    page.goto(f"{site('north')}/admin/zango_ai/prompt/")
    page.click("text=clinic-assistant")
    page.fill("#id_content", "Answer in one line for {{ clinic }}.")
    page.fill("#id_change_description", "One line is enough")
    picture(page, "prompt")
    page.click("input[name=_activate]")
    assert "Now active: clinic-assistant v2." in page.inner_text(".messagelist")
    page.click('.za-timeline a strong:text-is("v1")')
    picture(page, "prompt-version")
    page.click("text=Make this version active")
    assert "Now active: clinic-assistant v1." in page.inner_text(".messagelist")
    assert "Answer only from the history" in page.input_value("#id_content")


def test_a_key_is_typed_and_never_shown(browser, site):
    page = open_page(browser)
    log_in(page, site("north"))
    page.goto(f"{site('north')}/admin/zango_ai/provider/")
    page.click("#result_list >> text=main")
    page.wait_for_selector("#id_organization")
    assert not page.is_visible("#id_aws_region_name")
    page.check("#id_kind input[value=bedrock]", force=True)
    assert page.is_visible("#id_aws_region_name")
    assert not page.is_visible("#id_organization")
    picture(page, "provider-bedrock")
    page.check("#id_kind input[value=openai]", force=True)
    page.click(".za-secret:has(#id_api_key) [data-za-replace]")
    page.fill("#id_api_key", "sk-typed-by-hand-1234")
    picture(page, "provider")
    page.click("input[name=_continue]")
    assert page.input_value("#id_api_key") == ""
    assert "A key is saved" in page.inner_text("#content")
    assert "sk-typed" not in page.content()


@pytest.mark.parametrize(
    "model", ["agentconfig", "provider", "prompt", "tool", "invocation", "memorysession", "spend"]
)
def test_no_column_of_a_list_is_cut_off_at_1280_pixels(browser, site, model):
    page = open_page(browser)
    log_in(page, site("north"))
    page.goto(f"{site('north')}/admin/zango_ai/{model}/")
    table = page.locator("#changelist .results")
    assert table.evaluate("element => element.scrollWidth - element.clientWidth") <= 0


def test_the_public_site_has_no_agents(browser, site):
    page = open_page(browser)
    page.goto(site("north").replace("north.", ""))
    assert "North Clinic" in page.inner_text("body")
    page.goto(site("north").replace("north.", "") + "/admin/zango_ai/provider/")
    assert "Not Found" in page.inner_text("body") or "Page not found" in page.inner_text("body")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_can_be_read_in_light_and_dark(browser, site, scheme):
    page = open_page(browser, scheme)
    log_in(page, site("north"))
    for name, path in {
        "index": "/admin/",
        "agent": "/admin/zango_ai/agentconfig/1/change/",
        "run": "/admin/zango_ai/invocation/1/change/",
        "version": "/admin/zango_ai/prompt/1/versions/1/",
        "patient": "/patients/1/",
    }.items():
        page.goto(site("north") + path)
        picture(page, f"{name}-{scheme}")
        texts = {"run": ".za-bubble", "version": ".za-code pre"}
        if name in texts:
            text = page.locator(texts[name]).first
            ink, paper = text.evaluate("e => [getComputedStyle(e).color, getComputedStyle(e).backgroundColor]")
            assert contrast(ink, paper) >= 4.5, (name, ink, paper)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two CSS colours, as WCAG 2 defines it."""

    def luminance(colour: str) -> float:
        numbers = [float(part) for part in re.findall(r"[\d.]+", colour)[:3]]
        parts = numbers if colour.startswith("color(srgb") else [part / 255 for part in numbers]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
