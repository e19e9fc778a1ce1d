"""Write the generated parts of the pages. With ``--check``: only say which are out of date."""

import os
import sys
from pathlib import Path

import django

EXAMPLE = Path(__file__).resolve().parents[2] / "example_project"


def main() -> int:
    sys.path.insert(0, str(EXAMPLE))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings")
    django.setup()
    from . import pages  # late: it imports models

    changed = pages.outdated()
    if "--check" in sys.argv[1:]:
        for page in changed:
            print(f"{page.name} is out of date. Run: python -m docs._reference")
        return 1 if changed else 0
    for page, text in changed.items():
        page.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
