"""Docstrings and tables as Markdown."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

from zango_ai import exceptions

ERRORS = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, exceptions.ZangoAIError)
}
_ERROR = re.compile(rf"(?<![\w`])({'|'.join(sorted(ERRORS))})(?![\w`])")
_CODE = re.compile(r"(`[^`]+`)")


def prose(docstring: str | None) -> str:
    """A docstring in Markdown: paragraphs on one line each, lists, and links for the exceptions that it names."""
    paragraphs = inspect.cleandoc(docstring or "").replace("``", "`").split("\n\n")
    return "\n\n".join(_linked(_joined(paragraph)) for paragraph in paragraphs)


def line(docstring: str | None) -> str:
    """A docstring as the cell of a table."""
    return " ".join(prose(docstring).split())


def _joined(paragraph: str) -> str:
    """Lines of a paragraph in one line. A line that begins a list item stays a line of its own."""
    return re.sub(r"\s*\n\s*(?!\s*- )", " ", paragraph)


def _linked(text: str) -> str:
    parts = _CODE.split(text)
    parts[::2] = [_ERROR.sub(lambda name: error_link(name[1]), part) for part in parts[::2]]
    return "".join(parts)


def error_link(name: str) -> str:
    return f"[`{name}`](errors.md#{name.lower()})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    shown = [f"| {' | '.join(_escaped(cell) for cell in cells)} |" for cells in [header, *rows]]
    return "\n".join([shown[0], "|" + "---|" * len(header), *shown[1:]]).replace("  |", " |")


def _escaped(cell: str) -> str:
    return re.sub(r"(?<!\\)\|", r"\|", cell)


def code(value: object) -> str:
    return f"`{value}`"


@cache
def attribute_docs(owner: type | ModuleType) -> dict[str, str]:
    """The docstrings below the assignments of a class or module."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    body = tree.body if isinstance(owner, ModuleType) else tree.body[0].body  # type: ignore[attr-defined]
    return dict(_documented(body))


@cache
def annotations(owner: type) -> dict[str, str]:
    """The annotations of a class as they are written in its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0].body  # type: ignore[attr-defined]
    return {each.target.id: ast.unparse(each.annotation) for each in body if isinstance(each, ast.AnnAssign)}


def _documented(body: list[Any]) -> Iterator[tuple[str, str]]:
    for node, following in pairwise(body):
        is_doc = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
        if is_doc and isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            yield target.id, str(following.value.value)
