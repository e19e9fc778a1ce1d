"""What is sent: the system prompt, then the user's text or the caller's messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .. import arguments
from ..exceptions import InputRequired, PromptNotFound
from ..files.file import LLMFile
from ..prompts import rendering
from ..types import AgentSpec, LLMMessage, ModelRequest, PromptSpec, ToolSchema


@dataclass(frozen=True, slots=True)
class Question:
    """What the caller of ``run()`` asks: the first that is not None of input, variables and messages."""

    input: str | None
    variables: Mapping[str, Any] | None
    system_variables: Mapping[str, Any] | None
    messages: Iterable[LLMMessage] | None
    files: Iterable[LLMFile] | None = None

    def require_types(self) -> None:
        """Raise TypeError for an argument of the wrong type, whether or not it is used."""
        if self.input is not None:
            arguments.require(self.input, str, "input", "the text as a str")
        for name, values in (("variables", self.variables), ("system_variables", self.system_variables)):
            if values is not None:
                arguments.require(values, Mapping, name, "a dict of values by name")
        if self.messages is not None:
            arguments.require_iterable(self.messages, LLMMessage, "messages")
        if self.files is not None:
            arguments.require_iterable(self.files, LLMFile, "files")


@dataclass(frozen=True, slots=True)
class Composed:
    """The request, and the two texts of it that the log shows apart."""

    request: ModelRequest
    said: tuple[LLMMessage, ...]
    """What the caller says in this turn."""
    system_text: str
    user_text: str
    said_from: int
    """Where in the request's messages it begins."""

    def after(self, history: tuple[LLMMessage, ...]) -> Composed:
        """The same with a conversation's history before what is said."""
        head, rest = self.request.messages[: self.said_from], self.request.messages[self.said_from :]
        request = replace(self.request, messages=(*head, *history, *rest))
        return replace(self, request=request, said_from=self.said_from + len(history))


def compose(agent: AgentSpec, question: Question, tools: tuple[ToolSchema, ...] = ()) -> Composed:
    """Raises InputRequired, PromptNotFound, PromptRenderError; TypeError for a value of the wrong type."""
    renderer = rendering.Renderer()
    system = ""
    if agent.system_prompt is not None:
        system = _text_of(renderer, agent.system_prompt, question.system_variables)
    said = _said(renderer, agent, question)
    renderer.finish()
    said = _with_files(agent, question.files, said)
    head = (LLMMessage("system", system),) if system else ()
    return Composed(
        request_of(agent, (*head, *said), tools),
        said=said,
        system_text=system,
        user_text=next((message.content for message in reversed(said) if message.role == "user"), ""),
        said_from=len(head),
    )


def request_of(agent: AgentSpec, messages: tuple[LLMMessage, ...], tools: tuple[ToolSchema, ...]) -> ModelRequest:
    """What the agent asks its model for, with these messages."""
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


def without_tools(request: ModelRequest) -> ModelRequest:
    return replace(request, tools=())


def _said(renderer: rendering.Renderer, agent: AgentSpec, question: Question) -> tuple[LLMMessage, ...]:
    if question.input is not None:
        return (LLMMessage("user", question.input),)
    if question.variables is None and question.messages is not None:
        return _checked(agent, question.messages)
    if agent.user_prompt is None:
        wanting = " for variables= to fill" if question.variables is not None else ""
        raise InputRequired(
            agent.name,
            f"Agent {agent.name!r} has no user prompt{wanting}. Pass input= or messages=, or give the agent a user "
            "prompt in the admin.",
        )
    values = {} if question.variables is None else question.variables
    return (LLMMessage("user", _text_of(renderer, agent.user_prompt, values)),)


def _text_of(renderer: rendering.Renderer, prompt: PromptSpec, values: Mapping[str, Any] | None) -> str:
    if prompt.content is None:
        raise PromptNotFound(
            prompt.name, f"Prompt {prompt.name!r} has no active version. Activate one in the admin."
        )
    if values is None:
        return prompt.content
    return renderer.render(prompt.content, values, prompt_name=prompt.name)


def _checked(agent: AgentSpec, messages: Iterable[LLMMessage]) -> tuple[LLMMessage, ...]:
    said = arguments.as_tuple(messages, LLMMessage, "messages")
    if not said:
        raise InputRequired(agent.name, f"messages= of agent {agent.name!r} is empty. Pass at least one.")
    return said


def _with_files(
    agent: AgentSpec, files: Iterable[LLMFile] | None, said: tuple[LLMMessage, ...]
) -> tuple[LLMMessage, ...]:
    """What is said, with the files at the last message of the user."""
    given = arguments.as_tuple(files or (), LLMFile, "files")
    if not given:
        return said
    last = next((i for i in reversed(range(len(said))) if said[i].role == "user"), None)
    if last is None:
        raise InputRequired(
            agent.name, f"messages= of agent {agent.name!r} has no message of the user, to which files belong."
        )
    whole = replace(said[last], files=(*said[last].files, *given))
    return (*said[:last], whole, *said[last + 1 :])
