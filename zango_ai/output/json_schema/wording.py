"""Errors of an answer as text."""

from __future__ import annotations

from collections.abc import Sequence

_SHOWN = 3
_MOST_SHOWN = 200


def in_words(what: str, errors: Sequence[dict[str, str]], *, are_all: bool) -> str:
    """One sentence that names the first errors."""
    shown = "; ".join(f"{error['path']}: {cut(error['message'], _MOST_SHOWN)}" for error in errors[:_SHOWN])
    left = len(errors) - _SHOWN
    more = f" (and {left}{'' if are_all else ' or'} more)" if left > 0 else ""
    return f"The answer does not match {what}: {shown}{more}".rstrip(".") + "."


def cut(message: str, most: int) -> str:
    """Without most of the value that a message repeats."""
    return message if len(message) <= most else f"{message[: most // 2]} … {message[-most // 3 :]}"
