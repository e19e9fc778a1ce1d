"""Links to SECURITY.md and other files beside ``docs``: on the site, they lead to the pages that include these."""

import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r"\]\((?:\.\./)*(SECURITY|CHANGELOG|CONTRIBUTING)\.md(#[\w-]+)?\)")


def in_a_page(app: Sphinx, docname: str, source: list[str]) -> None:
    source[0] = _LINK.sub(lambda link: f"](../project/{link[1].lower()}.md{link[2] or ''})", source[0])


def in_an_included_file(app: Sphinx, path: Path, docname: str, source: list[str]) -> None:
    """The link as it would be in a file beside ``docs``: the option ``relative-docs`` finds it from there."""
    source[0] = _LINK.sub(lambda link: f"](docs/project/{link[1].lower()}.md{link[2] or ''})", source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", in_a_page)
    app.connect("include-read", in_an_included_file)
    return {"parallel_read_safe": True}
