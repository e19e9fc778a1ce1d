"""The kinds of provider, one module each. To add a kind, add a module and list it here.

Forms, checks, calls, price look-ups and tests all read ``KINDS``.
"""

from __future__ import annotations

from .anthropic import ANTHROPIC
from .azure import AZURE
from .base import CredentialSlot, Kind
from .bedrock import BEDROCK
from .gemini import GEMINI
from .groq import GROQ
from .mistral import MISTRAL
from .ollama import OLLAMA
from .openai import OPENAI
from .openai_compatible import OPENAI_COMPATIBLE

__all__ = ["KINDS", "CredentialSlot", "Kind"]

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(OPENAI, ANTHROPIC, AZURE, BEDROCK, GEMINI),
        *(MISTRAL, GROQ, OLLAMA, OPENAI_COMPATIBLE),
    )
}
"""By the value of ``Provider.kind``, in the order in which forms show them."""
