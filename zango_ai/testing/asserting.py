"""Assertions about what a scripted model was asked, and which tools were executed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..types import LLMToolCall
from .asked import AskedRequest

EXECUTED = frozenset({"success", "error", "timeout"})
"""The statuses of tool calls whose function was called."""
Expected = str | re.Pattern[str]
"""A text that the actual one contains, or a pattern that is found in it."""


class Assertions:
    """The assertions of scripted agents and providers, and of a model server's requests."""

    _owner: str

    @property
    def requests(self) -> list[AskedRequest]:
        """What the model was asked, oldest first. Each call to the provider is one, retries included."""
        raise NotImplementedError

    @property
    def last_request(self) -> AskedRequest:
        """The latest request. AssertionError if there is none."""
        __tracebackhide__ = True
        requests = self.requests
        if not requests:
            raise AssertionError(f"{self._owner} has not asked its model.")
        return requests[-1]

    def assert_asked(
        self,
        text: Expected | None = None,
        *,
        system: Expected | None = None,
        tools: Iterable[str] | None = None,
        files: Iterable[str] | None = None,
        times: int | None = None,
        **params: Any,
    ) -> None:
        """At least one request matches everything that is given; with ``times``, exactly that many do.

        ``text``: in any user message. ``system``: in the system prompt. ``tools``: the names of the offered tools,
        in any order. ``files``: the names of the sent files. ``params``: ``model``, ``temperature``, ``max_tokens``
        and the other attributes of ``AskedRequest``. A text must be contained, a compiled pattern found.
        """
        __tracebackhide__ = True
        expected = {"text": text, "system": system, "tools": tools, "files": files, **params}
        given = {name: value for name, value in expected.items() if value is not None}
        requests = self.requests
        problems = [list(_differences(request, given)) for request in requests]
        found = sum(not each for each in problems)
        if found if times is None else found == times:
            return
        wanted = ", ".join(f"{name}={value!r}" for name, value in given.items()) or "anything"
        count = "" if times is None else f" {times} times, but {found} times"
        listed = [
            _numbered(number, *pair) for number, pair in enumerate(zip(requests, problems, strict=True), start=1)
        ]
        raise AssertionError(
            "\n".join([f"{self._owner} was not asked {wanted}{count}.", *(listed or ["No request."])])
        )

    def assert_not_asked(self) -> None:
        """The model was never asked."""
        __tracebackhide__ = True
        if self.requests:
            shown = "\n".join(map(str, self.requests))
            raise AssertionError(f"{self._owner} asked its model {len(self.requests)} times:\n{shown}")


class ToolAssertions:
    """The assertions about the tools of scripted agents."""

    _owner: str

    @property
    def tool_calls(self) -> list[LLMToolCall]:
        """All tool calls of the agent's runs, in order, with arguments, results and statuses."""
        raise NotImplementedError

    @property
    def executed_tools(self) -> list[str]:
        """The names of the tools that were executed, in order."""
        return [call.name for call in self.tool_calls if call.status in EXECUTED]

    def assert_tools_called(self, *names: str) -> None:
        """Exactly these tools were executed, in this order. Without names: none was."""
        __tracebackhide__ = True
        if self.executed_tools != list(names):
            raise AssertionError(
                f"{self._owner} should have executed {_listed(names)}, but executed {_listed(self.executed_tools)}."
                f"{self._all_calls()}"
            )

    def assert_tool_called(self, name: str, /, **arguments: Any) -> None:
        """The tool was executed at least once with these arguments; others are ignored."""
        __tracebackhide__ = True
        for call in self.tool_calls:
            if call.name == name and call.status in EXECUTED and _contains(call.input, arguments):
                return
        wanted = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise AssertionError(f"{self._owner} has not executed {name}({wanted}).{self._all_calls()}")

    def assert_tool_not_called(self, *names: str) -> None:
        """None of these tools was executed."""
        __tracebackhide__ = True
        unwanted = [name for name in self.executed_tools if name in names]
        if unwanted:
            raise AssertionError(f"{self._owner} executed {_listed(unwanted)}.{self._all_calls()}")

    def _all_calls(self) -> str:
        calls = [f"\n  {call.name}({_arguments(call.input)}): {call.status}" for call in self.tool_calls]
        return f" The model called:{''.join(calls)}" if calls else " The model called no tool."


def _differences(request: AskedRequest, expected: Mapping[str, Any]) -> Iterator[str]:
    """What in the request is not as expected, each as a few words."""
    for name, value in expected.items():
        if name == "text":
            texts = [message.content for message in request.messages if message.role == "user"]
            if not any(_is_found(value, text) for text in texts):
                yield "text"
        elif name == "system":
            if not _is_found(value, request.system):
                yield "system prompt"
        elif name == "tools":
            if sorted(value) != sorted(request.tools):
                yield "tools"
        elif name == "files":
            if sorted(value) != sorted(file.filename for file in request.files):
                yield "files"
        elif not hasattr(AskedRequest, name):
            raise TypeError(f"assert_asked() has no argument {name!r}.")
        elif getattr(request, name) != value:
            yield f"{name} is {getattr(request, name)!r}"


def _is_found(expected: Expected, text: str) -> bool:
    return expected in text if isinstance(expected, str) else expected.search(text) is not None


def _numbered(number: int, request: AskedRequest, problems: list[str]) -> str:
    differs = f" (differs: {', '.join(problems)})" if problems else ""
    return f"Request {number}{differs}: {request}"


def _contains(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> bool:
    return all(key in actual and actual[key] == value for key, value in expected.items())


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "no tool"
