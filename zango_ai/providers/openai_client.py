"""What litellm is given as OpenAI's client: one request, and the answer as it came.

litellm puts the body together, and takes the answer apart. The SDK in between would walk through the body's types,
and make objects of the answer for litellm to make dicts of: half the time of a call. Errors are the SDK's own, by
which litellm knows them.
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
    """Azure's addresses and header. Error trackers patch the SDK's own ``create``, and would report its frames."""

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
        """``deployments`` is the path below which each model has an address of its own, if any."""
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
        timeout: Any = None,  # kept by the streams, see ``wire``
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        **body: Any,
    ) -> _Reply:
        """Raises the SDK's APITimeoutError, APIConnectionError, APIStatusError."""
        http = self._client._client
        request = http.build_request(
            "POST",
            self._url(body),
            json={**body, **(extra_body or {})},
            headers={**self._headers, **(extra_headers or {})},
            params={**self._params, **(extra_query or {})},
        )
        try:
            response = http.send(request)
        except httpx.TimeoutException as exc:
            raise openai.APITimeoutError(request=request) from exc
        except Exception as exc:
            raise openai.APIConnectionError(request=request) from exc
        if not response.is_success:
            raise self._client._make_status_error_from_response(response) from None
        return _Reply(response)


class _Reply:
    def __init__(self, response: httpx.Response) -> None:
        self.headers = response.headers
        self._response = response

    def parse(self) -> Any:
        """The answer; where it is no object, what litellm refuses."""
        answer = self._response.json()
        return _Answer(answer) if isinstance(answer, dict) else answer


class _Answer:
    def __init__(self, content: dict[str, Any]) -> None:
        self._content = content

    def model_dump(self, **options: Any) -> dict[str, Any]:
        for choice in self._content.get("choices") or ():
            message = choice.get("message") if isinstance(choice, dict) else None
            if isinstance(message, dict):
                message.setdefault("role", "assistant")  # some servers leave it out, and litellm asks for it
        return self._content
