import asyncio
from collections.abc import Iterator

import httpcore
import pytest

from zango_ai.providers import connection_pool
from zango_ai.providers.connection_pool import AsyncPool, Pool
from zango_ai.testing import ModelServer, Reply


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def _request(server: ModelServer) -> httpcore.Request:
    return httpcore.Request("GET", f"{server.openai_base}/models", headers={"Host": "localhost"})


def _ask_at_once(pool: Pool, server: ModelServer, count: int) -> None:
    responses = [pool.handle_request(_request(server)) for _ in range(count)]
    for response in responses:
        assert response.read()
        response.close()


async def _ask_at_once_async(pool: AsyncPool, server: ModelServer, count: int) -> None:
    responses = [await pool.handle_async_request(_request(server)) for _ in range(count)]
    for response in responses:
        assert await response.aread()
        await response.aclose()


def test_connections_are_used_again_however_many_there_are(server):
    with Pool() as pool:
        _ask_at_once(pool, server, 60)
        _ask_at_once(pool, server, 60)
    assert server.connections == 60


def test_async_connections_are_used_again_however_many_there_are(server):
    async def ask() -> None:
        async with AsyncPool() as pool:
            await _ask_at_once_async(pool, server, 60)
            await _ask_at_once_async(pool, server, 60)

    asyncio.run(ask())
    assert server.connections == 60


def test_more_idle_connections_than_the_limit_are_closed(server, monkeypatch):
    monkeypatch.setattr(connection_pool, "MAX_IDLE", 2)
    with Pool() as pool:
        _ask_at_once(pool, server, 5)
        _ask_at_once(pool, server, 5)
    assert server.connections == 8


def test_a_connection_that_the_server_has_closed_is_not_used_again(server):
    server.script(Reply("first"), Reply("second"))
    with Pool() as pool:
        _ask_at_once(pool, server, 2)
        server._server.hang_up()
        _ask_at_once(pool, server, 2)
    assert server.connections == 4


def test_each_origin_has_its_own_connections(server):
    with ModelServer() as other, Pool() as pool:
        for each in (server, other, server, other):
            _ask_at_once(pool, each, 1)
        assert (server.connections, other.connections) == (1, 1)


def test_a_request_that_fails_leaves_the_pool_usable(server):
    server.script(Reply(hang_up=True))
    with Pool() as pool:
        with pytest.raises(httpcore.RemoteProtocolError):
            _ask_at_once(pool, server, 1)
        _ask_at_once(pool, server, 1)
    assert server.connections == 2


def test_a_connection_that_is_given_back_after_the_pool_was_closed_is_closed(server):
    with Pool() as pool:
        response = pool.handle_request(_request(server))
        stream = response.extensions["network_stream"]
        response.read()
    response.close()
    assert stream.get_extra_info("socket").fileno() == -1


def test_only_http_addresses_are_requested():
    with Pool() as pool, pytest.raises(httpcore.UnsupportedProtocol):
        pool.handle_request(httpcore.Request("GET", "ftp://127.0.0.1/"))
