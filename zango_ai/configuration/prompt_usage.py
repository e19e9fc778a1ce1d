"""Who uses a prompt, and which placeholders callers have filled recently."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import F, Func, TextField

from ..models import AgentConfig, Invocation, Prompt, PromptVersion

RECENT_RUNS = 100
"""Of the agents that use the prompt."""


@dataclass(frozen=True, slots=True)
class ActivationWarning:
    """What activating a version would change for the callers of its agents."""

    missing: tuple[str, ...]
    """Placeholders that recent callers passed no value for. Runs fail with PromptRenderError without them."""
    unused: tuple[str, ...]
    """Values that recent callers passed, and that the active version uses but this one does not."""
    agent_names: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.missing or self.unused)


def agents_using(prompt: Prompt) -> list[AgentConfig]:
    """The agents with this prompt as their system or user prompt, by name."""
    field = "system_prompt" if prompt.type == Prompt.Type.SYSTEM else "user_prompt"
    return list(AgentConfig.objects.filter(**{field: prompt}).only("name", "is_enabled").order_by("name"))


def activation_warning(
    version: PromptVersion, active: PromptVersion | None, agents: Sequence[AgentConfig]
) -> ActivationWarning:
    """Compare the placeholders of ``version`` with what recent callers of its ``agents`` have passed.

    Without recent runs nothing is known of callers, and the warning is empty.
    """
    passed = _recently_passed(version.prompt, agents)
    if passed is None:
        return ActivationWarning((), (), ())
    used_now = active.variables if active else []
    return ActivationWarning(
        missing=tuple(name for name in version.variables if name not in passed),
        unused=tuple(name for name in used_now if name in passed and name not in version.variables),
        agent_names=tuple(agent.name for agent in agents),
    )


def _recently_passed(prompt: Prompt, agents: Sequence[AgentConfig]) -> set[str] | None:
    """The names of the values in the most recent runs that filled this prompt. None if there were none."""
    field = "system_variables" if prompt.type == Prompt.Type.SYSTEM else "variables"
    recent = (
        Invocation.objects.filter(agent_name__in=[agent.name for agent in agents])
        .order_by("-id")
        .values("pk")[:RECENT_RUNS]
    )
    runs = Invocation.objects.filter(pk__in=recent, **{f"{field}__isnull": False})
    kinds = runs.annotate(kind=Func(F(field), function="jsonb_typeof", output_field=TextField()))
    objects = kinds.filter(kind="object")
    if not objects.exists():
        return None
    keys = Func(F(field), function="jsonb_object_keys", output_field=TextField(), set_returning=True)
    return set(objects.annotate(key=keys).values_list("key", flat=True).distinct())
