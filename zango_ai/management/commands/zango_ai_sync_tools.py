from __future__ import annotations

from typing import Any

from ...configuration import tool_rows
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "Write each tenant's rows of the tools that the code declares with @tool: new and changed ones as they are "
        "now, gone ones as inactive. Migrating a tenant does the same."
    )

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        report = tool_rows.sync()
        self.stdout.write(f"{schema}: {report}")
        return not report.invalid
