import asyncio
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from zango_ai.testing import ModelServer


@pytest.fixture(autouse=True)
def _no_loop_of_litellm() -> Iterator[None]:
    """Close the event loop that litellm opens in the main thread. ``asyncio.run()`` would drop it unclosed."""
    _close_loop()
    yield
    _close_loop()


@pytest.fixture(autouse=True)
def _no_language_of_a_request() -> Iterator[None]:
    """A request leaves the language of its browser active in the thread."""
    yield
    if "django" in sys.modules:
        from django.utils import translation

        translation.deactivate()


def _close_loop() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.14
        policy = asyncio.get_event_loop_policy()
    loop = getattr(getattr(policy, "_local", None), "_loop", None)
    if loop is not None and not loop.is_running():
        loop.close()
        asyncio.set_event_loop(None)


@pytest.fixture(scope="session")
def _running_model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def model(_running_model: ModelServer, settings: Any) -> Iterator[ModelServer]:
    """The local model server, allowed by the settings, with nothing asked and nothing scripted yet."""
    settings.ZANGO_AI = {"ALLOWED_API_BASES": [_running_model.url]}
    _running_model.reset()
    yield _running_model
    _running_model.reset()
