import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _no_loop_of_litellm() -> Iterator[None]:
    """Close the event loop that litellm opens in the main thread. ``asyncio.run()`` would drop it unclosed."""
    _close_loop()
    yield
    _close_loop()


def _close_loop() -> None:
    loop = getattr(getattr(asyncio.get_event_loop_policy(), "_local", None), "_loop", None)
    if loop is not None and not loop.is_running():
        loop.close()
        asyncio.set_event_loop(None)
