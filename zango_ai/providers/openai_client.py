"""The client that litellm gets as OpenAI's: one request, and the response unchanged.

litellm builds the request and reads the response. The SDK between them would walk through the request's types, and
convert the response to objects that litellm converts back: half the time of a call. Errors are the SDK's own,
because litellm recognizes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx
import openai


class Client(openai.OpenAI):
    @cached_property
    def chat(self) -> Any:
        return _Chat(_Completions(self, {"Authorization": f"Bearer {self.api_key}"}))


class AzureClient(openai.AzureOpenAI):
    """The same with Azure's addresses and header. Error trackers patch the SDK's ``create()``: it is not used."""

    @cached_property
    def chat(self) -> Any:
        return _Chat(
            _Completions(self, {"api-key": self.api_key}, {"api-version": self._api_version}, "/deployments/")
        )


class _Chat:
    def __init__(self, completions: _Completions) -> None:
        self.completions = completions


class _Completions:
    def __init__(
        self,
        client: openai.OpenAI,
        key: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        deployments: str = "",
    ) -> None:
        """``deployments`` is the path below which each model has its own address, if there is one."""
        self._client = client
        self._base = str(client.base_url).rstrip("/")
        self._params = params or {}
        self._deployments = deployments
        self._headers = {"Accept": "application/json", "User-Agent": client.user_agent, **key}

    def _url(self, body: Mapping[str, Any]) -> str:
        place = f"{self._deployments}{quote(str(body['model']), safe='')}" if self._deployments else ""
        return f"{self._base}{place}/chat/completions"

    @property
    def with_raw_response(self) -> _Completions:
        return self

    def create(
        self,
        *,
        timeout: Any = None,  # the transport keeps the deadline
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> _RawResponse:
        """Raises the SDK's APITimeoutError, APIConnectionError, APIStatusError."""
        http, is_stream = self._client._client, bool(body.get("stream"))
        request = http.build_request(
            "POST",
            self._url(body),
            json={**body, **(extra_body or {})},
            headers={**self._headers, **(extra_headers or {})},
            params={**self._params, **(extra_query or {})},
        )
        try:
            response = http.send(request, stream=is_stream)
        except httpx.TimeoutException as exc:
            raise openai.APITimeoutError(request=request) from exc
        except Exception as exc:
            raise openai.APIConnectionError(request=request) from exc
        if not response.is_success:
            response.read()
            raise self._client._make_status_error_from_response(response) from None
        return _RawStream(response, self._client) if is_stream else _RawResponse(response)


class _RawResponse:
    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self._response = response

    def parse(self) -> Any:
        """The answer. litellm refuses one that is not an object."""
        answer = self._response.json()
        return _Answer(answer) if isinstance(answer, dict) else answer


class _RawStream(_RawResponse):
    def __init__(self, response: httpx.Response, client: openai.OpenAI) -> None:
        super().__init__(response)
        self._client = client

    def parse(self) -> Any:
        """The chunks, as the SDK reads them."""
        from openai.types.chat import ChatCompletionChunk

        return openai.Stream(cast_to=ChatCompletionChunk, response=self._response, client=self._client)


class _Answer:
    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def model_dump(self, **options: Any) -> dict[str, Any]:
        for choice in self._content.get("choices") or ():
            message = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(message, dict):
                message.setdefault("role", "assistant")  # litellm needs it, and some servers leave it out
        return self._content
