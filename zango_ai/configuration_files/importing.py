"""Import a configuration file into the current tenant, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models import Model, ProtectedError, RestrictedError

from .. import tenancy
from ..models import AgentConfig, Prompt, Provider
from . import agents, export, history, plan, prompts, providers, tools
from .file_parts import InvalidFile, Part
from .plan import Plan

_PRUNED: dict[str, type[Model]] = {"agents": AgentConfig, "prompts": Prompt, "providers": Provider}
"""In an order in which rows can be deleted: first those that use others."""


_IN_FILE = ", neither in the tenant nor in the file"


class _Undo(Exception):
    """Rolls back a preview."""


def import_document(
    document: Any, *, prune: bool = False, preview: bool = False, path: str = "", user: Any = None
) -> Plan:
    """Import the document into the current schema, and return what changed.

    A preview does the same and rolls it back, so its errors are those of the import. ``prune`` deletes the agents,
    prompts, providers and models that the document's sections do not have. ``path`` is where the document is in
    its file. ``user`` is who makes the changes, for the histories. Raises InvalidFile.
    """
    author = "" if user is None else str(user.get_username())
    imported = _TenantImport(Part(document, path), prune, author)
    result = Plan(())
    try:
        with transaction.atomic(using=tenancy.connection().alias):
            result = imported.run()
            if preview:
                raise _Undo
            if user is not None:
                history.write_admin_history(result, user)
    except _Undo:
        pass
    return result


def apply_document(document: Any) -> None:
    """Import the document into the current schema, in the caller's transaction. Raises InvalidFile."""
    _TenantImport(Part(document), prune=False, author="", place=" in this tenant").apply()


class _TenantImport:
    """One import into one tenant."""

    def __init__(self, part: Part, prune: bool, author: str, place: str = _IN_FILE) -> None:
        self.part = part
        self.place = place
        self.author = author
        self.prune = prune
        self.sections = part.entries(("version", *export.SECTIONS))
        self.named = {
            name: self.sections[name].named_entries() for name in export.SECTIONS if name in self.sections
        }

    def run(self) -> Plan:
        before = export.document()
        self.apply()
        steps = plan.compare(before, export.document(), {name: set(parts) for name, parts in self.named.items()})
        providers_named = Provider.objects.filter(name__in=self._entries("providers"))
        return Plan(steps, tuple(filter(None, map(providers.missing_credentials, providers_named))))

    def apply(self) -> None:
        self._check_version()
        self._import_sections()
        if self.prune and not self.part.problems:
            self._delete_others()
        if self.part.problems:
            raise InvalidFile(list(dict.fromkeys(self.part.problems)))

    def _check_version(self) -> None:
        version = self.sections.get("version")
        if version is not None and version.value != export.VERSION:
            version.report(f"is {version.value!r}. This release reads version {export.VERSION}.")
        if not self.named and not self.part.problems:
            self.part.report(f"The file has none of the sections {', '.join(export.SECTIONS)}.")

    def _entries(self, section: str) -> Mapping[str, Part]:
        return self.named.get(section, {})

    def _import_sections(self) -> None:
        saved_providers = {row.name: row for row in Provider.objects.select_for_update()}
        for name, part in self._entries("providers").items():
            provider = providers.import_provider(name, part, saved_providers.get(name), prune=self.prune)
            if provider is not None:
                saved_providers[name] = provider
        saved_prompts = {row.name: row for row in Prompt.objects.select_for_update()}
        for name, part in self._entries("prompts").items():
            prompt = prompts.import_prompt(name, part, saved_prompts.get(name), author=self.author)
            if prompt is not None:
                saved_prompts[name] = prompt
        saved_tools = tools.saved_tools(self._tool_names())
        tools.import_tools(self._entries("tools"), saved_tools)
        invalid = {*self._entries("providers"), *self._entries("prompts"), *self._entries("tools")}
        references = agents.References(saved_providers, saved_prompts, saved_tools, invalid, self.place)
        saved_agents = {row.name: row for row in AgentConfig.objects.select_for_update()}
        for name, part in self._entries("agents").items():
            agents.import_agent(name, part, saved_agents.get(name), references)

    def _tool_names(self) -> Iterator[object]:
        """The names of all tools in the file."""
        yield from self._entries("tools")
        for part in self._entries("agents").values():
            listed = part.value.get("tools") if isinstance(part.value, Mapping) else None
            yield from (name for name in (listed if isinstance(listed, list) else ()) if isinstance(name, str))

    def _delete_others(self) -> None:
        for section, model in _PRUNED.items():
            if section not in self.named:
                continue
            for row in model._default_manager.exclude(name__in=self.named[section]).order_by("name"):
                try:
                    with transaction.atomic(using=tenancy.connection().alias):
                        row.delete()
                except (ProtectedError, RestrictedError):
                    self.sections[section].report(
                        f"--prune cannot delete {str(row)!r}, because an agent still uses it. Add it to the file, "
                        "or add the agents section without that agent."
                    )
