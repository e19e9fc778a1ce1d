"""The one place where litellm is imported: late, offline and quiet.

litellm takes seconds to import, asks the network for prices when it is, loads a ``.env`` file of the working
directory into the environment, and prints to standard output on errors. All of that is switched off here.
"""

from __future__ import annotations

import logging
import os
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def load() -> Any:
    """The litellm module."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"  # else the first call to Claude asks GitHub
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    import litellm

    litellm.suppress_debug_info = True
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        # Its own handler writes every line a second time, and at DEBUG it writes prompts.
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.ERROR)
    for name in ("httpcore", "httpx", "openai", "botocore"):
        # At DEBUG they write headers, prompts and parts of credentials; at INFO a line for each call.
        logging.getLogger(name).setLevel(logging.WARNING)
    # What the first call would otherwise import and build, inside its own time.
    import openai.resources.chat.completions  # noqa: F401
    from litellm.llms.custom_httpx import http_handler  # noqa: F401

    litellm.ModelResponse()
    # It would send some models' calls to another API, by a client of its own, past all that ``wire`` guards.
    litellm.main.responses_api_bridge_check = _no_bridge
    return litellm


def _no_bridge(model: str, custom_llm_provider: str, **others: Any) -> tuple[dict[str, Any], str]:
    return {}, model
