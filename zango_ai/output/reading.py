"""Read JSON out of a model's answer."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from ..exceptions import OutputParseError
from . import json_limits

if TYPE_CHECKING:
    from ..types import StopReason

# What may begin a JSON object or array; a bracket in prose is seldom followed by such.
_START = re.compile(r'\{\s*["}]|\[\s*(?:["{\[\]\-\d]|true|false|null)')
_MOST_DIGITS = 1_000


def parse(content: str, *, stop_reason: StopReason) -> Any:
    """The JSON value of an answer. Raises OutputParseError.

    A Markdown fence or words around an object or array are passed over, as long as there is one and no doubt which.
    """
    if stop_reason == "max_tokens":
        raise OutputParseError(content, "The answer was cut off by the token limit. Raise the agent's max_tokens.")
    text = content.strip().removeprefix("\ufeff")
    if not text and stop_reason == "refusal":
        raise OutputParseError(content, "The model has refused to answer.")
    if not text:
        raise OutputParseError(content, "The answer is empty where JSON was expected.")
    try:
        return _read(text)
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}."
        remedy = "Say in the prompt to reply with JSON only."
    except RecursionError:
        reason, remedy = "it is nested too deeply to be read.", ""
    except ValueError as exc:
        reason, remedy = str(exc), "Say in the prompt to reply with one JSON value."
    reason = f"The answer is not JSON: {reason}"
    raise OutputParseError(content, f"{reason} {remedy}".rstrip(), reason=reason)


def _unfenced(text: str) -> str:
    """What is in the fence, where the whole text is one."""
    opening, line_end, rest = text.partition("\n")
    if line_end and opening.startswith("```") and rest.endswith("```"):
        return rest.removesuffix("```").strip()
    return text


def _read(text: str) -> Any:
    try:
        return _DECODER.decode(_unfenced(text))
    except json.JSONDecodeError:
        # A document that breaks off has whole parts inside it, which are not the answer.
        found = [] if text[0] in "{[" else _inside(text)
        if len(found) > 1:
            raise ValueError(f"it holds {len(found)} JSON values.") from None
        if not found:
            raise
        return found[0]


def _inside(text: str) -> list[Any]:
    """The objects and arrays that stand among other words. Raises JSONDecodeError where one of them is broken."""
    found, position = [], 0
    while start := _START.search(text, position):
        value, position = _DECODER.raw_decode(text, start.start())
        found.append(value)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object.")
    return made


def _integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"it holds an integer of {len(digits)} digits.")
    return int(digits)


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError("it holds a number that is too large.")
    return value


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_finite, parse_constant=_refuse
)


def load(text: str) -> Any:
    """A text that is one JSON value and nothing else. Raises ValueError."""
    if not json_limits.is_within(text):
        raise ValueError(
            f"it is nested more than {json_limits.MAX_DEPTH} levels deep, or holds a number of more than "
            f"{json_limits.MAX_DIGITS} digits."
        )
    return _DECODER.decode(text)
