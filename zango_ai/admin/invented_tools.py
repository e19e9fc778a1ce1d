"""Names of tools that do not exist. The model wrote them, so they need the permission to read texts."""

from __future__ import annotations

from collections.abc import Iterable

from ..models import InvocationRound, Tool, ToolCall


def hide(rounds: Iterable[InvocationRound]) -> None:
    """Empty these names in the rounds, whose tool calls are prefetched."""
    calls: list[ToolCall] = [call for round_ in rounds for call in round_.tool_calls.all()]
    names = {call.tool_name for call in calls}
    known = set(Tool.objects.filter(name__in=names).values_list("name", flat=True)) if names else set()
    for call in calls:
        if call.tool_name not in known:
            call.tool_name = ""
