"""A newcomer follows the tutorial: each command and file of the page, on the built wheel, in an empty folder."""

import json
import os
import re
import time
import uuid
from contextlib import suppress

import httpx
import psycopg
import pytest

from tests.db.panel.conftest import browser  # noqa: F401
from tests.e2e.conftest import ROOT, port_that_is_free
from tests.tutorial import Reader, environment_of_a_reader
from zango_ai.testing import STAND_IN

PAGE = ROOT / "docs" / "tutorial" / "first-agent.md"


@pytest.fixture(scope="module")
def ports():
    return {"8000": str(port_that_is_free()), "8765": str(port_that_is_free())}


@pytest.fixture(scope="module")
def reader(ports, tmp_path_factory):
    """One who has followed the page to its end, with the servers still running."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "zango-ai").symlink_to(ROOT)
    (folder / "empty").mkdir()
    database = f"tutorial_{uuid.uuid4().hex[:12]}"
    replacements = {"clinic_tutorial": database, **ports}
    for server, port in (("runserver", ports["8000"]), ("model_server", f"--port {ports['8765']}")):
        replacements[f"{server}\n```"] = f"{server} {port}\n```"
    reader = Reader(folder / "empty", environment_of_a_reader(os.environ["DATABASE_URL"]), replacements)
    try:
        reader.follow(PAGE.read_text())
        yield reader
    finally:
        reader.stop()
        with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


@pytest.fixture(scope="module")
def site(reader, ports):
    """An HTTP client of the site that the reader has made, logged in as its administrator."""
    headers = {"Host": f"north.localhost:{ports['8000']}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{ports['8000']}", headers=headers, timeout=60) as client:
        data = {
            "username": "admin",
            "password": "admin",
            "csrfmiddlewaretoken": form_token(client, "/admin/login/"),
        }
        assert client.post("/admin/login/", data=data).status_code == 302
        wait_for_restart(client, reader)
        yield client


def form_token(client, path):
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', client.get(path).text)
    return found and found[1]


def wait_for_restart(client, reader):
    """``runserver`` restarts when a file changes. It misses changes of its first second: save again."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (reader.folder / "clinic" / "urls.py").touch()
        time.sleep(1)
        with suppress(httpx.TransportError):
            if form_token(client, "/"):
                return
    pytest.fail("runserver did not show the reader's page within a minute")


def test_the_tutorial_leads_to_an_answer_that_streams_into_the_readers_page(reader, site, browser, ports):  # noqa: F811
    """One test: to follow the page takes a minute, and each process that runs tests would follow it anew."""
    require_every_command_and_file(reader)
    require_a_stream(site)
    require_the_answer_in_a_browser(browser, ports)


def require_every_command_and_file(reader):
    page = PAGE.read_text()
    assert reader.commands == page.count("\n```sh\n")
    assert len(reader.files) == page.count("\n```python\n") + page.count("\n```html\n")


def require_a_stream(site):
    page = site.get("/").text
    (url,) = re.findall(r'streamEvents\("([^"]+)"', page)
    (script,) = re.findall(r'from "([^"]+stream\.js)"', page)
    assert "export async function* streamEvents" in site.get(script).text
    headers = {"X-CSRFToken": form_token(site, "/")}
    with site.stream("POST", url, json={"input": "Do I need a referral?"}, headers=headers) as response:
        events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]
    texts = [event["text"] for event in events if event["type"] == "text"]
    assert len(texts) > 1
    assert "".join(texts) == f"{STAND_IN} You asked: Do I need a referral?"


def require_the_answer_in_a_browser(browser, ports):  # noqa: F811
    page = browser.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"script error: {error}"))
    page.goto(f"http://north.localhost:{ports['8000']}/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", "admin")
    page.click("input[type=submit]")
    page.fill("input[name=question]", "Do you take walk-ins?")
    page.click("text=Ask >> nth=-1")
    page.wait_for_selector("#answer:text('You asked: Do you take walk-ins?')")
    page.goto(f"http://north.localhost:{ports['8000']}/admin/zango_ai/invocation/")
    assert page.locator("#result_list tbody tr").count() >= 2
    page.click("#result_list tbody tr:first-child th a")
    assert "Do you take walk-ins?" in page.inner_text("#content")
