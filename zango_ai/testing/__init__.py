"""For tests of applications: scripted models, a local model server, and recorded runs.

None of them needs a network, an API key or money. pytest loads the fixtures ``scripted_agent``,
``scripted_provider``, ``model_server`` and ``cassette`` by itself; other test runners use the context managers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .tool_call import Call

if TYPE_CHECKING:
    from ..providers.real_calls import RealProviderCall
    from ..providers.real_calls import allowed as real_provider_calls
    from .asked import AskedRequest
    from .cassettes import Cassette, CassetteMismatch, cassette
    from .enqueued import run_enqueued
    from .model_server import STAND_IN, ModelServer
    from .replies import Reply, SeenRequest
    from .script import ScriptUsedUp
    from .scripted_models import (
        ScriptAgent,
        ScriptedAgent,
        ScriptedProvider,
        ScriptProvider,
        scripted,
        scripted_provider,
    )
    from .scripted_server import ScriptedModelServer, running_model_server
    from .steps import always, calls, fails, says

__all__ = [
    "STAND_IN",
    "AskedRequest",
    "Call",
    "Cassette",
    "CassetteMismatch",
    "ModelServer",
    "RealProviderCall",
    "Reply",
    "ScriptAgent",
    "ScriptProvider",
    "ScriptUsedUp",
    "ScriptedAgent",
    "ScriptedModelServer",
    "ScriptedProvider",
    "SeenRequest",
    "always",
    "calls",
    "cassette",
    "fails",
    "real_provider_calls",
    "run_enqueued",
    "running_model_server",
    "says",
    "scripted",
    "scripted_provider",
]

# Imported on first use: most of them need Django's settings, and `python -m zango_ai.testing.model_server` warns if
# its package has imported the module.
_HOMES = {
    "STAND_IN": (".model_server", "STAND_IN"),
    "AskedRequest": (".asked", "AskedRequest"),
    "Cassette": (".cassettes", "Cassette"),
    "CassetteMismatch": (".cassettes", "CassetteMismatch"),
    "ModelServer": (".model_server", "ModelServer"),
    "RealProviderCall": ("..providers.real_calls", "RealProviderCall"),
    "Reply": (".replies", "Reply"),
    "ScriptAgent": (".scripted_models", "ScriptAgent"),
    "ScriptProvider": (".scripted_models", "ScriptProvider"),
    "ScriptUsedUp": (".script", "ScriptUsedUp"),
    "ScriptedAgent": (".scripted_models", "ScriptedAgent"),
    "ScriptedModelServer": (".scripted_server", "ScriptedModelServer"),
    "ScriptedProvider": (".scripted_models", "ScriptedProvider"),
    "SeenRequest": (".replies", "SeenRequest"),
    "always": (".steps", "always"),
    "calls": (".steps", "calls"),
    "cassette": (".cassettes", "cassette"),
    "fails": (".steps", "fails"),
    "real_provider_calls": ("..providers.real_calls", "allowed"),
    "run_enqueued": (".enqueued", "run_enqueued"),
    "running_model_server": (".scripted_server", "running_model_server"),
    "says": (".steps", "says"),
    "scripted": (".scripted_models", "scripted"),
    "scripted_provider": (".scripted_models", "scripted_provider"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module, __name__), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
