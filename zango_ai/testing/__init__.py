"""What an application's own tests use: a model to talk to without a network, without a key and without cost."""

from .calls import Call
from .model_server import STAND_IN, ModelServer, Reply, SeenRequest

__all__ = ["STAND_IN", "Call", "ModelServer", "Reply", "SeenRequest"]
