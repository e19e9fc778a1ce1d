"""``@tool``: declare a function as a tool that agents can call."""

from __future__ import annotations

import enum
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, TypeVar, cast, get_args, overload

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

from .. import limits
from ..argument_checks import type_of
from ..exceptions import ToolDeclarationInvalid
from . import registry
from .parameters import REQUIRED, ParameterInfo, Parameters

F = TypeVar("F", bound=Callable[..., Any])
MemoryPolicy = Literal["include", "exclude"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_DEFAULT_TIMEOUT_S = 30.0
_DESCRIBE_TIMEOUT_S = 5.0
_MAX_SECTION_CHARS = 100
_REFUSED_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{}, which a JSON schema cannot describe; declare each parameter",
    inspect.Parameter.VAR_KEYWORD: "takes **{}, which a JSON schema cannot describe; declare each parameter",
    inspect.Parameter.POSITIONAL_ONLY: "has the positional-only parameter {!r}; models pass arguments by name",
}


class ToolSafety(enum.StrEnum):
    """What a tool is allowed to do."""

    READ_ONLY = "read_only"
    """Read. PostgreSQL refuses all its writes."""
    WRITE = "write"
    """Write to the tenant's database, in one transaction: if the tool fails, all its writes are rolled back."""
    EXTERNAL = "external"
    """Have effects outside the database, which cannot be rolled back."""


@dataclass(frozen=True, eq=False)
class DeclaredTool:
    """A function and its declaration. ``@tool`` makes it, and sets it as the function's attribute ``tool``."""

    function: Callable[..., Any]
    name: str
    description: str
    section: str = ""
    safety: ToolSafety = ToolSafety.READ_ONLY
    timeout_seconds: float = _DEFAULT_TIMEOUT_S
    rate_limit: int | None = None
    """Calls per minute in one tenant; None: no limit."""
    memory_policy: MemoryPolicy = "include"
    requires_approval: bool = False
    describe: Callable[..., Any] | None = None
    """Called with the arguments of a call; returns in words what it does."""
    file: str = field(init=False)
    line: int = field(init=False)

    def __post_init__(self) -> None:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        object.__setattr__(self, "file", getattr(code, "co_filename", "?"))
        object.__setattr__(self, "line", getattr(code, "co_firstlineno", 0))

    @property
    def is_async(self) -> bool:
        """Whether the function is declared with ``async def``."""
        return iscoroutinefunction(self.function)

    @property
    def describer(self) -> DeclaredTool | None:
        """``describe`` as a tool of its own, which only reads, so that it is executed as safely as a tool."""
        if self.describe is None:
            return None
        limit_s = min(self.timeout_seconds, _DESCRIBE_TIMEOUT_S)
        return replace(self, function=self.describe, safety=ToolSafety.READ_ONLY, timeout_seconds=limit_s)

    @property
    def location(self) -> str:
        """The file and line where the function begins."""
        return f"{self.file}:{self.line}"

    @property
    def python_path(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @cached_property
    def parameters(self) -> Parameters:
        """Raises ToolDeclarationInvalid for a type that has no JSON schema."""
        try:
            return Parameters(self.function)
        except Exception as exc:  # evaluating an annotation runs the application's code
            raise self.invalid(f"has a parameter whose type has no JSON schema: {exc}") from exc

    @property
    def parameters_schema(self) -> Mapping[str, Any]:
        return self.parameters.schema

    def invalid(self, reason: str) -> ToolDeclarationInvalid:
        return ToolDeclarationInvalid(self.name, f"{self.location}: tool {self.name!r} {reason}.")


@overload
def tool(function: F, /) -> F: ...


@overload
def tool(
    *,
    name: str | None = ...,
    description: str | None = ...,
    section: str = ...,
    safety: ToolSafety | str = ...,
    timeout_seconds: float = ...,
    rate_limit: int | None = ...,
    memory_policy: MemoryPolicy = ...,
    requires_approval: bool = ...,
    describe: Callable[..., Any] | None = ...,
) -> Callable[[F], F]: ...


def tool(
    function: F | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    section: str = "",
    safety: ToolSafety | str = ToolSafety.READ_ONLY,
    timeout_seconds: float = _DEFAULT_TIMEOUT_S,
    rate_limit: int | None = None,
    memory_policy: MemoryPolicy = "include",
    requires_approval: bool = False,
    describe: Callable[..., Any] | None = None,
) -> F | Callable[[F], F]:
    """Declare a function as a tool that agents can call. Python code can call it as before.

    - ``name``: the name that models use; by default the function's name.
    - ``description``: tells models when to call it; by default the first paragraph of the docstring.
    - ``section``: groups tools in the admin.
    - ``safety``: what it is allowed to do, see ``ToolSafety``.
    - ``timeout_seconds``: the time limit of one call.
    - ``rate_limit``: calls per minute in each tenant; None: no limit.
    - ``memory_policy``: ``"exclude"`` keeps its calls out of an agent's memory.
    - ``requires_approval``: the run waits for a person before each call.
    - ``describe``: tells that person in words what a call does. It is called with the tool's arguments by keyword,
      in the run's tenant, and returns a text such as ``"Send the letter to Ada Berger"``. It may read the database,
      not change it, for up to 5 seconds. If it fails, the tool's name and the arguments are shown.

    Raises ToolDeclarationInvalid, which names the file and line: for a missing description, a parameter without an
    annotation, ``*args`` or ``**kwargs``, or a name that another tool has.
    """

    def declare(function: F) -> F:
        if not (callable(function) and inspect.isfunction(inspect.unwrap(function))):
            raise _not_a_function(function, name)
        wrapper, text = _with_plain_defaults(function), description
        if text is None:
            text = (inspect.getdoc(function) or "").split("\n\n")[0]
        declared = DeclaredTool(
            function=wrapper,
            name=getattr(function, "__name__", "") if name is None else name,
            description=" ".join(text.split()) if isinstance(text, str) else "",
            section=section,
            safety=cast(ToolSafety, safety),
            timeout_seconds=timeout_seconds,
            rate_limit=rate_limit,
            memory_policy=memory_policy,
            requires_approval=requires_approval,
            describe=describe,
        )
        problem = next(_problems(declared, function), None)
        if problem is not None:
            raise declared.invalid(problem)
        object.__setattr__(declared, "safety", ToolSafety(safety))
        registry.register(declared)
        wrapper.tool = declared  # type: ignore[attr-defined]
        return cast(F, wrapper)

    return declare if function is None else declare(function)


def _not_a_function(value: Any, name: str | None) -> ToolDeclarationInvalid:
    inner = getattr(value, "__func__", None) or getattr(value, "func", None) or type(value)
    code = getattr(inner, "__code__", None)
    location = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
    name = name or str(getattr(inner, "__name__", "?"))
    return ToolDeclarationInvalid(name, f"{location}tool {name!r} is {type_of(value)}; decorate a function.")


def _with_plain_defaults(function: F) -> Callable[..., Any]:
    """The function for Python callers: a ``ToolParam()`` default is replaced by the default that it holds."""
    signature = inspect.signature(function)
    infos = {
        name: parameter.default
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.default, ParameterInfo)
    }

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        passed = signature.bind_partial(*args, **kwargs).arguments
        for name, info in infos.items():
            if name not in passed:
                if info.default is REQUIRED:
                    raise TypeError(f"{function.__name__}() missing a required argument: {name!r}")
                kwargs[name] = info.default
        return function(*args, **kwargs)

    return markcoroutinefunction(call) if iscoroutinefunction(function) else call


def _problems(declared: DeclaredTool, function: Callable[..., Any]) -> Iterator[str]:
    """What is wrong with the declaration, as far as it shows without evaluating annotations."""
    if inspect.isasyncgenfunction(function):
        yield "is an async generator; write an async function that returns its result"
    yield from _problems_of_options(declared)
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in _REFUSED_KINDS:
            yield _REFUSED_KINDS[parameter.kind].format(name)
        elif parameter.annotation is inspect.Parameter.empty:
            yield f"has the parameter {name!r} without an annotation; add its type, as in {name}: str"


def _problems_of_options(declared: DeclaredTool) -> Iterator[str]:
    name, section, timeout_seconds = declared.name, declared.section, declared.timeout_seconds
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        yield "has a name that vendors refuse; use up to 64 letters, digits, _ and -, beginning with a letter or _"
    if not declared.description:
        yield "has no description; say in description= (or a docstring) what it does and when to call it"
    if "\x00" in declared.description:
        yield "has a NUL character in its description"
    if not isinstance(section, str) or len(section) > _MAX_SECTION_CHARS or "\x00" in section:
        yield f"has section={str(section)[:40]!r}; use a text of up to {_MAX_SECTION_CHARS} characters"
    if declared.safety not in list(ToolSafety):
        yield f"has safety={declared.safety!r}; use ToolSafety.READ_ONLY, WRITE or EXTERNAL"
    if declared.memory_policy not in get_args(MemoryPolicy):
        yield f"has memory_policy={declared.memory_policy!r}; use 'include' or 'exclude'"
    if not _is_positive(timeout_seconds):
        yield f"has timeout_seconds={timeout_seconds!r}; use a number of seconds above 0, up to one day"
    describe: Any = declared.describe
    if describe is not None and not callable(describe):
        yield f"has describe={describe!r}; use a function that returns a text"
    if declared.rate_limit is not None and not _is_count(declared.rate_limit):
        yield f"has rate_limit={declared.rate_limit!r}; use a whole number of calls per minute, or None"


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= limits.MAX_TIMEOUT_S


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limits.MAX_PER_MINUTE
