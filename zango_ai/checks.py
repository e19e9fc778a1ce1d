"""System checks: ``manage.py check`` reports problems that would otherwise fail at the first run."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import ProgrammingError, transaction

from . import tenancy
from .conf import read
from .exceptions import ToolDeclarationInvalid
from .models import AgentConfig
from .runs import celery_queue
from .runs.tasks_queue import TasksQueue
from .tools import registry

if TYPE_CHECKING:
    from .configuration.retiring_models import RetiringModel

_MAX_NAMES = 10
_SETTINGS_HINT = (
    "ZANGO_AI is a dict, and every key is optional. Example: "
    "ZANGO_AI = {'ALLOWED_API_BASES': ['http://localhost:11434'], 'MAX_FILES': 5}."
)


@register("zango_ai")
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    _, problems = read(getattr(settings, "ZANGO_AI", {}))
    return [Error(problem, hint=_SETTINGS_HINT, id="zango_ai.E001") for problem in problems]


@register("zango_ai")
def check_tenant_apps(**kwargs: Any) -> list[CheckMessage]:
    """zango_ai belongs in the tenants' apps only."""
    if not tenancy.has_tenants():
        return _engine_of_tenants() if apps.is_installed("django_tenants") else []
    messages: list[CheckMessage] = []
    tenant_apps = list(getattr(settings, "TENANT_APPS", ()))
    for kind in getattr(settings, "TENANT_TYPES", {}).values():
        tenant_apps += kind.get("APPS", ())
    names = {"zango_ai", "zango_ai.apps.ZangoAIConfig"}
    if not names & set(tenant_apps):
        messages.append(
            Error("zango_ai is not in TENANT_APPS.", hint="Add 'zango_ai' to TENANT_APPS.", id="zango_ai.E002")
        )
    if names & set(getattr(settings, "SHARED_APPS", ())):
        messages.append(
            Warning(
                "zango_ai is in SHARED_APPS, which creates unused tables in the public schema.",
                hint="Remove 'zango_ai' from SHARED_APPS.",
                id="zango_ai.W002",
            )
        )
    return messages


def _engine_of_tenants() -> list[CheckMessage]:
    """All tenants would share one schema, and so all agents, conversations and logs."""
    return [
        Error(
            "django_tenants is installed, but the database engine is "
            f"{tenancy.connection().settings_dict['ENGINE']!r}.",
            hint="Set ENGINE to 'django_tenants.postgresql_backend', or remove 'django_tenants' from the apps.",
            id="zango_ai.E004",
        )
    ]


@register("zango_ai")
def check_database_engine(**kwargs: Any) -> list[CheckMessage]:
    """An error, because agents cannot run. The admin pages of the configuration work on SQLite too."""
    if tenancy.connection().vendor == "postgresql":
        return []
    return [
        Error(
            f"{tenancy.not_supported()} get_agent() and run() raise DatabaseNotSupported: budgets, limits, "
            "conversations, background runs and a log that survives a rollback need PostgreSQL.",
            hint=f"{tenancy.OTHER_DATABASE} To configure agents in the admin without running them, add "
            "'zango_ai.E006' to SILENCED_SYSTEM_CHECKS.",
            id="zango_ai.E006",
        )
    ]


@register("zango_ai", Tags.database)
def check_migrations(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Schemas without the tables. A warning, because an error would also stop the command that creates them."""
    if not _can_read_tenants(databases):
        return []
    missing = tenancy.schemas_without(AgentConfig._meta.db_table)
    if not missing:
        return []
    names = ", ".join(missing[:_MAX_NAMES]) + (", ..." if len(missing) > _MAX_NAMES else "")
    where = f" in tenant schemas ({len(missing)}): {names}" if tenancy.has_tenants() else ""
    return [
        Warning(
            f"The tables of zango_ai are missing{where}.",
            hint=f"Run: {tenancy.migrate_command()}",
            id="zango_ai.W003",
        )
    ]


def _can_read_tenants(databases: Sequence[str] | None) -> bool:
    """Whether a check of the database is asked for, and the list of tenants can be read."""
    if tenancy.connection().vendor != "postgresql":
        return False
    return tenancy.connection().alias in (databases or ()) and tenancy.can_list_schemas()


@register("zango_ai", Tags.database)
def check_retiring_models(databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Models in use that their vendor switches off soon. Tenants whose tables are not migrated are skipped."""
    if not _can_read_tenants(databases):
        return []
    from .configuration.retiring_models import retiring_models  # late: django.setup() loads little of this package

    messages: list[CheckMessage] = []
    missing = tenancy.schemas_without(AgentConfig._meta.db_table)
    for schema in sorted({*tenancy.tenant_schemas()} - {*missing}):
        alias = tenancy.connection().alias
        with tenancy.active(schema), suppress(ProgrammingError), transaction.atomic(using=alias):
            messages += [_retirement(schema, model) for model in retiring_models()]
    return messages


def _retirement(schema: str, model: RetiringModel) -> CheckMessage:
    verb = "ended" if model.is_retired else "ends"
    where = f"Tenant {schema}: support" if tenancy.has_tenants() else "Support"
    return Warning(
        f"{where} for the model {model.model!r} of provider {model.provider_name!r} {verb} on "
        f"{model.retires_on}. Used by: {', '.join(model.used_by)}.",
        hint="Choose another model in the admin, or with zango_ai_import.",
        id="zango_ai.W005",
    )


@register("zango_ai")
def check_celery_app(**kwargs: Any) -> list[CheckMessage]:
    """Checked only if the project seems to use Celery: agents also run without it."""
    uses_celery = any(name.startswith("CELERY_") for name in dir(settings)) or celery_queue.has_celery_module()
    if not uses_celery or not celery_queue.is_installed() or celery_queue.has_app():
        return []
    return [
        Warning(
            "No Celery app is configured, so enqueue() and the project's tasks cannot reach the broker.",
            hint=celery_queue.app_advice(),
            id="zango_ai.W004",
        )
    ]


@register("zango_ai")
def check_tasks_backend(**kwargs: Any) -> list[CheckMessage]:
    """The backend of Django Tasks, if ZANGO_AI["QUEUE"] names one."""
    queue = _tasks_queue()
    if queue is None:
        return []
    try:
        backend = queue.backend()
    except ImproperlyConfigured as exc:
        hint = "ZANGO_AI['QUEUE'] is 'celery', or 'tasks:' and the alias of a backend in TASKS."
        return [Error(str(exc), hint=hint, id="zango_ai.E005")]
    app = apps.get_containing_app_config(type(backend).__module__)
    if app is None or not tenancy.has_tenants() or app.name in _names_of(getattr(settings, "SHARED_APPS", ())):
        return []
    return [
        Warning(
            f"{app.name} is not in SHARED_APPS, so the workers of the Tasks backend {queue.alias!r} have no table "
            "of tasks: they read the public schema.",
            hint=f"Add {app.name!r} to SHARED_APPS and run: python manage.py migrate_schemas --shared",
            id="zango_ai.W006",
        )
    ]


@register("zango_ai", deploy=True)
def check_tasks_are_executed_later(**kwargs: Any) -> list[CheckMessage]:
    """Django's own backends are for development: they execute tasks at once, or never."""
    queue = _tasks_queue()
    if queue is None:
        return []
    try:
        path = queue.backend_path()
    except ImproperlyConfigured:
        return []
    kinds = {
        "ImmediateBackend": (
            "zango_ai.W007",
            "executes background runs inside enqueue(), which blocks the request",
        ),
        "DummyBackend": ("zango_ai.W008", "never executes background runs"),
    }
    check_id, what = kinds.get(path.rpartition(".")[2], ("", ""))
    if not check_id:
        return []
    return [
        Warning(
            f"The Tasks backend {queue.alias!r} is {path}, which {what}.",
            hint="Use a backend with workers, such as django_tasks_db.DatabaseBackend.",
            id=check_id,
        )
    ]


def _tasks_queue() -> TasksQueue | None:
    conf, problems = read(getattr(settings, "ZANGO_AI", {}))
    return None if problems or conf.queue == "celery" else TasksQueue(conf.queue.removeprefix("tasks:"))


def _names_of(app_list: Sequence[str]) -> set[str]:
    """The apps' names, whether they are listed by name or by the path of their configuration."""
    return {AppConfig.create(entry).name for entry in app_list}


@register("zango_ai")
def check_tools(**kwargs: Any) -> list[CheckMessage]:
    """Parameter types of tools. Checking them at import would slow down every start."""
    errors: list[CheckMessage] = []
    for tool in registry.all_tools():
        try:
            _ = tool.parameters
        except ToolDeclarationInvalid as exc:
            hint = "Use types that pydantic can read from JSON, for example int, list[str], date or a dataclass."
            errors.append(Error(str(exc), hint=hint, id="zango_ai.E003"))
    return errors


@register("zango_ai", Tags.security, deploy=True)
def check_encryption_keys(**kwargs: Any) -> list[CheckMessage]:
    conf, problems = read(getattr(settings, "ZANGO_AI", {}))
    if conf.encryption_keys or problems:
        return []
    return [
        Warning(
            "Credentials are encrypted with a key derived from SECRET_KEY.",
            hint="Set ZANGO_AI['ENCRYPTION_KEYS']. Otherwise, credentials are lost when SECRET_KEY changes.",
            id="zango_ai.W001",
        )
    ]
