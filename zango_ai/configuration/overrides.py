"""The settings of an agent that one run replaces. The configuration stays as it is.

Callers choose ``model``, ``temperature`` and ``max_tokens`` with ``run()``. The admin's playground also chooses a
provider and prompt texts, with ``Agent.with_overrides()``::

    draft = PromptSpec("greeting", version=None, content="Hello {{ name }}")
    get_agent("helper").with_overrides(Overrides(user_prompt=draft)).run(variables={"name": "Ada"})

The run's row has what was used: provider, model, the prompt's name and version (None for a draft), and the rendered
text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .. import argument_checks, limits
from ..exceptions import ProviderNotFound
from ..types import AgentSpec, PromptSpec
from . import agents

_MAX_MODEL_CHARS = 200
_MAX_TEMPERATURE = 2.0


@dataclass(frozen=True, slots=True)
class Overrides:
    """Replacements for the agent's settings. None keeps the agent's own."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    provider_id: int | None = None
    """Another provider of the tenant. The run uses its default model unless ``model`` is set, and no fallbacks."""
    system_prompt: PromptSpec | None = None
    user_prompt: PromptSpec | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a value that an agent could not have."""
        if self.model is not None:
            _require_model(self.model)
        if self.temperature is not None:
            _require_temperature(self.temperature)
        if self.max_tokens is not None:
            _require_max_tokens(self.max_tokens)

    def updated(self, **settings: Any) -> Overrides:
        """With these settings, except those that are None."""
        return replace(self, **{name: value for name, value in settings.items() if value is not None})

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Overrides:
        """The overrides from ``dataclasses.asdict()``. Unknown keys are ignored."""
        names = {each.name for each in fields(cls)}
        values = {name: value for name, value in stored.items() if name in names}
        for name in ("system_prompt", "user_prompt"):
            if values.get(name) is not None:
                values[name] = PromptSpec(**values[name])
        return cls(**values)

    def apply(self, agent: AgentSpec) -> AgentSpec:
        """The agent with these settings. Its fallbacks keep their own models. Raises ProviderNotFound."""
        agent = self._with_provider(agent)
        return replace(
            agent,
            model=agent.model if self.model is None else self.model,
            temperature=agent.temperature if self.temperature is None else float(self.temperature),
            max_tokens=agent.max_tokens if self.max_tokens is None else self.max_tokens,
            system_prompt=self.system_prompt or agent.system_prompt,
            user_prompt=self.user_prompt or agent.user_prompt,
        )

    def _with_provider(self, agent: AgentSpec) -> AgentSpec:
        if self.provider_id in {None, agent.provider.id}:
            return agent
        provider = agents.read_provider(self.provider_id)
        if provider is None:
            raise ProviderNotFound(
                "",
                f"The provider chosen for this run of agent {agent.name!r} has been deleted. Choose another one.",
            )
        return replace(agent, provider=provider, model=provider.default_model, fallbacks=())


def _require_model(model: str) -> None:
    argument_checks.require(model, str, "model", "the model's id as a str")
    if not (0 < len(model) <= _MAX_MODEL_CHARS and model.isprintable() and model.strip() == model):
        raise ValueError(
            f"model must be 1 to {_MAX_MODEL_CHARS} printable characters without spaces around them. Leave it out "
            "to use the configured model."
        )


def _require_temperature(temperature: float) -> None:
    _require_number(temperature, (int, float), "temperature", "a number from 0 to 2")
    if not 0 <= temperature <= _MAX_TEMPERATURE:
        raise ValueError("temperature must be a number from 0 to 2.")


def _require_max_tokens(max_tokens: int) -> None:
    _require_number(max_tokens, (int,), "max_tokens", "a whole number from 1")
    if not 1 <= max_tokens <= limits.MAX_TOKENS:
        raise ValueError(f"max_tokens must be a whole number from 1 to {limits.MAX_TOKENS}.")


def _require_number(value: object, kinds: tuple[type[float], ...], argument: str, expected: str) -> None:
    argument_checks.require(value, kinds, argument, expected)
    if isinstance(value, bool):
        raise TypeError(f"{argument} is a bool; pass {expected}.")
