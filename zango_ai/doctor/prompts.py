"""Prompts that have no text to send."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from ..models import AgentConfig, Prompt, PromptVersion
from .findings import Finding, Scope, error, warning


def find_in_prompts(scope: Scope) -> Iterator[Finding]:
    active = PromptVersion.objects.filter(status=PromptVersion.Status.ACTIVE).values("prompt")
    for prompt in Prompt.objects.filter(active_version=None).exclude(pk__in=active).order_by("name"):
        users = AgentConfig.objects.filter(Q(system_prompt=prompt) | Q(user_prompt=prompt), is_enabled=True)
        names = ", ".join(users.order_by("name").values_list("name", flat=True))
        problem = "It has no active version" + (f", so runs of these agents fail: {names}." if names else ".")
        remedy = "Activate a version in the admin, or add the first one."
        make = error if names else warning
        yield make("prompts.no_active_version", f"prompt {prompt.name}", problem, remedy)
