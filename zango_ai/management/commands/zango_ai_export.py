from __future__ import annotations

from typing import Any

from ... import tenancy
from ...configuration_files import export, yaml_text
from ..per_tenant import TenantCommand


class Command(TenantCommand):
    help = (
        "Write the configuration to standard output as YAML, without credentials: providers, prompts, tools and "
        "agents. With --schema, the file fits any tenant. Without, it has a part for each tenant."
    )

    def handle(self, *args: Any, schema: str | None, **options: Any) -> None:
        self._documents: dict[str, Any] = {}
        super().handle(*args, schema=schema, **options)
        document = self._documents.get(schema or tenancy.only_schema() or "", {"tenants": self._documents})
        self.stdout.write(yaml_text.dump(document), ending="")

    def handle_tenant(self, schema: str, **options: Any) -> bool:
        self._documents[schema] = export.document()
        return True
