"""Tools whose rows do not match the code."""

from __future__ import annotations

from collections.abc import Iterator

from .. import tenancy
from ..configuration import tool_rows
from .findings import Finding, Scope, error, warning


def find_in_tools(scope: Scope) -> Iterator[Finding]:
    report = tool_rows.pending()
    remedy = f"Run: python manage.py zango_ai_sync_tools{tenancy.schema_option(scope.schema)}"
    for problem in report.invalid:
        yield error("tools.invalid", "", problem, "Correct the declaration.")
    if report.new:
        names = ", ".join(report.new)
        yield error("tools.no_row", "", f"Agents cannot use these tools, which have no row yet: {names}.", remedy)
    if report.changed:
        names = ", ".join(report.changed)
        problem = f"The admin shows an older declaration of these tools than the code has: {names}."
        yield warning("tools.changed", "", problem, remedy)
    if report.gone:
        names = ", ".join(report.gone)
        problem = f"No code declares these tools any more, but the admin still offers them: {names}."
        yield warning("tools.no_code", "", problem, f"Declare them again. Or run: {remedy.removeprefix('Run: ')}")
