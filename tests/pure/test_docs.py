"""The documentation agrees with the tables that it describes."""

import re
from dataclasses import fields
from pathlib import Path

from zango_ai import exceptions
from zango_ai.conf import Conf
from zango_ai.providers.kinds import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(page):
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_kind_is_described_with_its_credentials():
    described = {names(row[0])[0]: (names(row[1]), names(row[2])) for row in rows("how-to/connect-a-provider.md")}
    for kind in KINDS.values():
        needed = {slot.name for slot in kind.slots if slot.is_required}
        others = {slot.name for slot in kind.slots} - needed
        assert {*described[kind.name][0]} == needed, kind.name
        assert {*described[kind.name][1]} == others, kind.name


def test_every_setting_is_described():
    described = {names(row[0])[0] for row in rows("reference/settings.md")}
    assert described == {field.name.upper() for field in fields(Conf)}


def test_every_error_is_described():
    described = {name for row in rows("reference/errors.md") for name in names(row[0])}
    ours = {n for n, e in vars(exceptions).items() if isinstance(e, type) and issubclass(e, Exception)}
    groups = {"ZangoAIError", "NotFoundError", "DisabledError", "OutputError"}
    assert ours - groups <= described, ours - groups - described


def test_what_each_kind_takes_is_described():
    described = {names(row[0])[0]: row[1:4] for row in rows("how-to/send-files.md") if names(row[0])[0] in KINDS}
    yes = {True: "yes", False: "no"}
    for kind in KINDS.values():
        documents = {0: "none", 1: "PDF"}.get(len(kind.document_types), "PDF, Word, Excel")
        assert described[kind.name] == [documents, yes[kind.fetches_images], yes[kind.fetches_documents]]
