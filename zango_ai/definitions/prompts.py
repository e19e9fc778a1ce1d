"""Define a prompt: a new version if the text has changed."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, When

from ..configuration_files.file_parts import InvalidFile, Part
from ..models import Prompt, PromptVersion
from .applying import Definition

CHANGE_DESCRIPTION = "Defined in code"


def definition(name: str, content: Any, kind: str, description: str | None, change_description: str) -> Definition:
    about = {} if description is None else {"description": description}

    def document() -> dict[str, Any]:
        return {"prompts": {name: {**entry(name, content, kind, change_description), **about}}}

    problems: list[str] = []
    check_text(content, "content", problems)
    return Definition(document, tuple(problems), {("prompts", name): ""})


def check_text(content: Any, option: str, problems: list[str]) -> None:
    """Report what cannot be the text of a prompt."""
    if Part(content, option, problems).text() is not None and not content.strip():
        problems.append(f"{option}: is empty.")


def entry(name: str, content: str, kind: str, change_description: str) -> dict[str, Any]:
    """The prompt's entry in a document. A text that is in the history already is activated, not added again."""
    row = Prompt.objects.filter(name=name).first()
    if row is None:
        return _entry(kind, 1, {"content": content, "change_description": change_description})
    if row.type != kind:
        raise InvalidFile([f"{Part({}, 'prompts').path_below(name)}: is the name of a prompt of type {row.type}."])
    is_active = Case(When(status=PromptVersion.Status.ACTIVE, then=1), default=0)
    same = row.versions.filter(content=content).order_by(is_active.desc(), "-version_number").first()
    if same is not None:
        return _entry(kind, same.version_number, {"content": content})
    return _entry(kind, row.next_number(), {"content": content, "change_description": change_description})


def _entry(kind: str, number: int, version: dict[str, str]) -> dict[str, Any]:
    return {"type": kind, "versions": {number: version}, "active_version": number}
