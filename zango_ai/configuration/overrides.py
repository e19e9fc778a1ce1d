"""The settings that one ``run()`` replaces: model, temperature and max tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import argument_checks, limits
from ..types import AgentSpec

_MAX_MODEL_CHARS = 200
_MAX_TEMPERATURE = 2.0


@dataclass(frozen=True, slots=True)
class Overrides:
    """Replacements for the agent's settings. None keeps the agent's own."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        """Raises TypeError or ValueError for a value that an agent could not have."""
        if self.model is not None:
            _require_model(self.model)
        if self.temperature is not None:
            _require_temperature(self.temperature)
        if self.max_tokens is not None:
            _require_max_tokens(self.max_tokens)

    def apply(self, agent: AgentSpec) -> AgentSpec:
        """The agent with these settings. Its fallbacks keep their own models."""
        return replace(
            agent,
            model=agent.model if self.model is None else self.model,
            temperature=agent.temperature if self.temperature is None else float(self.temperature),
            max_tokens=agent.max_tokens if self.max_tokens is None else self.max_tokens,
        )


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
