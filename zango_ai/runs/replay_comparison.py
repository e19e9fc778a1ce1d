"""Compare a replay with the run that it repeats, as the log has them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from ..exceptions import RunNotFound
from ..models import Invocation, ToolCall
from ..prompts import diff
from .recorded_results import key_of


@dataclass(frozen=True)
class Comparison:
    """A replay beside the recorded run."""

    original: Invocation
    replay: Invocation
    original_calls: Sequence[ToolCall]
    """The tool calls of each run, in order."""
    replay_calls: Sequence[ToolCall]

    @classmethod
    def read(cls, replay_id: int) -> Comparison:
        """Raises RunNotFound if there is no such replay, or the run that it repeats was deleted."""
        for comparison in cls._read([replay_id], _CALL_FIELDS):
            return comparison
        raise RunNotFound(replay_id, f"There is no replay {replay_id}, or the run that it repeats was deleted.")

    @classmethod
    def read_many(cls, replay_ids: Iterable[int]) -> list[Comparison]:
        """The comparisons of these replays, in their order. This takes three queries.

        What the tools have returned is not read: of many runs it can be a hundred megabytes.
        """
        return cls._read(replay_ids, ("tool_name", "arguments", "round__invocation"))

    @classmethod
    def _read(cls, replay_ids: Iterable[int], call_fields: Sequence[str]) -> list[Comparison]:
        runs = Invocation.objects.defer(*_UNUSED_FIELDS)
        replays = runs.filter(pk__in=list(replay_ids), replay_of__isnull=False).in_bulk()
        originals = runs.in_bulk([run.replay_of_id for run in replays.values()])
        calls: dict[int, list[ToolCall]] = {}
        rows = ToolCall.objects.filter(round__invocation__in=[*replays, *originals]).select_related("round")
        for call in rows.only(*call_fields).order_by("round__number", "position"):
            calls.setdefault(call.round.invocation_id, []).append(call)
        pairs = ((originals.get(replay.replay_of_id), replay) for replay in map(replays.get, replay_ids) if replay)
        return [
            cls(original, replay, calls.get(original.pk, []), calls.get(replay.pk, []))
            for original, replay in pairs
            if original is not None
        ]

    @property
    def is_removed(self) -> bool:
        """Whether the texts of either run were removed, so that the answers cannot be compared."""
        return any(run.payload_removed_at is not None for run in (self.original, self.replay))

    @property
    def is_same(self) -> bool:
        """Whether both answers have the same text, or are the same JSON."""
        return not self.is_removed and self._answers[0] == self._answers[1]

    @property
    def has_figures(self) -> bool:
        """Whether the replay has ended and called the provider, so that its tokens and its cost say something."""
        return self.replay.finished_at is not None and self.replay.rounds_count > 0

    @cached_property
    def rows(self) -> list[diff.DiffRow]:
        """Both answers, line by line."""
        return diff.compare(*self._answers)

    @cached_property
    def diverged(self) -> list[ToolCall]:
        """The replay's calls that the recorded run has not made, so that there was no result for them."""
        recorded = {key_of(call.tool_name, call.arguments) for call in self.original_calls}
        return [call for call in self.replay_calls if key_of(call.tool_name, call.arguments) not in recorded]

    @property
    def answered(self) -> list[ToolCall]:
        """The replay's calls that the recorded run has made too."""
        return [call for call in self.replay_calls if call not in self.diverged]

    @cached_property
    def not_called(self) -> list[ToolCall]:
        """The recorded run's calls that the replay has not made."""
        made = {key_of(call.tool_name, call.arguments) for call in self.replay_calls}
        return [call for call in self.original_calls if key_of(call.tool_name, call.arguments) not in made]

    @property
    def extra_cost_usd(self) -> Decimal | None:
        """How much more the replay has cost; None if either cost is unknown."""
        if self.original.cost_usd is None or self.replay.cost_usd is None:
            return None
        return self.replay.cost_usd - self.original.cost_usd

    @cached_property
    def _answers(self) -> tuple[str, str]:
        return _comparable(self.original.response_content), _comparable(self.replay.response_content)


_UNUSED_FIELDS = (
    *("resume_state", "rendered_system_prompt", "rendered_user_prompt"),
    *("variables", "system_variables"),
)
_CALL_FIELDS = ("tool_name", "arguments", "result", "status", "error_message", "duration_ms", "round__invocation")


def _comparable(answer: str) -> str:
    """The answer. JSON has a line for each value, so that only the values that differ are marked."""
    if not answer.lstrip().startswith(("{", "[")):
        return answer
    try:
        value: Any = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    return json.dumps(value, indent=2, ensure_ascii=False)
