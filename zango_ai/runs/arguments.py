"""The arguments of ``Agent.run()``, ``stream()`` and ``enqueue()``: declared once, and checked once."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, TypedDict, TypeVar, get_type_hints

from .. import argument_checks
from ..configuration.overrides import Overrides
from ..files.file import LLMFile
from ..memory import sessions
from ..types import TRIGGERS, AgentSpec, LLMMessage, Trigger
from ..types.responses import OutputTypeArgument, Parsed

Method = TypeVar("Method", bound=Callable[..., Any])


class RunArguments(TypedDict, Generic[Parsed], total=False):
    """The keyword arguments of ``Agent.run()``, ``stream()`` and ``enqueue()``. All are optional."""

    variables: Mapping[str, Any] | None
    """Values for the placeholders of the user prompt. Used if ``input`` is None."""
    system_variables: Mapping[str, Any] | None
    """Values for the placeholders of the system prompt. None: the system prompt is sent as it is."""
    messages: Iterable[LLMMessage] | None
    """Sent after the system prompt, in place of the user prompt. Used if ``input`` and ``variables`` are None."""
    files: Iterable[LLMFile] | None
    """Sent with the last user message."""
    session_id: str | None
    """The conversation to continue or to start, if the agent has memory. None: start one under a new id."""
    user_ref: str
    """The person on whose behalf the agent runs. A session opened with a ``user_ref`` needs the same one again."""
    triggered_by: Trigger | None
    """``"user"``, ``"task"`` or ``"system"``. None: ``"task"`` inside a Celery or Django task and in the
    background, else ``"user"``."""
    max_tool_rounds: int | None
    """After this many rounds of tool calls, the model must answer without tools. None: the agent's setting."""
    output_type: OutputTypeArgument[Parsed]
    """A pydantic model, a dataclass, or a JSON schema as a dict: the model answers with JSON of this type."""
    model: str | None
    """Replaces the agent's model. It must be allowed on the provider. Fallbacks keep their own models."""
    temperature: float | None
    """Replaces the agent's temperature."""
    max_tokens: int | None
    """Replaces the agent's max tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The arguments of one run.

    Creating one raises TypeError or ValueError for the arguments that are checked before the run is logged.
    ``require_types()`` checks the others, so that the log has a row for their errors.
    """

    input: str | None = None
    variables: Mapping[str, Any] | None = None
    system_variables: Mapping[str, Any] | None = None
    messages: Iterable[LLMMessage] | None = None
    files: Iterable[LLMFile] | None = None
    session_id: str | None = None
    user_ref: str = ""
    triggered_by: Trigger | None = None
    max_tool_rounds: int | None = None
    output_type: Any = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    default_trigger: Trigger = "user"
    base_overrides: Overrides = field(default=Overrides(), repr=False)
    """Those of ``Agent.with_overrides()``. The arguments of the run take precedence."""
    overrides: Overrides = field(init=False, repr=False)

    @classmethod
    def from_arguments(
        cls,
        method: str,
        input: str | None,
        keywords: Mapping[str, Any],
        *,
        default_trigger: Trigger,
        base_overrides: Overrides = Overrides(),  # noqa: B008 - frozen
    ) -> RunRequest:
        """The request of a call of ``Agent.<method>()``. Raises TypeError for an unknown keyword."""
        argument_checks.require_known(keywords, RunArguments.__annotations__, method)
        return cls(input=input, **keywords, default_trigger=default_trigger, base_overrides=base_overrides)

    def __post_init__(self) -> None:
        chosen = self.base_overrides.updated(
            model=self.model, temperature=self.temperature, max_tokens=self.max_tokens
        )
        object.__setattr__(self, "overrides", chosen)
        if self.triggered_by is not None and self.triggered_by not in TRIGGERS:
            raise ValueError(f"triggered_by is {self.triggered_by!r}; use one of {', '.join(TRIGGERS)}.")
        rounds = self.max_tool_rounds
        if rounds is None:
            return
        argument_checks.require(rounds, int, "max_tool_rounds", "a whole number from 0")
        if isinstance(rounds, bool) or rounds < 0:
            raise ValueError(f"max_tool_rounds is {rounds!r}; pass a whole number from 0.")

    def require_types(self) -> None:
        """Raise TypeError for an argument of the wrong type, and ValueError for an invalid session id."""
        if self.input is not None:
            or_variables = ", or pass variables=" if isinstance(self.input, Mapping) else ""
            argument_checks.require(self.input, str, "input", f"the text as a str{or_variables}")
        for name, values in (("variables", self.variables), ("system_variables", self.system_variables)):
            if values is not None:
                argument_checks.require(values, Mapping, name, "a dict of values by name")
        if self.messages is not None:
            argument_checks.require_iterable(self.messages, LLMMessage, "messages")
        if self.files is not None:
            argument_checks.require_iterable(self.files, LLMFile, "files")
        sessions.require_session_id(self.session_id)

    @property
    def trigger(self) -> Trigger:
        return self.default_trigger if self.triggered_by is None else self.triggered_by

    def tool_rounds(self, agent: AgentSpec) -> int:
        return agent.max_tool_rounds if self.max_tool_rounds is None else self.max_tool_rounds


def lists_run_arguments(method: Method) -> Method:
    """Decorate a method that takes ``**arguments: Unpack[RunArguments]``.

    ``inspect.signature()`` and ``help()`` then show each argument with its type and default.
    """
    signature = inspect.signature(method)
    types = get_type_hints(RunArguments)
    keywords = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=types[each.name]
        )
        for each in fields(RunRequest)
        if each.name in types
    ]
    others = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    method.__signature__ = signature.replace(parameters=[*others, *keywords])  # type: ignore[attr-defined]
    return method
