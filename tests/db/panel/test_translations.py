"""The panel in German: the catalog is complete, and no text of a page stays English."""

import gettext
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.apps import apps

from tests import panel_data, translations
from tests.screenshots import PAGES
from zango_ai.models import AgentConfig, Invocation, Tool

DATA = "".join(
    path.read_text()
    for path in [Path(panel_data.__file__), *(translations.ROOT / "example_project/patients").glob("*.py")]
)
"""Texts that the clinic and its staff wrote are in these files."""
GERMAN = {"Accept-Language": "de"}


class _Texts(HTMLParser):
    """The texts of a page that are more than one word."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self._silent = 0

    def handle_starttag(self, tag, attrs):
        self._silent += tag in {"script", "style", "pre", "code", "textarea"}
        for name, value in attrs:
            if name in {"title", "aria-label", "placeholder", "data-label"} and value:
                self._add(value)

    def handle_endtag(self, tag):
        self._silent -= tag in {"script", "style", "pre", "code", "textarea"}

    def handle_data(self, data):
        if not self._silent:
            self._add(data)

    def _add(self, text):
        if re.search(r"[A-Za-z]{2,} +[a-z]{2,}", text):
            self.found.add(" ".join(text.split()))


def _with_real_key(found):
    """The address of the n-th object: keys are not counted from 1 in every test."""
    model, place = found.groups()
    if model == "versions":
        return found.group()
    return f"{model}/{apps.get_model('zango_ai', model).objects.order_by('pk')[int(place) - 1].pk}/"


def texts_of(client, address, **headers):
    page = client.get(address, headers=headers)
    assert page.status_code == 200, address
    reader = _Texts()
    reader.feed(page.content.decode())
    return reader.found


@pytest.mark.skipif(not shutil.which("xgettext") and not os.environ.get("CI"), reason="needs GNU gettext")
@pytest.mark.parametrize("language", translations.LANGUAGES)
def test_every_text_of_the_admin_is_translated(language, tmp_path):
    package = translations.copy_package(tmp_path)
    translations.collect(package, language)
    catalog = translations.catalog_of(language)
    assert translations.problems_of(catalog) == ""
    advice = "Run: python -m tests.translations"
    assert translations.catalog_of(language, package).read_text() == catalog.read_text(), advice
    compiled = tmp_path / "compiled.mo"
    translations.run("msgfmt", "-o", str(compiled), str(catalog))
    assert texts_in(compiled) == texts_in(catalog.with_suffix(".mo")), advice


def texts_in(path):
    with path.open("rb") as file:
        return gettext.GNUTranslations(file)._catalog


def test_a_page_speaks_the_language_of_the_browser(staff):
    assert "What your agents do" in staff.get("/admin/zango_ai/").content.decode()
    german = staff.get("/admin/zango_ai/", headers=GERMAN).content.decode()
    assert "Was Ihre Agenten tun" in german


def test_numbers_have_the_separators_of_the_language(staff, north):
    panel_data.fill(runs=5)
    Invocation.objects.update(cost_usd="1234.5", input_tokens=9310)
    assert "$1.234,50" in staff.get("/admin/zango_ai/invocation/", headers=GERMAN).content.decode()
    assert "$1,234.50" in staff.get("/admin/zango_ai/invocation/").content.decode()


def test_no_text_of_the_panel_stays_english(staff, north):
    panel_data.fill(runs=30)
    run = Invocation.objects.filter(status="success").latest("pk")
    first = AgentConfig.objects.earliest("pk").pk
    addresses = [re.sub(r"(\w+)/(\d)/", _with_real_key, way) for way in PAGES.values() if isinstance(way, str)]
    addresses = [address.replace("agent=1", f"agent={first}") for address in addresses]
    # Other tests of the process declare tools, whose words are English.
    words = {text for tool in Tool.objects.all() for text in (tool.name, tool.description, tool.section)}
    english = {
        (text, address)
        for address in [*addresses, f"/admin/zango_ai/invocation/{run.pk}/change/"]
        for text in texts_of(staff, address) & texts_of(staff, address, **GERMAN)
        if text.removeprefix("v1 ").removeprefix("v3 ")[:18] not in DATA and text not in words
    }
    assert english == set()
