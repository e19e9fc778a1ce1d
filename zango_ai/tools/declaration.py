"""``@tool``: what a function has to say of itself before an agent may call it."""

from __future__ import annotations

import enum
import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar, cast, get_args, overload

from .. import limits
from ..exceptions import ToolDeclarationInvalid
from . import registry, signature

F = TypeVar("F", bound=Callable[..., Any])
MemoryPolicy = Literal["include", "exclude"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_DEFAULT_TIMEOUT_S = 30.0
_MOST_SECTION_CHARS = 100
_REFUSED_KINDS = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{}, which no schema can describe",
    inspect.Parameter.VAR_KEYWORD: "takes **{}, which no schema can describe",
    inspect.Parameter.POSITIONAL_ONLY: "has the parameter {!r} that is positional only; a model gives names",
}


class ToolSafety(enum.StrEnum):
    """What a tool may do."""

    READ_ONLY = "read_only"
    """Read. PostgreSQL refuses whatever it would write."""
    WRITE = "write"
    """Write to the tenant's database: all of it, or nothing where it fails."""
    EXTERNAL = "external"
    """Act outside of the database, where nothing can be taken back."""


def ToolParam(  # noqa: N802  stands where a value stands, as a field's default does
    description: str = "",
    *,
    default: Any = signature.REQUIRED,
    enum: Iterable[Any] | None = None,
    **constraints: Any,
) -> Any:
    """Describe a parameter to the model: ``item_id: int = ToolParam(description="The item's id")``.

    ``default`` makes it optional. ``enum`` limits the parameter to these values; of a list, each item.
    ``constraints`` are pydantic's: ``ge``, ``gt``, ``le``, ``lt``, ``multiple_of``,
    ``min_length``, ``max_length``, ``pattern``. Raises TypeError for any other.
    """
    return signature.Param(description, default, constraints, None if enum is None else _values(enum))


def _values(enum: Any) -> tuple[Any, ...]:
    if isinstance(enum, (str, bytes)) or not isinstance(enum, Iterable):
        raise TypeError(f"ToolParam(enum=...) is a {type(enum).__name__}; pass a list of values.")
    values = tuple(enum)
    if not values:
        raise TypeError("ToolParam(enum=...) is empty; pass at least one value.")
    return values


@dataclass(frozen=True, eq=False)
class DeclaredTool:
    """A function with everything that is said of it. ``@tool`` makes it; it stands at the function's ``.tool``."""

    function: Callable[..., Any]
    name: str
    description: str
    section: str = ""
    safety: ToolSafety = ToolSafety.READ_ONLY
    timeout_seconds: float = _DEFAULT_TIMEOUT_S
    rate_limit: int | None = None
    """Calls a minute in one tenant; None: no limit."""
    memory_policy: MemoryPolicy = "include"
    requires_approval: bool = False
    file: str = field(init=False)
    line: int = field(init=False)

    def __post_init__(self) -> None:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        object.__setattr__(self, "file", getattr(code, "co_filename", "?"))
        object.__setattr__(self, "line", getattr(code, "co_firstlineno", 0))

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}"

    @property
    def python_path(self) -> str:
        return f"{self.function.__module__}.{self.function.__qualname__}"

    @cached_property
    def arguments(self) -> signature.Arguments:
        """What it takes. Raises ToolDeclarationInvalid for a type of which no JSON schema can be made."""
        try:
            return signature.Arguments(self.function)
        except Exception as exc:  # whatever an annotation does when it is looked at
            raise self.invalid(f"has parameters of which no JSON schema can be made: {exc}") from exc

    @property
    def parameters_schema(self) -> Mapping[str, Any]:
        return self.arguments.schema

    def invalid(self, reason: str) -> ToolDeclarationInvalid:
        return ToolDeclarationInvalid(self.name, f"{self.where}: tool {self.name!r} {reason}.")


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
) -> F | Callable[[F], F]:
    """Let agents call a function, which stays what it was for Python.

    ``name`` is what models call it by; None: the function's own. ``description`` tells them when to; None: the
    first paragraph of its docstring. ``safety``: what it may do, see ToolSafety. ``timeout_seconds`` bounds a call
    by the wall clock. ``rate_limit`` is how many calls a minute each tenant has; None: no limit.
    ``memory_policy="exclude"`` keeps its calls out of the conversations that agents remember. With
    ``requires_approval`` a run waits for a person before it calls the function.

    Raises ToolDeclarationInvalid, which names file and line: for a missing description, a parameter without an
    annotation, ``*args`` and ``**kwargs``, a name that is taken.
    """

    def declare(function: F) -> F:
        if not (callable(function) and inspect.isfunction(inspect.unwrap(function))):
            raise _no_function(function, name)
        whole, text = _plain(function), description
        if text is None:
            text = (inspect.getdoc(function) or "").split("\n\n")[0]
        made = DeclaredTool(
            function=whole,
            name=getattr(function, "__name__", "") if name is None else name,
            description=" ".join(text.split()) if isinstance(text, str) else "",
            section=section,
            safety=cast(ToolSafety, safety),
            timeout_seconds=timeout_seconds,
            rate_limit=rate_limit,
            memory_policy=memory_policy,
            requires_approval=requires_approval,
        )
        _check(made, function)
        object.__setattr__(made, "safety", ToolSafety(safety))
        registry.add(made)
        whole.tool = made  # type: ignore[attr-defined]
        return cast(F, whole)

    return declare if function is None else declare(function)


def _no_function(given: Any, name: str | None) -> ToolDeclarationInvalid:
    inside = getattr(given, "__func__", None) or getattr(given, "func", None) or type(given)
    code = getattr(inside, "__code__", None)
    where = f"{code.co_filename}:{code.co_firstlineno}: " if code else ""
    name = name or str(getattr(inside, "__name__", "?"))
    return ToolDeclarationInvalid(name, f"{where}tool {name!r} is a {type(given).__name__}; decorate a function.")


def _plain(function: F) -> Callable[..., Any]:
    """The function as Python calls it: with the defaults that its ToolParams stand for."""
    signed = inspect.signature(function)
    described = {
        name: parameter.default
        for name, parameter in signed.parameters.items()
        if isinstance(parameter.default, signature.Param)
    }

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = signed.bind_partial(*args, **kwargs).arguments
        for name, param in described.items():
            if name not in given:
                if param.default is signature.REQUIRED:
                    raise TypeError(f"{function.__name__}() missing a required argument: {name!r}")
                kwargs[name] = param.default
        return function(*args, **kwargs)

    return call


def _check(made: DeclaredTool, function: Callable[..., Any]) -> None:
    """Raises ToolDeclarationInvalid for what can be told without looking at a type."""
    for reason in _faults(made, function):
        raise made.invalid(reason)


def _faults(made: DeclaredTool, function: Callable[..., Any]) -> Any:
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        yield "is async; write a plain function, and call async code in it by asgiref's async_to_sync"
    if not isinstance(made.name, str) or not _NAME.fullmatch(made.name):
        yield "has a name that vendors refuse; use up to 64 letters, digits, _ and -, beginning with a letter or _"
    if not made.description:
        yield "has no description; say in description= (or a docstring) what it does and when to call it"
    if "\x00" in made.description:
        yield "has a NUL character in its description"
    if not isinstance(made.section, str) or len(made.section) > _MOST_SECTION_CHARS or "\x00" in made.section:
        yield f"has section={str(made.section)[:40]!r}; make it a text of up to {_MOST_SECTION_CHARS} characters"
    if made.safety not in list(ToolSafety):
        yield f"has safety={made.safety!r}; use ToolSafety.READ_ONLY, WRITE or EXTERNAL"
    if made.memory_policy not in get_args(MemoryPolicy):
        yield f"has memory_policy={made.memory_policy!r}; use 'include' or 'exclude'"
    if not _is_positive(made.timeout_seconds):
        yield f"has timeout_seconds={made.timeout_seconds!r}; make it a number above 0, a day at most"
    if made.rate_limit is not None and not _is_count(made.rate_limit):
        yield f"has rate_limit={made.rate_limit!r}; make it a whole number of calls a minute, or None"
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in _REFUSED_KINDS:
            yield _REFUSED_KINDS[parameter.kind].format(name)
        elif parameter.annotation is inspect.Parameter.empty:
            yield f"has the parameter {name!r} without an annotation; write {name}: str, or what it is"


def _is_positive(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= limits.MAX_TIMEOUT_S


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limits.MAX_PER_MINUTE
