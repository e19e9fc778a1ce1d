"""Import agents, with their prompts, tools and fallbacks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..argument_checks import did_you_mean
from ..models import AgentConfig, Fallback, Prompt, Provider, Tool
from . import rows
from .export import AGENT_REFERENCES, columns
from .file_parts import Part

_KEYS = {*(column.name for column in columns(AgentConfig)), *AGENT_REFERENCES, "tools", "fallbacks"}
_FALLBACK_KEYS = ("provider", "model")


@dataclass(frozen=True, slots=True)
class References:
    """The rows that agents can name."""

    providers: Mapping[str, Provider]
    prompts: Mapping[str, Prompt]
    tools: Mapping[str, Tool]
    invalid: Collection[str]
    """Names of entries whose errors are reported already."""
    place: str
    """Where a missing row was looked for."""

    def find(self, part: Part, rows_by_name: Mapping[str, Any], noun: str) -> Any:
        """The row that the part names; None after a report."""
        name = part.text()
        if name is None:
            return None
        if name not in rows_by_name and name not in self.invalid:
            part.report(f"there is no {noun} {name!r}{self.place}.{did_you_mean(name, rows_by_name)}")
        return rows_by_name.get(name)


def import_agent(name: str, part: Part, row: AgentConfig | None, references: References) -> None:
    """Create or change an agent."""
    entries = part.entries(_KEYS)
    agent = row or AgentConfig(name=name)
    found = [_refer(agent, key, entries[key], references) for key in AGENT_REFERENCES if key in entries]
    is_changed = _has_other_references(agent, row) | rows.assign(agent, entries)
    tools = _tools(entries["tools"], references) if "tools" in entries else None
    fallbacks = list(_fallbacks(entries["fallbacks"], references)) if "fallbacks" in entries else None
    if not all(found) or part.has_problems() or (is_changed and not rows.save(agent, part)):
        return
    if tools is not None:
        agent.tools.set(tools)
    if fallbacks is not None:
        _set_fallbacks(agent, fallbacks, entries["fallbacks"])


def _refer(agent: AgentConfig, key: str, part: Part, references: References) -> bool:
    """Assign a foreign key. False if the row that the part names does not exist or cannot be used."""
    found: Provider | Prompt | None = None
    if key == "provider":
        found = references.find(part, references.providers, "provider")
    elif part.value is not None:
        found = _prompt_of_type(key.removesuffix("_prompt"), part, references)
    is_valid = found is not None or (key != "provider" and part.value is None)
    if is_valid:
        setattr(agent, key, found)
    return is_valid


def _prompt_of_type(wanted: str, part: Part, references: References) -> Prompt | None:
    found: Prompt | None = references.find(part, references.prompts, "prompt")
    if found is not None and found.type != wanted:
        part.report(f"the prompt {found.name!r} is of type {found.type}. Use a prompt of type {wanted}.")
        return None
    return found


def _has_other_references(agent: AgentConfig, row: AgentConfig | None) -> bool:
    if row is None:
        return True
    saved = AgentConfig.objects.filter(pk=row.pk).values(*(f"{key}_id" for key in AGENT_REFERENCES)).get()
    return any(getattr(agent, key) != value for key, value in saved.items())


def _tools(part: Part, references: References) -> list[Tool]:
    found = (references.find(item, references.tools, "tool") for item in part.items())
    return [tool for tool in found if tool is not None]


def _fallbacks(part: Part, references: References) -> Iterator[Fallback]:
    for position, item in enumerate(part.items(), start=1):
        entries = item.entries(_FALLBACK_KEYS)
        if "provider" not in entries:
            item.report("provider is missing.")
            continue
        provider = references.find(entries["provider"], references.providers, "provider")
        fallback = Fallback(position=position, provider=provider)
        if provider is not None:
            rows.assign(fallback, {"model": entries["model"]} if "model" in entries else {})
            yield fallback


def _set_fallbacks(agent: AgentConfig, fallbacks: list[Fallback], part: Part) -> None:
    saved = sorted(agent.fallbacks.all(), key=lambda each: (each.position, each.pk))
    if [(each.provider_id, each.model) for each in saved] == [(each.provider_id, each.model) for each in fallbacks]:
        return
    agent.fallbacks.all().delete()
    for fallback, item in zip(fallbacks, part.items(), strict=True):
        fallback.agent = agent
        rows.save(fallback, item)
