"""What an import changes in a tenant: the difference between its configuration before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .export import SECTIONS

Action = Literal["create", "change", "delete", "unchanged"]
_SIGNS: dict[Action, str] = {"create": "+", "change": "~", "delete": "-", "unchanged": "="}
_MAX_CHARS = 60
"""How much of a value the plan shows."""
_MISSING = object()


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field. ``before`` or ``after`` is ``""`` where the field does not exist."""

    path: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.path}: {self.before} -> {self.after}" if self.before else f"{self.path}: {self.after}"


@dataclass(frozen=True, slots=True)
class Step:
    """One provider, prompt, agent or tool."""

    action: Action
    section: str
    name: str
    fields: tuple[FieldChange, ...] = ()

    @property
    def noun(self) -> str:
        return self.section.removesuffix("s")

    def lines(self) -> Iterator[str]:
        """The step in text, with a line for each field that changes."""
        note = "unchanged" if self.action == "unchanged" else self.action
        yield f"  {_SIGNS[self.action]} {self.noun} {self.name} ({note})"
        if self.action != "delete":
            yield from (f"      {field}" for field in self.fields)


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps for one tenant, in the order of the file's sections."""

    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    """What is left to do by hand, such as entering an API key."""

    @property
    def changes(self) -> list[Step]:
        return [step for step in self.steps if step.action != "unchanged"]

    def lines(self) -> Iterator[str]:
        """The plan in text."""
        for step in self.steps:
            yield from step.lines()
        yield from (f"  ! {note}" for note in self.notes)
        yield f"  {self.summary()}"

    def summary(self) -> str:
        counts = {action: sum(step.action == action for step in self.steps) for action in _SIGNS}
        return (
            f"{counts['create']} to create, {counts['change']} to change, {counts['delete']} to delete, "
            f"{counts['unchanged']} unchanged"
        )


def compare(before: Mapping[str, Any], after: Mapping[str, Any], named: Mapping[str, set[str]]) -> tuple[Step, ...]:
    """The steps from one document to another. An entry that is unchanged is listed if ``named`` has its name."""
    steps = []
    for section in SECTIONS:
        earlier, entries = before[section], after[section]
        for name in sorted({*entries, *earlier}):
            step = _step(section, name, earlier.get(name), entries.get(name))
            if step.action != "unchanged" or name in named.get(section, ()):
                steps.append(step)
    return tuple(steps)


def _step(section: str, name: str, before: Any, after: Any) -> Step:
    if after is None:
        return Step("delete", section, name)
    fields = tuple(_field_changes(before or {}, after))
    action: Action = "create" if before is None else "change" if fields else "unchanged"
    return Step(action, section, name, fields)


def _field_changes(before: Any, after: Any, path: str = "") -> Iterator[FieldChange]:
    if isinstance(after, dict) and isinstance(before, dict) and path not in _VALUES:
        for key in [*after, *(key for key in before if key not in after)]:
            below = f"{path}.{key}" if path else str(key)
            yield from _field_changes(before.get(key, _MISSING), after.get(key, _MISSING), below)
    elif before != after:
        if before is _MISSING and isinstance(after, dict) and path not in _VALUES:
            yield from _field_changes({}, after, path)
        else:
            yield FieldChange(path, _shown(before), _shown(after) or "(removed)")


_VALUES = frozenset({"output_json_schema"})
"""Fields whose value is JSON: they change as a whole."""


def _shown(value: Any) -> str:
    if value is _MISSING:
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}... ({len(text)} characters)"
