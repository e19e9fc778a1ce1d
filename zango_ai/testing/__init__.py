"""For tests of applications: a local model server that needs no network, no API key and no money."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .calls import Call

if TYPE_CHECKING:
    from .model_server import STAND_IN, ModelServer, Reply, SeenRequest

__all__ = ["STAND_IN", "Call", "ModelServer", "Reply", "SeenRequest"]


def __getattr__(name: str) -> Any:
    # Imported on first use: `python -m zango_ai.testing.model_server` warns if its package has imported the module.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".model_server", __name__), name)
