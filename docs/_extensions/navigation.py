"""The navigation of the site: the pages that a part's ``index.md`` links to, in that order.

The index pages are plain lists of links, which also read well on a code host. Sphinx warns about a page that none
of them links to.
"""

import re

from sphinx.application import Sphinx

_PARTS = ("tutorial", "how-to", "reference", "explanation", "project")
_LINK = re.compile(r"\]\(([\w-]+)\.md\)")


def add_toctree(app: Sphinx, docname: str, source: list[str]) -> None:
    part, _, page = docname.partition("/")
    if part in _PARTS and page == "index":
        pages = dict.fromkeys(_LINK.findall(source[0]))
        source[0] += "\n".join(["", "", "```{toctree}", ":hidden:", "", *pages, "```", ""])


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", add_toctree)
    return {"parallel_read_safe": True}
