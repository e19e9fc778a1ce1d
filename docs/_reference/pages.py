"""The generated blocks, and the pages that have them.

A block stands between ``<!-- generated: name -->`` and ``<!-- end of name -->``. The rest is written by hand.
"""

import re
from collections.abc import Callable
from pathlib import Path

from django.utils import translation

from . import commands, http, models, python_api, settings, signals

FOLDER = Path(__file__).resolve().parents[1] / "reference"
BLOCKS: dict[str, Callable[[], str]] = {
    "commands": commands.block,
    "endpoints": http.endpoints,
    "schemas": http.schemas,
    "configuration models": models.configuration,
    "log models": models.log,
    "ledger models": models.ledger,
    "limits": models.limits,
    "python functions": python_api.functions,
    "run arguments": python_api.run_arguments,
    "python classes": python_api.classes,
    "python literals": python_api.literals,
    "python tasks": python_api.tasks,
    "python testing": python_api.testing,
    "settings": settings.block,
    "signals": signals.block,
    "signal arguments": signals.common_arguments,
}
_BLOCK = re.compile(r"(<!-- generated: ([\w ]+) -->\n).*?(\n<!-- end of \2 -->)", re.DOTALL)


def outdated() -> dict[Path, str]:
    """The new text of each page that differs from the code."""
    with translation.override(None):
        pages = {page: page.read_text() for page in FOLDER.glob("*.md")}
        renewed = {page: _BLOCK.sub(_renewed, text) for page, text in pages.items()}
    return {page: text for page, text in renewed.items() if text != pages[page]}


def _renewed(match: re.Match[str]) -> str:
    return f"{match[1]}\n{BLOCKS[match[2]]().strip()}\n{match[3]}"
