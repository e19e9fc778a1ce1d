"""What can be chosen in the playground of one agent: texts of its prompts, providers and sessions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext

from ..models import AgentConfig, MemorySession, Prompt, PromptVersion, Provider
from ..types import PromptSpec

DRAFT = "draft"
"""The choice of a text that is not saved."""
_MAX_SESSIONS = 20
_MAX_VERSIONS = 100


@dataclass(frozen=True, slots=True)
class PromptChoices:
    """One of the agent's prompts with its versions. An agent without the prompt can still try a draft."""

    prompt: Prompt | None
    versions: tuple[PromptVersion, ...] = ()

    @property
    def active(self) -> PromptVersion | None:
        return None if self.prompt is None else self.prompt.active_version

    @property
    def name(self) -> str:
        return DRAFT if self.prompt is None else self.prompt.name

    def choices(self) -> list[tuple[str, str]]:
        active = self.active
        if active is not None:
            configured = gettext("v%(number)d (active)") % {"number": active.version_number}
        else:
            configured = gettext("None")
        others = [
            (str(version.pk), f"v{version.version_number} {version.change_description}".strip())
            for version in self.versions
            if version != active
        ]
        return [("", configured), *others, (DRAFT, gettext("Draft, not saved"))]

    def override(self, choice: str, draft: str) -> PromptSpec | None:
        """What replaces the active version; None: nothing."""
        if choice == DRAFT:
            return PromptSpec(self.name, None, draft)
        version = next((each for each in self.versions if str(each.pk) == choice), None)
        return None if version is None else PromptSpec(self.name, version.version_number, version.content)

    def text(self, choice: str, draft: str) -> str:
        chosen = self.override(choice, draft)
        if chosen is not None:
            return chosen.content or ""
        return self.active.content if self.active else ""


@dataclass(frozen=True, slots=True)
class PlaygroundOptions:
    """What can be chosen in the playground of one agent, read with a fixed number of queries."""

    agent: AgentConfig
    system: PromptChoices
    user: PromptChoices
    providers: tuple[Provider, ...]
    sessions: tuple[MemorySession, ...]

    @classmethod
    def read(cls, agent: AgentConfig, user_ref: str) -> PlaygroundOptions:
        prompts = [prompt for prompt in (agent.system_prompt, agent.user_prompt) if prompt is not None]
        rows = PromptVersion.objects.filter(prompt__in=prompts).order_by("-version_number")[: 2 * _MAX_VERSIONS]
        versions = list(rows) if prompts else []
        own = MemorySession.objects.filter(agent=agent, user_ref=user_ref, is_active=True)
        return cls(
            agent=agent,
            system=_choices(agent.system_prompt, versions),
            user=_choices(agent.user_prompt, versions),
            providers=tuple(Provider.objects.order_by("name")),
            sessions=tuple(own.order_by("-last_active_at")[:_MAX_SESSIONS]) if agent.short_term_memory else (),
        )


def _choices(prompt: Prompt | None, versions: Iterable[PromptVersion]) -> PromptChoices:
    own = [version for version in versions if prompt is not None and version.prompt_id == prompt.pk]
    return PromptChoices(prompt, tuple(own[:_MAX_VERSIONS]))
