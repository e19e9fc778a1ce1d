"""Which model names a provider may be called with.

litellm takes the vendor, the API and even a log-in from parts of a model's name. A name that would send the call to
another vendor is refused. Every other name goes to the vendor unchanged.
"""

from __future__ import annotations

from functools import lru_cache

from . import litellm_import
from .kinds import Kind

_TEXT_COMPLETION = ("ft:babbage-002", "ft:davinci-002")


@lru_cache(2048)
def problem_of(kind: Kind, model: str) -> str | None:
    """Why the model cannot be called, as a sentence that begins with "It"; None if it can."""
    name = model.lower()
    maker, slash, _ = name.partition("/")
    if slash and maker in _foreign_prefixes(kind):
        return (
            f"It begins with {maker}/, the name of another vendor, not {kind.label}. For a gateway to the "
            "models of several vendors, use a provider of kind 'openai_compatible'."
        )
    if kind.is_vendor_read_from_model and ("replicate" in name or "clarifai" in name):
        return f"It contains the name of another vendor, not {kind.label}."
    if any(part in name for part in _TEXT_COMPLETION):
        return "It needs an API for text completion, which is not supported."
    return kind.problem_of_model(model)


@lru_cache(64)
def _foreign_prefixes(kind: Kind) -> frozenset[str]:
    if kind.is_gateway:
        return litellm_import.vendors_that_sign_in()
    return litellm_import.vendors() - {kind.name, kind.vendor}
