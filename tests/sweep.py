"""Asks every model name that litellm knows, at every kind of provider: no call may leave our own HTTP client.

``python -m tests.sweep`` sweeps all names and takes some minutes: it belongs to a release, and to a new version of
litellm. The suite sweeps a sample. Each name is either refused before anything is sent, or its request arrives at
the local model server.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

ODD_NAMES = (
    *("my-replicate-model", "github_copilot/gpt-4o", "chatgpt/gpt-5", "GitHub_Copilot/gpt-4o", "clarifai/x"),
    *("claude-2", "command-r-plus", "ft:davinci-002:us::1", "ft:gpt-3.5-turbo:us::1", "responses/x", "o3-pro", "*"),
    *("invoke/x", "converse_like/x", "claude_platform/x", "mantle/x", "agent/A/B", "agentcore/x", "async_invoke/x"),
    "meta/llama-2-70b-chat:" + 64 * "0",
)


def all_names() -> list[str]:
    from zango_ai.providers import litellm_import

    return sorted({*litellm_import.load().model_cost, *sample()})


def sample() -> list[str]:
    """A name for each vendor that litellm knows, and names that litellm reads something from."""
    from zango_ai.providers import litellm_import

    return [*ODD_NAMES, *(f"{vendor}/some-model" for vendor in sorted(litellm_import.vendors()))]


def stray(server: Any, kind: str, names: Iterable[str]) -> Iterator[str]:
    """The names for which a call left our client, or was neither refused nor sent to the server."""
    from tests.build import credentials_for
    from zango_ai.exceptions import ModelNotAvailable, ProviderConfigInvalid, ZangoAIError
    from zango_ai.providers import calls
    from zango_ai.types import LLMMessage, ModelRequest, ProviderSpec

    provider = ProviderSpec(1, "swept", kind, credentials_for(server, kind), "", True)
    own = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    for name in names:
        server.reset()
        request = ModelRequest(name, (LLMMessage("user", "a private question"),), 1.0, 100, 120.0)
        with watched(own) as elsewhere:
            try:
                calls.prepare(provider, request).send()
            except (ModelNotAvailable, ProviderConfigInvalid):
                outcome = "refused"
            except ZangoAIError as exc:
                outcome = repr(exc)
            else:
                outcome = "answered"
        arrived = any("a private question" in seen.raw.decode() for seen in server.requests)
        if elsewhere or (outcome == "refused") == arrived:
            yield f"{kind} {name}: {outcome}, tried {elsewhere}, {'arrived' if arrived else 'did not arrive'}"


@contextmanager
def watched(own: tuple[str, int]) -> Iterator[list[Any]]:
    """Every address but ``own`` that this process looks up or connects to."""
    elsewhere: list[Any] = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connected(sock: socket.socket, address: Any) -> Any:
        if address != own:
            elsewhere.append(address)
        return connect(sock, address)

    def looked_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if (host, port) != own:
            elsewhere.append(host)
        return look_up(host, port, *args, **kwargs)

    with (
        mock.patch.object(socket.socket, "connect", connected),
        mock.patch.object(socket, "getaddrinfo", looked_up),
    ):
        yield elsewhere


def main() -> int:
    sys.path.append("example_project")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings")
    import django

    django.setup()
    from django.test.utils import override_settings

    from zango_ai.providers.kinds import KINDS
    from zango_ai.testing import ModelServer

    names, count = all_names(), 0
    with ModelServer() as server, override_settings(ZANGO_AI={"ALLOWED_API_BASES": [server.url]}):
        for kind in KINDS:
            print(f"{kind}: {len(names)} names", flush=True)
            for problem in stray(server, kind, names):
                count += 1
                print(f"  {problem}", flush=True)
    print(f"{count} problems")
    return min(count, 1)


if __name__ == "__main__":
    sys.exit(main())
