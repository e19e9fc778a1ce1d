from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class ZangoAIConfig(AppConfig):
    name = "zango_ai"
    label = "zango_ai"
    verbose_name = _("AI")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401  registers the system checks
        from .runs import celery_queue, tasks_queue

        post_migrate.connect(_sync_tools, sender=self, dispatch_uid="zango_ai.sync_tools")
        autodiscover_modules("tools")
        celery_queue.register_task(_celery_task)
        tasks_queue.register_task(_django_task)
        if getattr(settings, "TASKS", None) and (tasks := tasks_queue.find_tasks()) is not None:
            tasks_queue.follow_tasks(tasks)


def _celery_task() -> Any:
    """The task that executes a queued run. Importing it imports Celery."""
    from .tasks import RunAgent

    return RunAgent


def _django_task() -> Any:
    """The same for Django Tasks. Importing it declares it, with the backend of the settings."""
    from .django_tasks import run_agent

    return run_agent


def _sync_tools(*, using: str, verbosity: int, **kwargs: Any) -> None:
    """Write the tool rows of a schema after it was migrated."""
    from . import tenancy
    from .configuration import tool_rows
    from .models import Tool

    connection = tenancy.connection()
    schema = tenancy.current_schema()
    if using != connection.alias or tenancy.is_public(schema):
        return
    if Tool._meta.db_table not in connection.introspection.table_names():
        return  # migrated back to before the table existed
    report = tool_rows.sync()
    if verbosity > 1 or (verbosity and report.invalid):
        print(f"Tools of {schema}: {report}" if tenancy.has_tenants() else f"Tools: {report}")  # noqa: T201  Django's own handlers print too
