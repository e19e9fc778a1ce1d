"""Import prompts. The content of a saved version never changes: a changed text becomes a new version."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from django.db.models import QuerySet

from ..models import Prompt, PromptVersion
from . import rows
from .export import VERSION_FIELDS, columns
from .file_parts import Part, Skipped

_KEYS = {*(field.name for field in columns(Prompt)), "active_version", "versions"}
_VERSION_KEYS = {*VERSION_FIELDS, "status"}
_STATUSES = ("draft", "inactive")


@dataclass(frozen=True, slots=True)
class _Version:
    """One version in the file."""

    number: int
    content: str
    part: Part
    entries: Mapping[str, Part]


def import_prompt(name: str, part: Part, row: Prompt | None, *, author: str = "") -> Prompt | None:
    """Create or change a prompt and its versions. None if it could not be created.

    ``author`` is who imports the file, for the history of the versions.
    """
    entries = part.entries(_KEYS)
    prompt = row or Prompt(name=name)
    if rows.assign(prompt, entries) and not rows.save(prompt, part):
        return row
    versions = list(_read(entries["versions"])) if "versions" in entries else []
    by_number = _import_versions(prompt, versions, author)
    if "active_version" in entries:
        _activate(prompt, entries["active_version"], by_number, author)
    return prompt


def _read(part: Part) -> list[_Version]:
    versions = []
    for number, each in part.entries().items():
        if not isinstance(number, int) or isinstance(number, bool) or number < 1:
            each.report("is not the number of a version. Use 1, 2, 3 and so on.")
            continue
        entries = each.entries(_VERSION_KEYS)
        content = entries["content"].text() if "content" in entries else None
        if "content" not in entries:
            each.report("content is missing.")
        if content is not None:
            versions.append(_Version(number, content, each, entries))
    return sorted(versions, key=lambda version: version.number)


def _import_versions(prompt: Prompt, versions: list[_Version], author: str) -> dict[int, PromptVersion]:
    """The saved version of each number in the file. Versions that are not in the database yet are created."""
    saved = {version.version_number: version for version in prompt.versions.all()}
    found = match({number: row.content for number, row in saved.items()}, {v.number: v.content for v in versions})
    last = max(prompt.last_version_number, *saved, 0)
    by_number = {}
    # Free numbers first, so that as many versions as possible keep their number.
    for version in sorted(versions, key=lambda each: (each.number <= last, each.number)):
        if version.number in found:
            by_number[version.number] = saved[found[version.number]]
        else:
            number = version.number if version.number > last else None
            created = PromptVersion(prompt=prompt, content=version.content, created_by=author)
            created.version_number = number or prompt.next_number()
            if not rows.save(created, version.part):
                continue
            prompt.last_version_number = max(prompt.last_version_number, created.version_number)
            by_number[version.number] = created
        _describe(by_number[version.number], version)
    return by_number


def match(saved: Mapping[int, str], wanted: Mapping[int, str]) -> dict[int, int]:
    """For each wanted number the saved one with the same content: the same number if possible, else another."""
    found = {number: number for number, content in wanted.items() if saved.get(number) == content}
    free = {number: content for number, content in saved.items() if number not in found}
    for number, content in wanted.items():
        if number in found or number > max(saved, default=0):
            continue
        same = next((other for other in sorted(free, reverse=True) if free[other] == content), None)
        if same is not None:
            found[number] = same
            del free[same]
    return found


def _describe(row: PromptVersion, version: _Version) -> None:
    """Set the description and, unless the version is active, the status."""
    if "change_description" in version.entries:
        field = PromptVersion._meta.get_field("change_description")
        with suppress(Skipped):
            text = version.entries["change_description"].for_field(field)
            if text != row.change_description:
                row.change_description = text
                rows.save(row, version.part)
    if "status" not in version.entries:
        return
    status = version.entries["status"].value
    if status not in _STATUSES:
        version.entries["status"].report(
            f"must be draft or inactive. To activate a version, set active_version to {version.number}."
        )
    elif row.status not in (status, PromptVersion.Status.ACTIVE):
        # A plain queryset, because the model's own rejects the status.
        versions: QuerySet[PromptVersion] = QuerySet(PromptVersion)
        versions.filter(pk=row.pk).update(status=status)


def _activate(prompt: Prompt, part: Part, by_number: Mapping[int, PromptVersion], author: str) -> None:
    prompt.refresh_from_db()
    if part.value is None:
        if by_number:
            part.report("is missing. Enter the number of one of the versions.")
        return
    version = by_number.get(part.value) if isinstance(part.value, int) else None
    if version is None and isinstance(part.value, int):
        version = prompt.versions.filter(version_number=part.value).first()
    if version is None:
        part.report(f"is {part.value!r}, which is not one of the prompt's versions.")
    elif version.pk != prompt.active_version_id:
        version.activate(activated_by=author)
