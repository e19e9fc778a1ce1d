"""Who answers in the demo: a stand-in, a small model on this computer, or OpenAI and Anthropic."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from clinic import local_model
from clinic.local_model import LocalModel
from django.http import HttpRequest

from zango_ai.models import Provider
from zango_ai.testing import ModelServer

LIVE_KEYS = {"main": "OPENAI_API_KEY", "second": "ANTHROPIC_API_KEY"}
VENDORS = {
    "main": {"kind": "openai", "default_model": "gpt-5.4-mini"},
    "second": {"kind": "anthropic", "default_model": "claude-haiku-4-5"},
}


@dataclass(frozen=True)
class Answering:
    """Where the demo's answers come from."""

    description: str
    """Shown in the terminal, on the clinic's pages, and on the providers' pages in the admin."""
    providers: dict[str, dict[str, Any]]
    """Fields of the providers ``main`` and ``second``. One that is not in here is not called."""
    allowed_api_bases: list[str] = field(default_factory=list)
    stand_in: ModelServer | None = None
    is_on_this_computer: bool = False
    """Then calls are free, and the model is too small to call tools."""

    @property
    def agent_fields(self) -> dict[str, Any]:
        """Fields of every agent. The small model rambles, and a busy computer is slow."""
        if self.is_on_this_computer:
            return {"temperature": 0.2, "max_tokens": 100, "timeout_seconds": 120}
        return {"temperature": 0.7, "max_tokens": 2000, "timeout_seconds": 30}


def context(request: HttpRequest) -> dict[str, Any]:
    """For templates: ``answering`` says who answers on this site."""
    return {"answering": lambda: Provider.objects.filter(name="main").values_list("description", flat=True).first()}


@contextmanager
def stand_in() -> Iterator[Answering]:
    with ModelServer() as model:
        bases = {"main": model.openai_base, "second": model.anthropic_base}
        providers = {
            name: {**fields, "credentials": {"api_key": "sk-stand-in-0001", "api_base": bases[name]}}
            for name, fields in VENDORS.items()
        }
        description = "A stand-in answers, not a language model: it repeats part of the question."
        yield Answering(description, providers, [model.url], stand_in=model)


@contextmanager
def on_this_computer() -> Iterator[Answering]:
    with local_model.running() as model:
        yield by(model)


def by(model: LocalModel) -> Answering:
    """Both providers are this model."""
    fields = {
        "kind": "openai_compatible",
        "default_model": local_model.MODEL,
        "credentials": {"api_base": model.api_base},
    }
    description = f"{local_model.MODEL} answers, on this computer. So small a language model is often wrong."
    return Answering(description, {"main": fields, "second": fields}, [model.url], is_on_this_computer=True)


@contextmanager
def live() -> Iterator[Answering]:
    """The vendors whose API keys are in the environment."""
    keys = {name: os.environ.get(variable, "") for name, variable in LIVE_KEYS.items()}
    providers = {name: {**VENDORS[name], "credentials": {"api_key": key}} for name, key in keys.items() if key}
    models = " and ".join(str(fields["default_model"]) for fields in providers.values())
    yield Answering(f"Answers come from {models}, on your API key.", providers)
