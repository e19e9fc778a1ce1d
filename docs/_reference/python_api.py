"""The Python API, from signatures and docstrings."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, get_args

import zango_ai
from zango_ai import testing as test_kit
from zango_ai import types
from zango_ai.models import Prompt, PromptVersion, Provider
from zango_ai.runs.arguments import RunArguments, RunRequest
from zango_ai.tasks import BaseTask
from zango_ai.tools import declaration

from .markdown import annotations, attribute_docs, code, line, prose, table

_WIDTH = 88
_FIRST = ("get_agent", "aget_agent", "get_provider", "get_prompt", "get_run", "tool", "ToolParam")
_FIRST_CLASSES = ("Agent", "EnqueuedRun", "LLMResponse")
_INTERNAL = {
    "Agent.open_stream",
    "Agent.with_overrides",
    "LLMFile.encoded",
    "LLMFile.load",
    "LLMMessage.texts",
    "Cassette.call_for",
    "Cassette.new_call_id",
    "Cassette.problem",
    "Cassette.record",
    "Cassette.save",
    "Cassette.take",
    "ModelServer.take",
    "ModelServer.think",
    "Reply.of",
    "ScriptedAgent.kind",
    "ScriptedAgent.note_run",
    "ScriptedAgent.problem",
    "ScriptedAgent.steps",
    "ScriptedAgent.verify",
    "ScriptedModelServer.problem",
    "ScriptedModelServer.reset",
    "ScriptedModelServer.script",
    "ScriptedModelServer.take",
}
"""Members that are public within the package only."""
_LITERALS = ("Trigger", "Role", "StopReason", "ChunkType", "MemoryPolicy")
_RUN_ARGUMENTS = set(RunArguments.__annotations__)
_OF_ROWS = {
    Provider: ("complete", "acomplete", "stream", "astream"),
    Prompt: ("render", "content", "version_number", "add_version"),
    PromptVersion: ("activate",),
}


def functions() -> str:
    names = [*_FIRST, *(name for name in zango_ai.__all__ if name not in _FIRST)]
    found = ((name, getattr(zango_ai, name)) for name in names)
    return "\n\n".join(_function(name, value) for name, value in found if not isinstance(value, type))


def run_arguments() -> str:
    """The arguments of ``run()``, with their types and defaults."""
    docs, kinds = attribute_docs(RunArguments), annotations(RunArguments)
    defaults = {field.name: field.default for field in fields(RunRequest)}
    rows = [(code(name), code(kinds[name]), code(_value(defaults[name])), line(docs.get(name))) for name in kinds]
    return table(["argument", "type", "default", "meaning"], rows)


def literals() -> str:
    """The types that are a choice of texts."""
    rows = [(name, getattr(types, name, None) or getattr(declaration, name)) for name in _LITERALS]
    return table(["type", "values"], [(code(name), _values(literal)) for name, literal in rows])


def _values(literal: Any) -> str:
    return ", ".join(code(f'"{value}"') for value in get_args(literal))


def classes() -> str:
    names = [*_FIRST_CLASSES, *(name for name in zango_ai.__all__ if name not in _FIRST_CLASSES)]
    found = [value for name in names if isinstance(value := getattr(zango_ai, name), type)]
    return "\n\n".join([*map(_class, found), *(_class(owner, _OF_ROWS[owner]) for owner in _OF_ROWS)])


def tasks() -> str:
    return _class(BaseTask, ())


def testing() -> str:
    found = ((name, getattr(test_kit, name)) for name in test_kit.__all__)
    return "\n\n".join(_of_either_kind(name, value) for name, value in found if callable(value))


def _of_either_kind(name: str, value: Any) -> str:
    if not isinstance(value, type):
        return _function(name, value)
    return _class(value, _with_inherited(value) if value is test_kit.ScriptedAgent else None)


def _with_inherited(owner: type) -> tuple[str, ...]:
    """The names of the public members of a class and of its bases."""
    names = [name for base in owner.__mro__[:-1] for name in vars(base) if not name.startswith("_")]
    return tuple(dict.fromkeys(names))


def _function(name: str, function: Callable[..., Any]) -> str:
    parts = [f"### {name}", _code_block(_signature(name, function)), prose(function.__doc__), _options(function)]
    return "\n\n".join(filter(None, parts))


def _options(function: Callable[..., Any]) -> str:
    """A table of the keyword arguments that a function declares as ``Unpack[...]``."""
    declared = (str(each.annotation) for each in inspect.signature(function).parameters.values())
    names = [match[1] for annotation in declared if (match := re.fullmatch(r"Unpack\[(\w+)\]", annotation))]
    owners = [inspect.unwrap(function).__globals__[name] for name in names]
    return "\n\n".join(_typed_attributes(owner, "option") for owner in owners)


def _typed_attributes(owner: type, header: str, more: Iterable[tuple[str, str, str]] = ()) -> str:
    docs, kinds = attribute_docs(owner), annotations(owner)
    rows = [(code(each), code(kinds[each]), line(docs.get(each))) for each in kinds if not each.startswith("_")]
    return table([header, "type", "meaning"], [*rows, *more])


def _class(owner: type, members: tuple[str, ...] | None = None) -> str:
    """A class: its docstring, its attributes, and its methods. ``members`` limits which of them."""
    names = [name for name in vars(owner) if not name.startswith("_")] if members is None else members
    shown = [name for name in names if f"{owner.__name__}.{name}" not in _INTERNAL]
    parts = [f"### {owner.__name__}", _constructor(owner), _own_doc(owner), _attributes(owner, shown)]
    return "\n\n".join(filter(None, [*parts, *(_method(owner, name) for name in shown)]))


def _own_doc(owner: type) -> str:
    """The docstring, unless a dataclass has made it of its signature."""
    made = (owner.__doc__ or "").startswith(f"{owner.__name__}(")
    return "" if made else prose(owner.__doc__)


def _constructor(owner: type) -> str:
    """How an application creates or calls an instance; nothing for classes whose instances it only receives."""
    if "__call__" in vars(owner):
        return _code_block(_signature(owner.__name__, vars(owner)["__call__"]))
    is_created = is_dataclass(owner) and owner.__name__ in {"LLMMessage", "Reply"}
    return _code_block(_signature(owner.__name__, owner)) if is_created else ""


def _attributes(owner: type, members: Iterable[str]) -> str:
    """A table of the fields of a dataclass, the documented attributes and the properties."""
    found = [(name, inspect.getattr_static(owner, name)) for name in members]
    properties = [(name, value.__doc__) for name, value in found if isinstance(value, property)]
    if is_dataclass(owner):
        more = [(code(name), "", line(doc)) for name, doc in properties if doc]
        return _typed_attributes(owner, "attribute", more)
    documented = {} if owner in _OF_ROWS else attribute_docs(owner)
    described = [*documented.items(), *properties]
    shown = [(code(name), line(doc)) for name, doc in described if doc and not name.startswith("_")]
    return table(["attribute", "meaning"], shown) if shown else ""


def _method(owner: type, name: str) -> str:
    member = inspect.getattr_static(owner, name)
    function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
    if not inspect.isfunction(function) or not function.__doc__:
        return ""
    parts = [f"#### {owner.__name__}.{name}", _code_block(_signature(name, function)), prose(function.__doc__)]
    return "\n\n".join(parts)


def _code_block(text: str) -> str:
    return f"```py\n{text}\n```"


def _signature(name: str, function: Callable[..., Any]) -> str:
    signature = inspect.signature(function)
    parts = list(_parameters(list(signature.parameters.values())))
    result = _annotation(signature.return_annotation)
    arrow = f" -> {result}" if result and not isinstance(function, type) else ""
    name = f"async {name}" if inspect.iscoroutinefunction(function) else name
    short = f"{name}({', '.join(parts)}){arrow}"
    if len(short) <= _WIDTH:
        return short
    return f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def _parameters(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """The parameters without ``self``. Those that all runs take are one: ``**arguments``."""
    takes_run_arguments = {each.name for each in parameters} >= _RUN_ARGUMENTS
    shown = [each for each in parameters if each.name not in {"self", "cls"}]
    if takes_run_arguments:
        shown = [each for each in shown if each.name not in _RUN_ARGUMENTS]
    has_star = False
    for each in shown:
        if each.kind is each.VAR_POSITIONAL:
            has_star = True
        if each.kind is each.KEYWORD_ONLY and not has_star:
            has_star = True
            yield "*"
        yield _parameter(each)
    if takes_run_arguments:
        yield "**arguments"


def _parameter(each: inspect.Parameter) -> str:
    stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
    annotation = _annotation(each.annotation)
    shown = f"{stars}{each.name}: {annotation}" if annotation else f"{stars}{each.name}"
    if each.default is each.empty:
        return shown
    return f"{shown} = {_value(each.default)}" if annotation else f"{shown}={_value(each.default)}"


def _annotation(annotation: Any) -> str:
    if annotation is inspect.Signature.empty:
        return ""
    shown = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return shown.replace("'", '"')


def _value(value: object) -> str:
    if hasattr(value, "name") and hasattr(value, "value"):  # of an enum
        return str(value) if "." in str(value) else f"{type(value).__name__}.{value.name}"
    text = repr(value)
    return "..." if text.startswith(("<", "Overrides(")) else text.replace("'", '"')
