from collections.abc import Iterator
from typing import Any

import pytest

from zango_ai.testing import ModelServer


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
