"""litellm's own records of a call, left out where nobody listens.

For each call litellm works out a price and puts a record of it together, for what is registered as its callback: a
third of its time, half of it in a thread of its own. The ledger needs neither. Where the project has registered a
callback, litellm is left to itself.
"""

from __future__ import annotations

import datetime
import logging
import uuid
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from . import errors

logger = logging.getLogger("zango_ai.providers")

_LISTENERS = (
    *("callbacks", "input_callback", "success_callback", "failure_callback"),
    *("_async_input_callback", "_async_success_callback", "_async_failure_callback"),
)
_OF_ITS_CACHE = "cache"
"""What litellm registers by itself at the first call to Gemini. It hears something where there is a cache."""


def arguments_of(litellm: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``litellm.completion`` for a call of which it keeps no record."""
    if _is_heard(litellm):
        return dict(arguments)
    try:
        # What litellm does itself at the beginning of a call.
        record, prepared = litellm.utils.function_setup(
            "completion",
            litellm.utils.Rules(),
            datetime.datetime.now(),
            is_async_call=False,
            litellm_call_id=str(uuid.uuid4()),
            **arguments,
        )
        record.success_handler = record.failure_handler = record._response_cost_calculator = _nothing
    except Exception as exc:
        if errors.passing(exc) is not None:
            raise
        _tell()  # another release of litellm's, which then takes its time and does the same
        return dict(arguments)
    return {**prepared, "litellm_logging_obj": record}


@lru_cache(1)
def _tell() -> None:
    logger.warning("litellm keeps records that nobody reads, and takes longer: its release is not known")


def _is_heard(litellm: Any) -> bool:
    # A budget of litellm's is counted by the record of each call.
    if getattr(litellm, "cache", None) is not None or getattr(litellm, "max_budget", None):
        return True
    return any(each != _OF_ITS_CACHE for name in _LISTENERS for each in getattr(litellm, name, None) or ())


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None
