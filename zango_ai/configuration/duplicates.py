"""Copy an agent with its tools and fallbacks."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction

from ..models import AgentConfig, Fallback

_MAX_NAME = 100


def duplicate(agent: AgentConfig) -> AgentConfig:
    """A copy under a free name, such as ``helper-copy``. It is disabled, and not available over HTTP."""
    tools, fallbacks = list(agent.tools.all()), list(agent.fallbacks.all())
    with transaction.atomic():
        columns = {
            field.attname: getattr(agent, field.attname)
            for field in AgentConfig._meta.concrete_fields
            if not field.primary_key
        }
        switches = {"name": _free_name(agent.name), "is_enabled": False, "is_public_api": False}
        copy = AgentConfig.objects.create(**{**columns, **switches})
        copy.tools.set(tools)
        for row in fallbacks:
            Fallback.objects.create(agent=copy, position=row.position, provider_id=row.provider_id, model=row.model)
    return copy


def _free_name(name: str) -> str:
    taken = set(AgentConfig.objects.values_list("name", flat=True))
    return next(each for each in _names(name) if each not in taken)


def _names(name: str) -> Iterator[str]:
    number = 1
    while True:
        ending = "-copy" if number == 1 else f"-copy-{number}"
        yield name[: _MAX_NAME - len(ending)] + ending
        number += 1
