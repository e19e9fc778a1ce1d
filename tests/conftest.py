from collections.abc import Iterator

import pytest

from zango_ai.testing import ModelServer


@pytest.fixture(scope="session")
def _running_model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def model(_running_model: ModelServer) -> Iterator[ModelServer]:
    """The local model server, with nothing asked and nothing scripted yet."""
    _running_model.reset()
    yield _running_model
    _running_model.reset()
