from __future__ import annotations

from typing import Any

from ...configuration import tool_rows
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "Update each tenant's tool rows from the tools that code declares with @tool. Tools that are no longer "
        "declared become inactive. Migrating a tenant does the same."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        report = tool_rows.sync()
        self.stdout.write(f"{schema}: {report}")
        return not report.invalid
