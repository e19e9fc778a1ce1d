"""The client that litellm gets as OpenAI's: one request, and the response unchanged.

litellm builds the request and reads the response. The SDK between them would walk through the request's types, and
convert the response to objects that litellm converts back: half the time of a call. Errors are the SDK's own,
because litellm recognizes them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Self
from urllib.parse import quote

import httpx
import openai


class Client(openai.OpenAI):
    @cached_property
    def chat(self) -> Any:
        return _Chat(_Completions(self, _bearer(self)))


class AsyncClient(openai.AsyncOpenAI):
    @cached_property
    def chat(self) -> Any:
        return _Chat(_AsyncCompletions(self, _bearer(self)))


class AzureClient(openai.AzureOpenAI):
    """The same with Azure's addresses and header. Error trackers patch the SDK's ``create()``: it is not used."""

    @cached_property
    def chat(self) -> Any:
        return _Chat(_Completions(self, {"api-key": self.api_key}, **_azure(self._api_version)))


class AsyncAzureClient(openai.AsyncAzureOpenAI):
    @cached_property
    def chat(self) -> Any:
        return _Chat(_AsyncCompletions(self, {"api-key": self.api_key}, **_azure(self._api_version)))


def _bearer(client: openai.OpenAI | openai.AsyncOpenAI) -> dict[str, str]:
    return {"Authorization": f"Bearer {client.api_key}"}


def _azure(api_version: str | None) -> dict[str, Any]:
    return {"params": {"api-version": api_version}, "deployments": "/deployments/"}


class _Chat:
    def __init__(self, completions: _BaseCompletions) -> None:
        self.completions = completions


class _BaseCompletions:
    def __init__(
        self,
        client: Any,
        key: Mapping[str, str],
        params: Mapping[str, Any] | None = None,
        deployments: str = "",
    ) -> None:
        """``deployments`` is the path below which each model has its own address, if there is one."""
        self._client = client
        self._http: Any = client._client
        self._base = str(client.base_url).rstrip("/")
        self._params = params or {}
        self._deployments = deployments
        self._headers = {"Accept": "application/json", "User-Agent": client.user_agent, **key}

    def _url(self, body: Mapping[str, Any]) -> str:
        place = f"{self._deployments}{quote(str(body['model']), safe='')}" if self._deployments else ""
        return f"{self._base}{place}/chat/completions"

    @property
    def with_raw_response(self) -> Self:
        return self

    def _request(
        self,
        *,
        timeout: Any = None,  # the transport keeps the deadline
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> httpx.Request:
        request: httpx.Request = self._http.build_request(
            "POST",
            self._url(body),
            json={**body, **(extra_body or {})},
            headers={**self._headers, **(extra_headers or {})},
            params={**self._params, **(extra_query or {})},
        )
        return request

    def _status_error(self, response: httpx.Response) -> Exception:
        error: Exception = self._client._make_status_error_from_response(response)
        return error


class _Completions(_BaseCompletions):
    def create(self, *, stream: bool = False, **arguments: Any) -> _RawResponse:
        """Raises the SDK's APITimeoutError, APIConnectionError, APIStatusError."""
        request = self._request(**_with_stream(arguments, stream))
        with _sdk_errors(request):
            response = self._http.send(request, stream=stream)
        if not response.is_success:
            response.read()
            raise self._status_error(response) from None
        return _RawStream(response, self._client, openai.Stream) if stream else _RawResponse(response)


class _AsyncCompletions(_BaseCompletions):
    async def create(self, *, stream: bool = False, **arguments: Any) -> _RawResponse:
        """Raises what ``_Completions.create()`` raises."""
        request = self._request(**_with_stream(arguments, stream))
        with _sdk_errors(request):
            response = await self._http.send(request, stream=stream)
        if not response.is_success:
            await response.aread()
            raise self._status_error(response) from None
        return _RawStream(response, self._client, openai.AsyncStream) if stream else _RawResponse(response)


def _with_stream(arguments: dict[str, Any], stream: bool) -> dict[str, Any]:
    return {**arguments, "stream": True} if stream else arguments


@contextmanager
def _sdk_errors(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as exc:
        raise openai.APITimeoutError(request=request) from exc
    except Exception as exc:
        raise openai.APIConnectionError(request=request) from exc


class _RawResponse:
    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self._response = response

    def parse(self) -> Any:
        """The answer. litellm refuses one that is not an object."""
        answer = self._response.json()
        return _Answer(answer) if isinstance(answer, dict) else answer


class _RawStream(_RawResponse):
    def __init__(self, response: httpx.Response, client: Any, reader: Any) -> None:
        """``reader`` is ``openai.Stream`` or ``openai.AsyncStream``."""
        super().__init__(response)
        self._client, self._reader = client, reader

    def parse(self) -> Any:
        """The chunks, as the SDK reads them."""
        from openai.types.chat import ChatCompletionChunk

        return self._reader(cast_to=ChatCompletionChunk, response=self._response, client=self._client)


class _Answer:
    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def model_dump(self, **options: Any) -> dict[str, Any]:
        for choice in self._content.get("choices") or ():
            message = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(message, dict):
                message.setdefault("role", "assistant")  # litellm needs it, and some servers leave it out
        return self._content
