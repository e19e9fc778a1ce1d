"""Read the JSON value in a model's answer."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from ..exceptions import OutputParseError
from . import json_limits

if TYPE_CHECKING:
    from ..types import StopReason

# The beginning of a JSON object or array. Brackets in prose rarely look like this.
_START = re.compile(r'\{\s*["}]|\[\s*(?:["{\[\]\-\d]|true|false|null)')


def parse_answer(content: str, *, stop_reason: StopReason) -> Any:
    """The JSON value of an answer. Raises OutputParseError.

    A Markdown fence around the value is ignored. So are words around an object or array, if there is exactly one.
    """
    if stop_reason == "max_tokens":
        raise OutputParseError(content, "The answer was cut off by the token limit. Raise the agent's max_tokens.")
    text = content.strip().removeprefix("\ufeff")
    if not text and stop_reason == "refusal":
        raise OutputParseError(content, "The model refused to answer.")
    if not text:
        raise OutputParseError(content, "The answer is empty; JSON was expected.")
    try:
        return _decode_answer(text)
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}."
        remedy = "Tell the model in the prompt to reply with JSON only."
    except RecursionError:
        reason, remedy = "it is nested too deeply to be read.", ""
    except ValueError as exc:
        reason, remedy = str(exc), "Tell the model in the prompt to reply with one JSON value."
    reason = f"The answer is not valid JSON: {reason}"
    raise OutputParseError(content, f"{reason} {remedy}".rstrip(), reason=reason)


def load(text: str) -> Any:
    """Parse a text that is exactly one JSON value. Raises ValueError."""
    if not json_limits.is_within(text):
        raise ValueError(
            f"it is nested more than {json_limits.MAX_DEPTH} levels deep, or has a number of more than "
            f"{json_limits.MAX_DIGITS} digits."
        )
    return _DECODER.decode(text)


def _decode_answer(text: str) -> Any:
    try:
        return _DECODER.decode(_without_fence(text))
    except json.JSONDecodeError:
        # An object or array that is incomplete may have complete ones inside, which are not the answer.
        values = [] if text[0] in "{[" else _embedded_values(text)
        if len(values) > 1:
            raise ValueError(f"it has {len(values)} JSON values.") from None
        if not values:
            raise
        return values[0]


def _without_fence(text: str) -> str:
    """The content of a Markdown fence, if the whole text is one."""
    opening, line_end, rest = text.partition("\n")
    if line_end and opening.startswith("```") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text


def _embedded_values(text: str) -> list[Any]:
    """The objects and arrays among other words. Raises JSONDecodeError if one of them is malformed."""
    values, position = [], 0
    while start := _START.search(text, position):
        value, position = _DECODER.raw_decode(text, start.start())
        values.append(value)
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {duplicate!r} occurs twice in one object.")
    return value


def _integer(digits: str) -> int:
    if len(digits) > json_limits.MAX_DIGITS:
        raise ValueError(f"it has an integer of {len(digits)} digits.")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it has a number that is too large.")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON value.")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_finite, parse_constant=_refuse_constant
)
