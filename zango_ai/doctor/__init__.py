"""Find out what is missing or wrong in a project and its tenants: ``manage.py zango_ai_doctor``.

Each check is a generator that yields a ``Finding`` for each problem. To add one, write it in the module of its
subject, and list it in ``PROJECT`` or ``TENANT``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .. import tenancy
from ..exceptions import ZangoAIError
from . import activity, agents, background, credentials, migrations, project, prompts, providers, tools
from .findings import Check, Finding, Level, Result, Scope, error, worst

__all__ = [
    "PROJECT",
    "TENANT",
    "Check",
    "Examined",
    "Finding",
    "Level",
    "Result",
    "examine_project",
    "examine_tenant",
]

PROJECT: Sequence[Check] = (
    Check("settings", "Settings", project.find_in_settings, is_required=True),
    Check("database", "Database", project.find_in_database, is_required=True),
    Check("time_zones", "Time zones", project.find_in_time_zones),
    Check("storage", "File storage", project.find_in_storage),
    Check("queue", "Queue and workers", background.find_in_queue),
)
"""Checks of what all tenants share, in order."""
TENANT: Sequence[Check] = (
    Check("migrations", "Migrations", migrations.find_in_migrations, is_required=True),
    Check("credentials", "Credentials", credentials.find_in_credentials),
    Check("providers", "Providers", providers.find_in_providers),
    Check("connections", "Connections to providers", providers.find_in_connections, is_online=True),
    Check("prompts", "Prompts", prompts.find_in_prompts),
    Check("agents", "Agents", agents.find_in_agents),
    Check("models", "Models", agents.find_in_models),
    Check("tools", "Tools", tools.find_in_tools),
    Check("runs", "Background runs", activity.find_in_runs),
    Check("maintenance", "Maintenance", activity.find_in_maintenance),
)
"""Checks of one tenant, in order."""


@dataclass(frozen=True, slots=True)
class Examined:
    """The project or one tenant, with the results of its checks. ``schema`` is None for the project."""

    schema: str | None
    results: tuple[Result, ...]

    @property
    def level(self) -> Level:
        return worst(result.level for result in self.results)

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(finding for result in self.results for finding in result.findings)


def examine_project(*, is_offline: bool = False) -> Examined:
    """Check what all tenants share."""
    return Examined(None, tuple(_results(PROJECT, Scope("", is_offline))))


def examine_tenant(schema: str, *, is_offline: bool = False) -> Examined:
    """Check one tenant."""
    with tenancy.active(schema):
        checks = TENANT if migrations.uses_zango_ai(schema) else ()
        return Examined(schema, tuple(_results(checks, Scope(schema, is_offline))))


def _results(checks: Sequence[Check], scope: Scope) -> Iterator[Result]:
    """The results until a required check finds an error."""
    for check in checks:
        if check.is_online and scope.is_offline:
            continue
        result = Result(check, tuple(_findings(check, scope)))
        yield result
        if check.is_required and result.level is Level.ERROR:
            return


def _findings(check: Check, scope: Scope) -> Iterator[Finding]:
    """The findings; also one if the check itself fails, so that the others still run."""
    try:
        yield from check.find(scope)
    except Exception as exc:
        shown = str(exc) if isinstance(exc, ZangoAIError) else f"{type(exc).__name__}: {exc}"
        yield error(
            f"{check.name}.failed",
            "",
            f"The check could not be completed. {shown}",
            "Correct this first, then run the command again.",
        )
