"""Define an agent, with the prompts that are given as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from ..argument_checks import type_of
from ..configuration_files.file_parts import InvalidFile
from ..models import AgentConfig, Prompt, Provider
from ..output.output_type import OutputType
from ..tools import DeclaredTool
from . import prompts
from .applying import Definition, checked_items, name_of

_PROMPT_TYPES = {"system_prompt": "system", "user_prompt": "user"}
_NO_PROVIDER = (
    "provider: is missing. A new agent needs one: the name of a provider, or the result of define_provider()."
)


def definition(name: str, options: Mapping[str, Any]) -> Definition:
    problems: list[str] = []
    texts = {key: options[key] for key in _PROMPT_TYPES if _is_text(options, key)}
    for key, text in texts.items():
        prompts.check_text(text, key, problems)
    entry = {key: value for key, value in options.items() if key != "change_description"}
    entry |= {key: _prompt_name(name, key) for key in texts}
    entry |= {key: name_of(entry[key], Prompt) for key in _PROMPT_TYPES if key in entry}
    entry |= {key: name_of(entry[key], Provider) for key in ("provider",) if key in entry}
    entry |= {"tools": list(_tools(options["tools"], problems))} if "tools" in options else {}
    entry |= {"fallbacks": list(_fallbacks(options["fallbacks"], problems))} if "fallbacks" in options else {}
    entry |= _json_schema(options, problems)
    note = options.get("change_description", prompts.CHANGE_DESCRIPTION)
    names = {("prompts", _prompt_name(name, key)): key for key in texts}
    document = partial(_document, name, entry, texts, note)
    return Definition(document, tuple(problems), {**names, ("agents", name): ""})


def _document(name: str, entry: Mapping[str, Any], texts: Mapping[str, str], note: str) -> dict[str, Any]:
    if "provider" not in entry and not AgentConfig.objects.filter(name=name).exists():
        raise InvalidFile([_NO_PROVIDER])
    named = {_prompt_name(name, key): (text, _PROMPT_TYPES[key]) for key, text in texts.items()}
    entries = {each: prompts.entry(each, text, kind, note) for each, (text, kind) in named.items()}
    return {"prompts": entries, "agents": {name: entry}}


def _is_text(options: Mapping[str, Any], key: str) -> bool:
    value = options.get(key)
    return value is not None and not isinstance(value, Prompt)


def _prompt_name(name: str, key: str) -> str:
    return f"{name}-{_PROMPT_TYPES[key]}"


def _tools(tools: Any, problems: list[str]) -> Iterator[Any]:
    for position, item in checked_items(tools, "tools", problems):
        declared = getattr(item, "tool", None)
        if isinstance(item, str):
            yield item
        elif isinstance(declared, DeclaredTool):
            yield declared.name
        else:
            named = getattr(item, "__qualname__", type_of(item))
            problems.append(f"tools[{position}]: is {named}. Use a function declared with @tool, or a tool's name.")


def _fallbacks(fallbacks: Any, problems: list[str]) -> Iterator[Any]:
    for _position, item in checked_items(fallbacks, "fallbacks", problems):
        entry = item if isinstance(item, Mapping) else {"provider": item}
        yield {key: name_of(value, Provider) for key, value in entry.items()}


def _json_schema(options: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    schema = options.get("output_json_schema")
    if schema is None:
        return {}
    if not isinstance(schema, Mapping):
        try:
            schema = OutputType(schema).schema
        except TypeError as exc:
            problems.append(f"output_json_schema: {str(exc).removeprefix('output_type ')}")
    return {"output_schema": "json", "output_json_schema": schema} | _chosen_format(options)


def _chosen_format(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"output_schema": options["output_schema"]} if "output_schema" in options else {}
