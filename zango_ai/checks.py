"""System checks: what would fail at the first run is said at ``manage.py check``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register

from . import tenancy
from .conf import read
from .exceptions import ToolDeclarationInvalid
from .models import AgentConfig
from .runs import queue
from .tools import registry

_MOST_NAMES = 10
_SETTINGS_HINT = (
    "ZANGO_AI is a dict in which every key may be left out, such as "
    "ZANGO_AI = {'ALLOWED_API_BASES': ['http://localhost:11434'], 'MAX_FILES': 5}."
)


@register("zango_ai")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    _, problems = read(getattr(settings, "ZANGO_AI", {}))
    return [Error(problem, hint=_SETTINGS_HINT, id="zango_ai.E001") for problem in problems]


@register("zango_ai")
def check_tenant_apps(**kwargs: Any) -> list[CheckMessage]:
    """The tables belong in tenant schemas, and nowhere else."""
    if not tenancy.is_used():
        hint = tenancy.HOW_TO_USE_DJANGO_TENANTS
        return [Error(tenancy.needs_django_tenants(), hint=hint, id="zango_ai.E004")]
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


@register("zango_ai", Tags.database)
def check_migrations(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """A warning, not an error: an error would stop ``migrate_schemas`` itself."""
    if not tenancy.is_used() or tenancy.connection().alias not in (databases or ()):
        return []
    # While a tenant is migrated its schema is active, and the others are not what that is about.
    if not tenancy.is_public(tenancy.current_schema()) or not tenancy.has_tenants_table():
        return []
    missing = tenancy.schemas_without(AgentConfig._meta.db_table)
    if not missing:
        return []
    names = ", ".join(missing[:_MOST_NAMES]) + (", ..." if len(missing) > _MOST_NAMES else "")
    return [
        Warning(
            f"Tenants that lack the tables of zango_ai ({len(missing)}): {names}.",
            hint="Run: python manage.py migrate_schemas",
            id="zango_ai.W003",
        )
    ]


@register("zango_ai")
def check_celery_app(**kwargs: Any) -> list[CheckMessage]:
    """Only for a project that means to use Celery: without it, agents run all the same."""
    means_to = any(name.startswith("CELERY_") for name in dir(settings)) or queue.has_celery_module()
    if not means_to or queue.has_app():
        return []
    return [
        Warning(
            "No Celery app is configured: enqueue() and the project's tasks cannot reach the broker.",
            hint=queue.app_advice(),
            id="zango_ai.W004",
        )
    ]


@register("zango_ai")
def check_tools(**kwargs: Any) -> list[CheckMessage]:
    """Types are looked at here, and not when a tool is declared: that would make every start slower."""
    found: list[CheckMessage] = []
    for made in registry.all_tools():
        try:
            _ = made.parameters
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
