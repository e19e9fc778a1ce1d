"""Which model names a provider of a kind can be asked for.

litellm reads vendors, APIs and log-ins from parts of a model's name. Names that would take a call away from the
provider's own vendor are refused; every other name goes to the vendor as it is.
"""

from __future__ import annotations

from functools import lru_cache

from . import litellm_import
from .kinds import Kind

_GATEWAYS = {"openai_compatible", "ollama", "groq"}
"""Kinds whose model names may begin with a maker's name, as openai/gpt-oss-20b."""
_READ_THROUGHOUT = {"anthropic", "gemini", "bedrock"}
"""Kinds for which litellm takes another vendor's name anywhere in a model's name for that vendor."""
_TEXT_COMPLETION = ("ft:babbage-002", "ft:davinci-002")
_OTHER_BEDROCK_APIS = {
    *("invoke", "converse_like", "claude_platform", "chat_completions"),
    *("agent", "agentcore", "async_invoke", "mantle"),
}


@lru_cache(2048)
def problem_of(kind: Kind, model: str) -> str | None:
    """Why the model cannot be asked for, as a sentence that begins with "It"; None where it can be."""
    name = model.lower()
    parts = name.split("/")
    if len(parts) > 1 and parts[0] in _foreign_prefixes(kind):
        return (
            f"It begins with {parts[0]}/, which names another vendor than {kind.label}. If a gateway serves models "
            "of several vendors, use a provider of kind 'openai_compatible' for it."
        )
    if kind.name in _READ_THROUGHOUT and ("replicate" in name or "clarifai" in name):
        return f"It names another vendor than {kind.label}."
    if any(part in name for part in _TEXT_COMPLETION):
        return "It answers through an API for text completion, which is not supported."
    if kind.client == "httpx" and name.startswith("ft:"):
        return "It is a fine-tuned model of OpenAI's."
    if kind.name == "bedrock" and not _OTHER_BEDROCK_APIS.isdisjoint(parts[:-1]):
        return "It names another API than Bedrock's Converse, which is not supported."
    return None


@lru_cache(64)
def _foreign_prefixes(kind: Kind) -> frozenset[str]:
    if kind.name in _GATEWAYS:
        return litellm_import.vendors_that_sign_in()
    return litellm_import.vendors() - {kind.name, kind.vendor}
