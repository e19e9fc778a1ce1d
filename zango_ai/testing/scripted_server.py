"""A local model server for one test: allowed by the settings, and strict about its script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Unpack

from django.conf import settings
from django.test.utils import override_settings

from .model_server import ModelServer
from .replies import Reply, SeenRequest
from .steps import Answer, Failure

if TYPE_CHECKING:
    from ..definitions import ProviderOptions
    from ..models import Provider

_MODELS = {"openai": "gpt-4o-mini", "anthropic": "claude-haiku-4-5", "gemini": "gemini-2.5-flash"}


class ScriptedModelServer(ModelServer):
    """A ``ModelServer`` whose script has to be used up, and which answers nothing beyond it.

    As long as nothing is scripted, it answers every request, as ``ModelServer`` does.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_scripted = False
        self._beyond = 0

    def script(self, *replies: Reply | Answer | Failure | str) -> None:
        super().script(*replies)
        self._is_scripted = self._is_scripted or bool(replies)

    def reset(self) -> None:
        super().reset()
        self._is_scripted, self._beyond = False, 0

    @property
    def last_request(self) -> SeenRequest:
        """The latest request. AssertionError if there is none."""
        __tracebackhide__ = True
        if not self.requests:
            raise AssertionError("The model server has got no request.")
        return self.requests[-1]

    def take(self, seen: SeenRequest) -> Reply | None:
        reply = super().take(seen)
        if reply is None and self._is_scripted:
            self._beyond += 1
            return Reply("The script of the test's model server is used up.", status=400)
        return reply

    def problem(self) -> str | None:
        """Why the script does not match what happened; None if it does."""
        count = len(self.requests)
        if self._beyond:
            return (
                f"The model server got {count} requests, but its script has {count - self._beyond} replies. Add a "
                f"reply to this request:\n{self.last_request.body}"
            )
        with self._lock:
            left = "".join(f"\n  {reply.status} {reply.sent_text!r}" for reply in self._script)
        return (
            f"The script of the model server was not used up. It got {count} requests. Left:{left}"
            if left
            else None
        )

    def credentials(self, kind: str = "openai") -> dict[str, str]:
        """The credentials of a provider of that kind that uses this server."""
        from ..providers.kinds import KINDS

        bases = {"gemini": self.gemini_base} | dict.fromkeys(("anthropic", "azure", "bedrock", "ollama"), self.url)
        known = {"api_base": bases.get(kind, self.openai_base), "aws_region_name": "eu-central-1"}
        return {
            slot.name: known.get(slot.name, "sk-test")
            for slot in KINDS[kind].slots
            if slot.is_required or slot.name in {"api_base", "api_key"}
        }

    def connect(self, provider_name: str = "main", **options: Unpack[ProviderOptions]) -> Provider:
        """Let the active tenant's provider use this server. If there is none, it is created, of kind ``openai``.

        The options are those of ``define_provider()``.
        """
        from ..definitions import define_provider
        from ..models import Provider

        existing = Provider.objects.filter(name=provider_name).first()
        kind = options.setdefault("kind", "openai" if existing is None else existing.kind)
        options.setdefault("credentials", self.credentials(kind))
        if existing is None:
            options.setdefault("default_model", _MODELS.get(kind, "test-model"))
        return define_provider(provider_name, **options)


@contextmanager
def running_model_server() -> Iterator[ScriptedModelServer]:
    """A model server on loopback that runs, and is allowed by the settings, inside the block.

    At the end of the block, its script must be used up.
    """
    with ScriptedModelServer() as server, allowed(server):
        yield server
        problem = server.problem()
        if problem is not None:
            raise AssertionError(problem)


@contextmanager
def allowed(server: ModelServer) -> Iterator[None]:
    """Inside the block, ``ALLOWED_API_BASES`` lists the server too."""
    before = getattr(settings, "ZANGO_AI", {})
    bases = [*before.get("ALLOWED_API_BASES", ()), server.url]
    with override_settings(ZANGO_AI={**before, "ALLOWED_API_BASES": bases}):
        yield
