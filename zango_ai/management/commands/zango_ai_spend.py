from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ...ledger import spend_report
from ...ledger.money import format_usd
from ...ledger.spend_report import SpendRow
from ..per_tenant import TenantCommand

_HEADINGS = ("tenant", "type", "name", "month from", "spent", "reserved", "limit")
_FIRST_AMOUNT_COLUMN = 4


class Command(TenantCommand):
    help = (
        "Show the spend and the budgets of each tenant, by provider and by agent. Totals are those of providers, "
        "which include the spend of agents."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--month", help="YYYY-MM: budget months that start in it (default: current)")
        parser.add_argument("--json", action="store_true", dest="as_json", help="write JSON (amounts as strings)")

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        self._month = _month_of(options["month"])
        self._rows: dict[str, list[SpendRow]] = {}
        try:
            super().handle(*args, schema=schema, **options)
        finally:
            if self._rows:
                as_json = options["as_json"]
                self.stdout.write(_as_json(self._rows) if as_json else "\n".join(_lines(self._rows)))

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        self._rows[schema] = spend_report.read(schema, self._month)
        return True


def _month_of(month: str | None) -> date | None:
    try:
        return None if month is None else datetime.strptime(month, "%Y-%m").date()
    except ValueError:
        raise CommandError(f"--month is {month!r}. Use YYYY-MM, for example 2026-11.") from None


def _sums(rows: Iterable[SpendRow]) -> tuple[Decimal, Decimal, int]:
    """The total spent and reserved, and the number of calls of unknown cost."""
    provider_rows = [row for row in rows if row.owner == "provider"]
    return (
        sum((row.spent_usd for row in provider_rows), Decimal(0)),
        sum((row.reserved_usd for row in provider_rows), Decimal(0)),
        sum(row.unknown_calls for row in provider_rows),
    )


def _as_json(rows_by_schema: dict[str, list[SpendRow]]) -> str:
    tenants = [
        {"schema": schema, **_named_sums(rows), "rows": [asdict(row) for row in rows]}
        for schema, rows in rows_by_schema.items()
    ]
    all_rows = [row for rows in rows_by_schema.values() for row in rows]
    return json.dumps({**_named_sums(all_rows), "tenants": tenants}, indent=2, default=_as_text)


def _as_text(value: Decimal | date) -> str:
    return f"{value:f}" if isinstance(value, Decimal) else value.isoformat()


def _named_sums(rows: Iterable[SpendRow]) -> dict[str, Decimal | int]:
    return dict(zip(("spent_usd", "reserved_usd", "unknown_calls"), _sums(rows), strict=True))


def _lines(rows_by_schema: dict[str, list[SpendRow]]) -> Iterator[str]:
    table: list[tuple[str, ...]] = [_HEADINGS]
    for schema, rows in rows_by_schema.items():
        table += [(schema, row.owner, row.name, str(row.month_start), *_cells(row)) for row in rows]
        table.append((schema, "total", "", "", *_amounts(*_sums(rows)), ""))
    all_rows = [row for rows in rows_by_schema.values() for row in rows]
    table.append(("all", "total", "", "", *_amounts(*_sums(all_rows)), ""))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in table:
        aligned = (
            cell.rjust(width) if column >= _FIRST_AMOUNT_COLUMN else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        yield "  ".join(aligned).rstrip()


def _cells(row: SpendRow) -> tuple[str, str, str]:
    limit = "-" if row.limit_usd is None else format_usd(row.limit_usd)
    return *_amounts(row.spent_usd, row.reserved_usd, row.unknown_calls), limit


def _amounts(spent: Decimal, reserved: Decimal, unknown_calls: int) -> tuple[str, str]:
    """What is spent and reserved. Calls whose cost is unknown are named beside what is spent."""
    unknown = f" + {unknown_calls} call{'' if unknown_calls == 1 else 's'} of unknown cost" if unknown_calls else ""
    return format_usd(spent) + unknown, format_usd(reserved)
