"""The scripts and the cassette of this process: they answer runs in place of providers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from ..runs import substitution
from . import enqueued, stand_in_credentials
from .scripted_calls import ScriptedCall

if TYPE_CHECKING:
    from ..providers.calls import PreparedCall
    from ..runs.preparation import PreparedRun
    from ..types import ProviderSpec
    from .scripted_models import ScriptedModel


class Recording(Protocol):
    """A cassette: it answers or records the calls that no script answers."""

    def call_for(self, run: PreparedRun, call: PreparedCall) -> substitution.Call: ...

    @property
    def is_replayed(self) -> bool: ...


class Stage:
    """The substitute for providers, while there is a script or a cassette."""

    def __init__(self) -> None:
        self._models: list[ScriptedModel] = []
        self._recordings: list[Recording] = []
        self._lock = threading.Lock()

    def prepared(self, run: PreparedRun) -> PreparedRun:
        """The run with stand-ins for the credentials that providers lack whose calls are answered here."""
        provider = self._completed(run, run.agent.provider)
        fallbacks = [replace(each, provider=self._completed(run, each.provider)) for each in run.agent.fallbacks]
        return replace(run, agent=replace(run.agent, provider=provider, fallbacks=tuple(fallbacks)))

    def _completed(self, run: PreparedRun, provider: ProviderSpec) -> ProviderSpec:
        is_answered = self._is_replayed or self._model_of(run, provider.name) is not None
        return stand_in_credentials.completed(provider) if is_answered else provider

    @property
    def _is_replayed(self) -> bool:
        """Whether a recording answers what no script does."""
        return bool(self._recordings) and self._recordings[-1].is_replayed

    def call_for(self, run: PreparedRun, call: PreparedCall) -> substitution.Call:
        model = self._model_of(run, call.provider.name)
        if model is not None:
            model.note_run(run)
            return ScriptedCall(call, run.agent.name, model.steps)
        return self._recordings[-1].call_for(run, call) if self._recordings else call

    def answers(self, run: PreparedRun) -> bool:
        is_scripted = all(self._model_of(run, target) for target in self._providers_of(run))
        return is_scripted or self._is_replayed

    def holds_queue(self) -> bool:
        """A worker would know nothing of the scripts. A queue that executes at once has no worker."""
        return bool(self._models or self._recordings) and not enqueued.is_executed_at_once()

    def find(self, kind: str, name: str) -> ScriptedModel | None:
        """The script of that agent or provider that was added last."""
        with self._lock:
            found = [model for model in self._models if (model.kind, model.name) == (kind, name)]
        return found[-1] if found else None

    @contextmanager
    def playing(self, *, model: ScriptedModel | None = None, recording: Recording | None = None) -> Iterator[None]:
        """Inside the block, the script or the recording answers."""
        with self._lock:
            if model is not None:
                self._models.append(model)
            if recording is not None:
                self._recordings.append(recording)
            substitution.set_substitute(self)
        try:
            yield
        finally:
            with self._lock:
                if model is not None:
                    self._models.remove(model)
                if recording is not None:
                    self._recordings.remove(recording)
                if not (self._models or self._recordings):
                    substitution.set_substitute(None)

    def _model_of(self, run: PreparedRun, provider_name: str) -> ScriptedModel | None:
        """The script of the run's agent; else that of the provider that is called."""
        return self.find("agent", run.agent.name) or self.find("provider", provider_name)

    @staticmethod
    def _providers_of(run: PreparedRun) -> Iterator[str]:
        yield run.agent.provider.name
        for target in run.agent.fallbacks:
            yield target.provider.name


STAGE = Stage()
