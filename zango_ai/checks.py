"""System checks: what would fail at the first run is said at ``manage.py check``."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from .conf import read
from .exceptions import ToolDeclarationInvalid
from .tools import registry


@register("zango_ai")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    _, problems = read(getattr(settings, "ZANGO_AI", {}))
    return [Error(problem, hint="See docs/reference/settings.md.", id="zango_ai.E001") for problem in problems]


@register("zango_ai")
def check_tenant_apps(**kwargs: Any) -> list[CheckMessage]:
    """The tables belong in tenant schemas, and nowhere else."""
    found: list[CheckMessage] = []
    tenant_apps = list(getattr(settings, "TENANT_APPS", ()))
    for kind in getattr(settings, "TENANT_TYPES", {}).values():
        tenant_apps += kind.get("APPS", ())
    names = {"zango_ai", "zango_ai.apps.ZangoAIConfig"}
    if not names & set(tenant_apps):
        found.append(
            Error("zango_ai is not in TENANT_APPS.", hint="Add 'zango_ai' to TENANT_APPS.", id="zango_ai.E002")
        )
    if names & set(getattr(settings, "SHARED_APPS", ())):
        found.append(
            Warning(
                "zango_ai is in SHARED_APPS: the public schema has agents' tables that nothing uses.",
                hint="Take 'zango_ai' out of SHARED_APPS.",
                id="zango_ai.W002",
            )
        )
    return found


@register("zango_ai")
def check_tools(**kwargs: Any) -> list[CheckMessage]:
    """Types are looked at here, and not when a tool is declared: that would make every start slower."""
    found: list[CheckMessage] = []
    for made in registry.every():
        try:
            _ = made.arguments
        except ToolDeclarationInvalid as exc:
            hint = "Use types that pydantic can read from JSON, such as int, list[str], date or a dataclass."
            found.append(Error(str(exc), hint=hint, id="zango_ai.E003"))
    return found


@register("zango_ai", Tags.security, deploy=True)
def check_encryption_keys(**kwargs: Any) -> list[CheckMessage]:
    conf, problems = read(getattr(settings, "ZANGO_AI", {}))
    if conf.encryption_keys or problems:
        return []
    return [
        Warning(
            "Credentials are encrypted with a key that is derived from SECRET_KEY.",
            hint="Set ZANGO_AI['ENCRYPTION_KEYS'], so that changing SECRET_KEY loses no credentials.",
            id="zango_ai.W001",
        )
    ]
