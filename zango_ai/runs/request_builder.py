"""Compose the request to the model: the system prompt, then the user's text or the caller's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .. import argument_checks
from ..configuration import lookups
from ..exceptions import InputRequired
from ..files.file import LLMFile
from ..prompts import rendering
from ..types import AgentSpec, LLMMessage, ModelRequest, PromptSpec, ToolSchema
from .arguments import RunRequest


@dataclass(frozen=True, slots=True)
class ComposedRequest:
    """The first request of a run, and the parts of it that the log and the memory need."""

    request: ModelRequest
    turn: tuple[LLMMessage, ...]
    """The messages of this turn: those that the caller adds to the conversation."""
    turn_start: int
    """The index of the first of them in the request's messages."""
    system_text: str = ""
    user_text: str = ""

    def with_history(self, history: tuple[LLMMessage, ...]) -> ComposedRequest:
        """The same request, with a conversation's history before this turn."""
        messages = self.request.messages
        head, rest = messages[: self.turn_start], messages[self.turn_start :]
        request = replace(self.request, messages=(*head, *history, *rest))
        return replace(self, request=request, turn_start=self.turn_start + len(history))


def compose(agent: AgentSpec, request: RunRequest, tools: tuple[ToolSchema, ...] = ()) -> ComposedRequest:
    """Raises InputRequired, PromptNotFound, PromptRenderError; TypeError for a value of the wrong type."""
    renderer = rendering.Renderer()
    system_text = ""
    if agent.system_prompt is not None:
        system_text = _prompt_text(renderer, agent.system_prompt, request.system_variables)
    turn = _turn(renderer, agent, request)
    renderer.finish()
    turn = _with_files(agent, request.files, turn)
    head = (LLMMessage("system", system_text),) if system_text else ()
    return ComposedRequest(
        model_request(agent, (*head, *turn), tools),
        turn=turn,
        turn_start=len(head),
        system_text=system_text,
        user_text=next((message.content for message in reversed(turn) if message.role == "user"), ""),
    )


def model_request(
    agent: AgentSpec, messages: tuple[LLMMessage, ...], tools: tuple[ToolSchema, ...]
) -> ModelRequest:
    """The request to the agent's model with these messages and tools."""
    wants_json = agent.output_schema == "json"
    return ModelRequest(
        model=agent.model,
        messages=messages,
        temperature=agent.temperature,
        max_tokens=agent.max_tokens,
        timeout_s=float(agent.timeout_seconds),
        wants_json=wants_json,
        json_schema=agent.output_json_schema if wants_json else None,
        tools=tools,
    )


def _turn(renderer: rendering.Renderer, agent: AgentSpec, request: RunRequest) -> tuple[LLMMessage, ...]:
    """The first that is not None of input, variables and messages; else the user prompt as it is."""
    if request.input is not None:
        return (LLMMessage("user", request.input),)
    if request.variables is None and request.messages is not None:
        return _messages(agent, request.messages)
    if agent.user_prompt is None:
        purpose = " for variables= to fill" if request.variables is not None else ""
        raise InputRequired(
            agent.name,
            f"Agent {agent.name!r} has no user prompt{purpose}. Pass input= or messages=, or give the agent a user "
            "prompt in the admin.",
        )
    variables = {} if request.variables is None else request.variables
    return (LLMMessage("user", _prompt_text(renderer, agent.user_prompt, variables)),)


def _prompt_text(renderer: rendering.Renderer, prompt: PromptSpec, variables: Mapping[str, Any] | None) -> str:
    if prompt.content is None:
        raise lookups.no_active_version(prompt.name)
    if variables is None:
        return prompt.content
    return renderer.render(prompt.content, variables, prompt_name=prompt.name)


def _messages(agent: AgentSpec, messages: Iterable[LLMMessage]) -> tuple[LLMMessage, ...]:
    turn = argument_checks.as_tuple(messages, LLMMessage, "messages")
    if not turn:
        raise InputRequired(agent.name, f"messages= of agent {agent.name!r} is empty. Pass at least one message.")
    return turn


def _with_files(
    agent: AgentSpec, files: Iterable[LLMFile] | None, turn: tuple[LLMMessage, ...]
) -> tuple[LLMMessage, ...]:
    """The turn with the files in its last user message."""
    added = argument_checks.as_tuple(files or (), LLMFile, "files")
    if not added:
        return turn
    last = next((index for index in reversed(range(len(turn))) if turn[index].role == "user"), None)
    if last is None:
        raise InputRequired(
            agent.name,
            f"messages= of agent {agent.name!r} has no user message to send the files with. Add one.",
        )
    message = replace(turn[last], files=(*turn[last].files, *added))
    return (*turn[:last], message, *turn[last + 1 :])
