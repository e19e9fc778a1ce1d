"""How Sphinx builds the site. ``python3 dev.py docs`` runs it; nothing is downloaded."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS / "_extensions"))

project = "zango_ai"
release = re.search(r'__version__ = "(.+?)"', (DOCS.parent / "zango_ai" / "__init__.py").read_text())[1]
version = release

extensions = ["myst_parser", "sphinx_design", "sphinx_copybutton", "navigation", "links_outside"]
exclude_patterns = ["_*"]
nitpicky = True
language = "en"
smartquotes = False  # the site shows the text as it is written
highlight_language = "none"

myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 4
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"zango_ai {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#235a78", "color-brand-content": "#1d5f86"},
    "dark_css_variables": {"color-brand-primary": "#8cc0dc", "color-brand-content": "#8cc8ea"},
}
