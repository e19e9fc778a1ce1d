"""A script: the steps of a scripted model, and the requests that they answered."""

from __future__ import annotations

import itertools
import threading
from collections import deque

from .asked import AskedRequest
from .steps import Always, Answer, Failure, ScriptItem, Step, as_step, described

_MAX_SHOWN = 10


class ScriptUsedUp(AssertionError):
    """The model was asked more often than the script has steps.

    It is no ``ZangoAIError``, so code that handles the errors of providers does not hide it.
    """


class Script:
    """The steps of one agent or provider. Several threads may take steps."""

    def __init__(self, owner: str) -> None:
        """``owner`` names the agent or provider, as in ``agent 'helper'``."""
        self.owner = owner
        self._steps: deque[Step | Always] = deque()
        self._requests: list[AskedRequest] = []
        self._unanswered = 0
        self._call_ids = itertools.count(1)
        self._lock = threading.Lock()

    def add(self, *items: ScriptItem) -> None:
        """Raises TypeError for anything else than steps, and then adds none of them."""
        steps = [item if isinstance(item, Always) else as_step(item) for item in items]
        with self._lock:
            if steps and self._steps and isinstance(self._steps[-1], Always):
                raise ValueError(f"The script of {self.owner} ends with always(), so no step can follow it.")
            if any(isinstance(step, Always) for step in steps[:-1]):
                raise ValueError("always() must be the last step of a script.")
            self._steps.extend(steps)

    @property
    def requests(self) -> list[AskedRequest]:
        """What the model was asked, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def left(self) -> list[Step | Always]:
        """The steps that no request has used yet."""
        with self._lock:
            return list(self._steps)

    def take(self, asked: AskedRequest) -> Answer | Failure:
        """Record the request, and return the next step. Raises ScriptUsedUp."""
        with self._lock:
            self._requests.append(asked)
            if not self._steps:
                self._unanswered += 1
                raise ScriptUsedUp(self._used_up(len(self._requests), asked))
            first = self._steps[0]
            if isinstance(first, Always):
                step = first.step
            else:
                step = first
                self._steps.popleft()
        if isinstance(step, Answer | Failure):
            return step
        computed = as_step(step(asked))
        if not isinstance(computed, Answer | Failure):
            raise TypeError(f"The function {described(step)} in the script of {self.owner} returned a function.")
        return computed

    def new_call_id(self) -> str:
        """The id of a tool call that the script gives none."""
        return f"call_{next(self._call_ids)}"

    def problem(self) -> str | None:
        """Why the script does not match what happened; None if it does."""
        with self._lock:
            if self._unanswered:
                return self._used_up(len(self._requests), self._requests[-1])
            left = [described(step) for step in self._steps if not isinstance(step, Always)]
            if not left:
                return None
            asked = f"The model was asked {_times(len(self._requests))}."
        shown = "".join(f"\n  {step}" for step in left[:_MAX_SHOWN])
        more = f"\n  and {len(left) - _MAX_SHOWN} more" if len(left) > _MAX_SHOWN else ""
        return f"The script of {self.owner} was not used up. {asked} Left:{shown}{more}"

    def _used_up(self, count: int, asked: AskedRequest) -> str:
        answered = count - self._unanswered
        steps = {0: "no step", 1: "one step"}.get(answered, f"{answered} steps")
        return (
            f"{self.owner[:1].upper()}{self.owner[1:]} asked its model {_times(count)}, but its script has {steps}."
            f" Add what the model answers to this request:\n{asked}"
        )


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
