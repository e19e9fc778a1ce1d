"""litellm's own HTTP client objects, on top of ours. Importing this module imports litellm."""

from __future__ import annotations

from typing import Any

import httpx
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler


class _AsyncHandler(AsyncHTTPHandler):  # type: ignore[misc]  # litellm is not typed
    """Sends each request once. litellm's own class repeats it with another client if the connection fails."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._client = http
        self._owns_client = False
        self.timeout = self.event_hooks = self.client_alias = None

    async def post(
        self,
        url: str,
        data: Any = None,
        json: Any = None,
        params: Any = None,
        headers: Any = None,
        timeout: Any = None,  # the transport keeps the deadline
        stream: bool = False,
        logging_obj: Any = None,
        files: Any = None,
        content: Any = None,
    ) -> httpx.Response:
        if isinstance(data, (str, bytes)):
            data, content = None, data
        request = self._client.build_request(
            "POST", url, data=data, json=json, params=params, headers=headers, files=files, content=content
        )
        response = await self._client.send(request, stream=stream)
        if not response.is_success:
            await response.aread()
        return response.raise_for_status()

    def __del__(self) -> None:
        """Our client is closed by ``clients``."""


def handler_on(http: httpx.Client | httpx.AsyncClient) -> HTTPHandler | AsyncHTTPHandler:
    return _AsyncHandler(http) if isinstance(http, httpx.AsyncClient) else HTTPHandler(client=http)
