"""Import the switches of tools. Code declares the rest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..argument_checks import did_you_mean
from ..configuration import tool_rows
from ..models import Tool
from ..tools import registry
from . import rows
from .export import columns
from .file_parts import Part

_KEYS = {column.name for column in columns(Tool)}


def saved_tools(named_in_file: Iterable[object]) -> dict[str, Tool]:
    """The tenant's tools by name. Adds those that code declares if the file names one that has no row yet."""
    saved = {tool.name: tool for tool in Tool.objects.all()}
    declared = {tool.name for tool in registry.all_tools()}
    if any(name in declared and name not in saved for name in named_in_file):
        tool_rows.sync()
        saved = {tool.name: tool for tool in Tool.objects.all()}
    return saved


def import_tools(named: Mapping[str, Part], saved: Mapping[str, Tool]) -> None:
    for name, part in named.items():
        tool = saved.get(name)
        if tool is None:
            part.report(f"No code declares this tool.{did_you_mean(name, saved)}")
        elif rows.assign(tool, part.entries(_KEYS)):
            tool.save(update_fields=[*_KEYS, "updated_at"])
