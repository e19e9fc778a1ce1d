"""litellm's own records of a call, left out where nobody listens.

For each call litellm works out a price and puts a record of it together, for what is registered as its callback: a
third of its time, half of it in a thread of its own. The ledger needs neither. Where the project has registered a
callback, litellm is left to itself.
"""

from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

from . import errors, litellm_import, network_guard, private_attributes

logger = logging.getLogger("zango_ai.providers")

_RECORDING = ("success_handler", "failure_handler", "_response_cost_calculator")
_CALLBACKS = ("pre_call", "post_call", "failure_handler")
"""Of a record of litellm's: what runs the project's callbacks in the thread of the call."""
_OF_ITS_CACHE = "cache"
"""What litellm registers by itself at the first call to Gemini. It hears something where there is a cache."""


def arguments_of(litellm: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``litellm.completion`` for a call of which it keeps no record that nobody reads."""
    is_heard = _is_heard(litellm)
    try:
        with network_guard.lifted() if is_heard else nullcontext():
            record, prepared = _begin(litellm, arguments)
        for name in _CALLBACKS if is_heard else ():
            private_attributes.replace("litellm", record, name, _connecting(getattr(record, name)))
        for name in () if is_heard else _RECORDING:
            private_attributes.replace("litellm", record, name, _nothing)
    except private_attributes.UnknownRelease:
        _tell()
        return dict(arguments)
    except Exception as exc:
        if errors.foreign_cause(exc) is not None:
            raise
        _tell()  # another release of litellm's, which then takes its time and does the same
        return dict(arguments)
    return {**prepared, "litellm_logging_obj": record}


def _begin(litellm: Any, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What litellm does itself at the beginning of a call."""
    record, prepared = litellm.utils.function_setup(
        "completion",
        litellm.utils.Rules(),
        datetime.datetime.now(),
        is_async_call=False,
        litellm_call_id=str(uuid.uuid4()),
        **arguments,
    )
    return record, prepared


def _connecting(callback: Callable[..., Any]) -> Callable[..., Any]:
    """The project's own callbacks may connect where they like: they run inside litellm's."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with network_guard.lifted():
            return callback(*args, **kwargs)

    return call


@lru_cache(1)
def _tell() -> None:
    logger.warning(
        "This release of litellm is unknown: calls take longer, and callbacks given to it may not connect."
    )


def _is_heard(litellm: Any) -> bool:
    # A budget of litellm's is counted by the record of each call.
    if getattr(litellm, "cache", None) is not None or getattr(litellm, "max_budget", None):
        return True
    return any(
        each != _OF_ITS_CACHE for name in litellm_import.LISTENERS for each in getattr(litellm, name, None) or ()
    )


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None
