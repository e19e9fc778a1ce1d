"""Skip litellm's own records of calls, unless the project has registered a callback with litellm.

For each call, litellm computes a price and builds a record for its callbacks, partly in a thread of its own. With
them, a call takes 1.4 times as long. The ledger needs neither.
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
"""The methods of litellm's record that run the project's callbacks in the thread of the call."""
_CACHE_CALLBACK = "cache"
"""The callback that litellm itself registers at the first call to Gemini. It does nothing without a cache."""


def arguments_of(litellm: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``litellm.completion()``, with a record that does nothing if no callback is registered."""
    has_callbacks = _has_callbacks(litellm)
    try:
        with network_guard.lifted() if has_callbacks else nullcontext():
            record, prepared = _begin(litellm, arguments)
        for name in _CALLBACKS if has_callbacks else ():
            private_attributes.replace("litellm", record, name, _connecting(getattr(record, name)))
        for name in () if has_callbacks else _RECORDING:
            private_attributes.replace("litellm", record, name, _nothing)
    except private_attributes.UnknownRelease:
        _warn_once()
        return dict(arguments)
    except Exception as exc:
        if errors.foreign_cause(exc) is not None:
            raise
        _warn_once()  # an unknown release of litellm: the call works, but takes longer
        return dict(arguments)
    return {**prepared, "litellm_logging_obj": record}


def _begin(litellm: Any, arguments: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Create the record as litellm does at the beginning of a call."""
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
    """A callback of the project may open connections, although it runs inside a guarded call."""

    def call(*args: Any, **kwargs: Any) -> Any:
        with network_guard.lifted():
            return callback(*args, **kwargs)

    return call


@lru_cache(1)
def _warn_once() -> None:
    logger.warning(
        "zango_ai does not know this release of litellm: calls take longer, and callbacks that are registered with "
        "litellm cannot open connections. Install a release from constraints.txt."
    )


def _has_callbacks(litellm: Any) -> bool:
    # litellm counts its own budget with the records.
    if getattr(litellm, "cache", None) is not None or getattr(litellm, "max_budget", None):
        return True
    return any(
        each != _CACHE_CALLBACK for name in litellm_import.LISTENERS for each in getattr(litellm, name, None) or ()
    )


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None
