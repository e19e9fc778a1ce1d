"""The doctor's report as text and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from django.core.management.color import Style

from .. import tenancy
from ..doctor import Examined, Finding, Level
from ..doctor.findings import worst

VERSION = 1
"""The version of the JSON report's format."""
_WIDTH = 100
_WORDS = {Level.OK: "OK", Level.WARNING: "WARNING", Level.ERROR: "ERROR"}
_INDENT = " " * 11


def lines(examined: Examined, style: Style) -> Iterator[str]:
    """The project or a tenant, in text."""
    noun = "Tenant" if tenancy.has_tenants() else "Schema"
    yield style.MIGRATE_HEADING("Project" if examined.schema is None else f"{noun} {examined.schema}")
    titles = [result.check.title for result in examined.results if result.level is Level.OK]
    if titles:
        yield from _paragraph(_word(Level.OK, style), ", ".join(titles))
    for finding in examined.findings:
        yield from _finding(finding, style)


def _finding(finding: Finding, style: Style) -> Iterator[str]:
    where = f"{finding.where}: " if finding.where else ""
    yield from _paragraph(_word(finding.level, style), f"{where}{finding.problem}")
    if finding.remedy:
        yield from _paragraph(" " * 7, f"-> {finding.remedy}")
    yield f"{_INDENT}({finding.id})"


def _paragraph(label: str, text: str) -> Iterator[str]:
    first, *others = wrap(text, _WIDTH - len(_INDENT), break_long_words=False, break_on_hyphens=False) or [""]
    yield f"  {label}  {first}"
    yield from (f"{_INDENT}{line}" for line in others)


def _word(level: Level, style: Style) -> str:
    paint = {Level.OK: style.SUCCESS, Level.WARNING: style.WARNING, Level.ERROR: style.ERROR}[level]
    return str(paint(f"{_WORDS[level]:<7}"))


def summary(examined: Iterable[Examined]) -> str:
    counts = _counts(examined)
    parts = [_counted(counts[level], level.value) for level in (Level.ERROR, Level.WARNING) if counts[level]]
    return " and ".join(parts) or "Nothing is wrong."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _counts(examined: Iterable[Examined]) -> Counter[Level]:
    return Counter(finding.level for each in examined for finding in each.findings)


def document(examined: Sequence[Examined]) -> dict[str, Any]:
    """The whole report in plain values."""
    counts = _counts(examined)
    project, *tenants = examined
    return {
        "version": VERSION,
        "status": worst(each.level for each in examined).value,
        "errors": counts[Level.ERROR],
        "warnings": counts[Level.WARNING],
        "project": {"checks": _checks(project)},
        "tenants": [
            {"schema": each.schema, "status": each.level.value, "checks": _checks(each)} for each in tenants
        ],
    }


def _checks(examined: Examined) -> list[dict[str, Any]]:
    return [
        {
            "name": result.check.name,
            "title": result.check.title,
            "status": result.level.value,
            "findings": [asdict(finding) for finding in result.findings],
        }
        for result in examined.results
    ]
