"""The one place where litellm is imported: late, offline and quiet.

litellm takes seconds to import, asks the network for prices when it is, loads a ``.env`` file of the working
directory into the environment, and prints to standard output on errors. All of that is switched off here.
"""

from __future__ import annotations

import inspect
import logging
import os
from functools import lru_cache
from typing import Any

from . import network_guard, private_attributes

LISTENERS = (
    *("callbacks", "input_callback", "success_callback", "failure_callback"),
    *("_async_input_callback", "_async_success_callback", "_async_failure_callback"),
)
"""Where litellm keeps the callbacks that the project has given it."""

_SIGNING_IN = "PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO"


@lru_cache(maxsize=1)
def load() -> Any:
    """The litellm module."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    os.environ["LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS"] = "True"  # else the first call to Claude asks GitHub
    os.environ["LITELLM_MODE"] = "PRODUCTION"
    import litellm

    private_attributes.replace("litellm", litellm, "suppress_debug_info", True)
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
    guard(litellm)
    return litellm


def guard(litellm: Any) -> None:
    """Keep calls on our own connections. Raises UnknownRelease where litellm lacks a part that this needs."""
    for name in LISTENERS:
        private_attributes.require("litellm", litellm, name)
    private_attributes.require("litellm", litellm.constants, _SIGNING_IN)
    _keep_vendor_and_api(litellm)
    network_guard.install()


def vendors() -> frozenset[str]:
    """Every vendor that litellm knows by a prefix of model names."""
    listed = [str(getattr(vendor, "value", vendor)) for vendor in load().provider_list]
    from litellm.llms.openai_like.json_loader import JSONProviderRegistry

    return frozenset((*listed, *JSONProviderRegistry.list_providers())) | vendors_that_sign_in()


def vendors_that_sign_in() -> frozenset[str]:
    """Those for which litellm uses the host's token files, or begins a log-in that a person has to finish."""
    return frozenset(getattr(load().constants, _SIGNING_IN)) | {"github_copilot", "chatgpt"}


def _keep_vendor_and_api(litellm: Any) -> None:
    """Hold litellm to the provider's own vendor and its chat API, in our calls only.

    For some models litellm would use the Responses API by a client of its own. It asks this function about that
    after it has read the vendor from the model's name, and again before it calls the vendor.
    """
    name, package = "responses_api_bridge_check", "litellm"
    original = private_attributes.require(package, litellm.main, name)
    called_by = inspect.unwrap(private_attributes.require(package, litellm.main, "completion"))
    if name not in called_by.__code__.co_names:
        raise private_attributes.unknown(package, f"does not call {name} in completion()")

    def check(model: str, custom_llm_provider: str, **others: Any) -> tuple[dict[str, Any], str]:
        watch = network_guard.current()
        if watch is None:  # a call of the project's own
            found: tuple[dict[str, Any], str] = original(model, custom_llm_provider, **others)
            return found
        if custom_llm_provider != watch.vendor:
            raise watch.refuse(f"call the vendor {custom_llm_provider} in place of {watch.vendor}")
        return {}, model

    private_attributes.replace(package, litellm.main, name, check)
