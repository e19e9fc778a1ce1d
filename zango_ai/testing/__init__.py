"""What an application's own tests use: a model to talk to without a network, without a key and without cost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .calls import Call

if TYPE_CHECKING:
    from .model_server import STAND_IN, ModelServer, Reply, SeenRequest

__all__ = ["STAND_IN", "Call", "ModelServer", "Reply", "SeenRequest"]


def __getattr__(name: str) -> Any:
    # Imported when it is first used: `python -m zango_ai.testing.model_server` would warn of a module that its
    # package has imported before.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".model_server", __name__), name)
