"""Errors of agents, their input and their runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .base import DisabledError, NamedObjectError, NotFoundError, ZangoAIError


class AgentNotFound(NotFoundError):
    """The current tenant has no enabled agent of that name, or no tenant is active."""


class AgentDisabled(DisabledError):
    """The agent was disabled after ``get_agent()`` returned it."""


class PromptNotFound(NotFoundError):
    """The current tenant has no prompt of that name, or the prompt has no active version."""


class PromptRenderError(ZangoAIError):
    """Placeholders of a prompt have no value. ``missing_vars`` lists them in order of appearance."""

    def __init__(self, missing_vars: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.missing_vars = list(missing_vars)


class InputRequired(NamedObjectError, ValueError):
    """``run()`` got no input and the agent has no user prompt."""


class SessionNotOwned(ZangoAIError):
    """The session belongs to another ``user_ref``. Nothing was sent."""

    def __init__(self, session_id: str, message: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class LLMFileError(ZangoAIError):
    """A file cannot be read, does not match its media type, or cannot be sent to the model. Nothing was sent."""

    def __init__(self, filename: str, message: str) -> None:
        super().__init__(message)
        self.filename = filename


class LogUnavailable(ZangoAIError):
    """The run cannot be logged, so nothing was sent."""


class RunError(ZangoAIError):
    """An error about a stored run. ``run_id`` is its id."""

    def __init__(self, run_id: Any, message: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunNotFound(RunError):
    """The current tenant has no run of that id."""


class RunNotFinished(RunError):
    """The run has no response yet."""

    def __init__(self, run_id: Any, status: str, message: str) -> None:
        super().__init__(run_id, message)
        self.status = status


class RunFailed(RunError):
    """The run ended with an error. ``error_type`` is the name of the exception's class."""

    def __init__(self, run_id: Any, status: str, error_type: str, message: str, invocation_id: int) -> None:
        super().__init__(run_id, f"Run {run_id} ended with status {status}. {error_type}: {message}")
        self.status = status
        self.error_type = error_type
        self.invocation_id = invocation_id


class RunCancelled(RunFailed):
    """The run was cancelled, by ``EnqueuedRun.cancel()`` or because its stream was closed.

    ``run()`` and ``stream()`` raise it where they notice, ``EnqueuedRun.response()`` and ``stream()`` afterwards.
    """

    def __init__(self, run_id: Any, message: str, invocation_id: int | None = None) -> None:
        RunError.__init__(self, run_id, message)
        self.status = "cancelled"
        self.error_type = type(self).__name__
        self.invocation_id = invocation_id


class RunStateUnreadable(RunError):
    """A newer release stored the run's state, so this process cannot continue the run. The run keeps waiting."""


class NotAwaitingApproval(RunError):
    """The run does not wait for an approval: it does not exist, was decided already, or needs none."""


class DecisionNotAllowed(RunError):
    """The agent needs the approval of another person than the one who asked it. The run keeps waiting."""


class QueueUnavailable(RunError):
    """The queue is not configured, or did not accept the task. The run has failed."""


class RunNotReplayable(RunError):
    """A stored run cannot be run again: it has not ended, or the log lacks what it sent. Nothing was sent."""
