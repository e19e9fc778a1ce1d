"""What a scripted model does at each call: ``says()``, ``calls()``, ``fails()``.

::

    says("Two a day.")
    says({"dose": 2})                                  # JSON
    says("Two ", "a day.")                             # a stream has these pieces
    calls("find_patient", name="Ada")
    says("Let me look. ") + calls("find_patient", name="Ada") + calls("list_beds")    # one answer
    fails(RateLimitExceeded("Too many requests.", retry_after_seconds=2))
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .tool_call import Call

if TYPE_CHECKING:
    from ..types import LLMUsage, StopReason
    from .asked import AskedRequest

_WORD = re.compile(r"\s*\S+|\s+")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of the scripted model. Add two of them to get one with the parts of both."""

    pieces: Sequence[str] = ()
    """The text. One piece is streamed word by word, several as they are."""
    calls: Sequence[Call] = ()
    stop_reason: StopReason = "end_turn"
    model: str | None = None
    """The model that the answer names. None: the one that was asked."""
    usage: LLMUsage | None = None
    """None: one token for four characters of the request, and of the answer."""
    cost_usd: Decimal | None = None
    """None: by the usage and the model's price."""

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def streamed_pieces(self) -> list[str]:
        return _WORD.findall(self.text) if len(self.pieces) == 1 else list(self.pieces)

    def with_usage(
        self,
        *,
        input_tokens: int = 0,
        output_tokens: int = 0,
        cache_creation_tokens: int = 0,
        cache_read_tokens: int = 0,
        cost_usd: Decimal | float | None = None,
    ) -> Answer:
        """The same answer with these token counts; with ``cost_usd``, also with this cost."""
        from ..types import LLMUsage

        usage = LLMUsage(input_tokens, output_tokens, cache_creation_tokens, cache_read_tokens)
        return replace(self, usage=usage, cost_usd=None if cost_usd is None else Decimal(str(cost_usd)))

    def __add__(self, other: Answer) -> Answer:
        if not isinstance(other, Answer):
            return NotImplemented
        return replace(
            self,
            pieces=(*self.pieces, *other.pieces),
            calls=(*self.calls, *other.calls),
            stop_reason=other.stop_reason if self.stop_reason == "end_turn" else self.stop_reason,
            model=self.model or other.model,
            usage=self.usage or other.usage,
            cost_usd=self.cost_usd if other.cost_usd is None else other.cost_usd,
        )

    def __str__(self) -> str:
        parts = [f"says({', '.join(map(_shown, self.pieces))})"] if self.pieces else []
        parts += [f"calls({', '.join([repr(call.name), *_shown_arguments(call)])})" for call in self.calls]
        return " + ".join(parts) or "says('')"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call to the provider that fails."""

    error: Exception
    after: str = ""
    """The text that a stream has sent before."""

    def __str__(self) -> str:
        return f"fails({type(self.error).__name__}({str(self.error)!r}))"


@dataclass(frozen=True, slots=True)
class Always:
    """A step that is repeated for every further call."""

    step: Step

    def __str__(self) -> str:
        return f"always({described(self.step)})"


Step = Answer | Failure | Callable[["AskedRequest"], "Answer | Failure | str"]
"""A function computes the step from the request."""
ScriptItem = Step | Always | str
"""A string is short for ``says(string)``."""


def says(*content: Any, stop_reason: StopReason = "end_turn", model: str | None = None) -> Answer:
    """The model answers with this text. Several strings are the pieces in which it is streamed.

    A dict, a list, a dataclass or a pydantic model is sent as JSON. ``stop_reason`` may also be ``max_tokens`` (the
    answer is cut off) or ``refusal``.
    """
    if not all(isinstance(piece, str) for piece in content):
        if len(content) != 1:
            raise TypeError("says() takes strings, or one value to send as JSON.")
        content = (_as_json(content[0]),)
    return Answer(pieces=content, stop_reason=stop_reason, model=model)


def calls(tool: Any, raw_arguments: Mapping[str, Any] | str | None = None, /, **arguments: Any) -> Answer:
    """The model calls this tool with these arguments. ``tool`` is its name, or the function with ``@tool``.

    Dates, UUIDs and the like are sent as text. Pass ``raw_arguments`` for what keywords cannot say: a mapping, or a
    text that is no valid JSON. Join calls with ``+`` to make several in one answer.
    """
    if raw_arguments is not None and arguments:
        raise TypeError("calls() takes the arguments as keywords, or in one mapping or text.")
    name = tool if isinstance(tool, str) else getattr(getattr(tool, "tool", None), "name", None)
    if not isinstance(name, str):
        raise TypeError("calls() takes the name of a tool, or a function that is decorated with @tool.")
    given = arguments if raw_arguments is None else raw_arguments
    as_sent = given if isinstance(given, str) else json.loads(json.dumps(dict(given), default=str))
    return Answer(calls=(Call(name, as_sent),))


def fails(error: Exception | type[Exception], *, after: str = "") -> Failure:
    """The call fails with this error, such as ``RateLimitExceeded("Too many requests.")``.

    The engine treats it like the provider's own: it retries, falls back, or ends the run. ``after`` is the text
    that a stream has sent before the error.
    """
    if isinstance(error, type):
        error = error("The test's script lets this call fail.")
    if not isinstance(error, Exception):
        raise TypeError(f"fails() takes an exception, not {error!r}.")
    return Failure(error, after)


def always(step: Step | str) -> Always:
    """Repeat the step for every further call. It must be the script's last, and it may also remain unused."""
    return Always(as_step(step))


def as_step(value: object) -> Step:
    """Raises TypeError unless ``value`` is a step or a string."""
    if isinstance(value, str):
        return says(value)
    if isinstance(value, Answer | Failure) or callable(value):
        return value
    raise TypeError(
        f"A script takes says(), calls(), fails(), always(), strings and functions, not {type(value).__name__}. "
        "For JSON, use says()."
    )


def described(item: object) -> str:
    """The step as the test has written it, for messages."""
    return str(item) if isinstance(item, Answer | Failure | Always) else getattr(item, "__name__", repr(item))


def _as_json(value: Any) -> str:
    if hasattr(value, "model_dump_json"):
        return str(value.model_dump_json())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return json.dumps(value, ensure_ascii=False)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _shown_arguments(call: Call) -> list[str]:
    if isinstance(call.arguments, str):
        return [_shown(call.arguments)]
    return [f"{name}={_shown_value(value)}" for name, value in call.arguments.items()]


def _shown_value(value: Any) -> str:
    return _shown(value) if isinstance(value, str) else repr(value)
