"""Record an import in the admin's history and in the log."""

from __future__ import annotations

import logging
from typing import Any

from django.db.models import Model

from ..models import AgentConfig, Prompt, Provider, Tool
from .plan import Plan, Step

logger = logging.getLogger("zango_ai.configuration")
_MODELS: dict[str, type[Model]] = {
    "providers": Provider,
    "prompts": Prompt,
    "tools": Tool,
    "agents": AgentConfig,
}


def write_log(schema: str, plan: Plan) -> None:
    """Log the names of what changed, without values."""
    for step in plan.changes:
        logger.info("Import into %s: %s %s %s (%s)", schema, step.action, step.noun, step.name, _paths(step))


def write_admin_history(plan: Plan, user: Any) -> None:
    """Add an entry of the user's to the admin's history of each row that changed."""
    from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
    from django.contrib.contenttypes.models import ContentType

    ContentType.objects.clear_cache()  # each tenant has its own ids
    flags = {"create": ADDITION, "change": CHANGE, "delete": DELETION}
    for step in plan.changes:
        model = _MODELS[step.section]
        row = model._default_manager.filter(name=step.name).first()
        LogEntry.objects.create(
            user=user,
            content_type=ContentType.objects.get_for_model(model),
            object_id="" if row is None else str(row.pk),
            object_repr=step.name[:200],
            action_flag=flags[step.action],
            change_message=f"Configuration file: {_paths(step)}" if step.fields else "Configuration file",
        )


def _paths(step: Step) -> str:
    return ", ".join(field.path for field in step.fields)
