"""The documentation matches the code: tables, links, paths, imports and commands."""

import ast
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from zango_ai.providers.kinds import KINDS

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")


def rows(page):
    for line in (DOCS / page).read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_kind_is_described_with_its_credentials():
    described = {names(row[0])[0]: (names(row[1]), names(row[2])) for row in rows("how-to/connect-a-provider.md")}
    for kind in KINDS.values():
        needed = {slot.name for slot in kind.slots if slot.is_required}
        others = {slot.name for slot in kind.slots} - needed
        assert {*described[kind.name][0]} == needed, kind.name
        assert {*described[kind.name][1]} == others, kind.name


def test_every_finding_of_the_doctor_is_described():
    described = {name for row in rows("how-to/find-out-what-is-wrong.md") for name in names(row[0])}
    made = re.compile(r"""\b(?:error|warning|make)\(\s*"([a-z_.]+)\"""")
    sources = (ROOT / "zango_ai" / "doctor").glob("*.py")
    ours = {f"doctor.{name}" for path in sources for name in made.findall(path.read_text())}
    assert len(ours) > 20
    assert {name for name in described if name.startswith("doctor.")} == ours


def test_what_each_kind_takes_is_described():
    described = {names(row[0])[0]: row[1:4] for row in rows("how-to/send-files.md") if names(row[0])[0] in KINDS}
    yes = {True: "yes", False: "no"}
    for kind in KINDS.values():
        documents = {0: "none", 1: "PDF"}.get(len(kind.document_types), "PDF, Word, Excel")
        assert described[kind.name] == [documents, yes[kind.fetches_images], yes[kind.fetches_documents]]


def name_of(page):
    return str(page.relative_to(ROOT))


def without_code(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(page, language):
    """The blocks of a page, also those inside lists."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors that GitHub makes of the page's headings."""
    headings = re.findall(r"^#+ (.*)$", without_code(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_has_what_a_merge_left(page):
    assert not re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_between_pages_resolves(page):
    for link in LINK.findall(without_code(page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def linked_pages(page):
    links = (link.partition("#")[0] for link in LINK.findall(without_code(page.read_text())))
    return {page.parent.joinpath(link).resolve() for link in links if link.endswith(".md") and "://" not in link}


def test_every_page_can_be_reached_from_the_readme():
    reached, new = set(), {ROOT / "README.md"}
    while new:
        reached |= new
        new = set().union(*map(linked_pages, new)) - reached
    only_on_the_site = {DOCS / "index.md", *(DOCS / "project").iterdir()}
    assert set(PAGES) - only_on_the_site <= reached


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 100


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_that_a_page_names_exists(page):
    folders = (ROOT, ROOT / "zango_ai", ROOT / "example_project")
    for path in re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|toml|txt))`", page.read_text()):
        is_readers_own = path.startswith("yourproject/") or path == "tests/test_agents.py"
        assert is_readers_own or any((folder / path).exists() for folder in folders), path


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/explanation/architecture.md"])
def test_every_module_that_a_map_of_the_code_names_exists(name):
    text = (ROOT / name).read_text()
    paths = set(re.findall(r"`([\w./-]+/[\w./-]*|[\w-]+\.(?:py|md|toml|txt))`", text))
    assert len(paths) > 10
    folders = (ROOT, ROOT / "zango_ai")
    for path in paths:
        assert any((folder / path).exists() for folder in folders), path


def test_the_layout_lists_every_module_and_folder_of_the_package():
    text = (DOCS / "explanation" / "architecture.md").read_text()
    layout = re.search(r"^zango_ai/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)[1]
    listed = set(re.findall(r"^  (\S+)", layout, re.MULTILINE))
    entries = {path.name + "/" * path.is_dir() for path in (ROOT / "zango_ai").iterdir()}
    assert listed == entries - {"__pycache__/", "py.typed"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_import_in_an_example_resolves(page):
    for block in blocks(page, "python"):
        try:
            tree = ast.parse(block)
        except SyntaxError:
            tree = ast.parse("{" + block + "}")  # entries of a dict
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zango_ai"):
                module = import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module}.{alias.name}"


OF_ANOTHER_APP = {"db_worker"}  # django_tasks_db; tests/workers.py runs it


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_in_an_example_is_understood(page):
    lines = [line.strip() for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(python manage\.py zango_ai[^`]*)`", page.read_text())
    for line in lines:
        words = shlex.split(re.split(" [<>] ", line)[0], comments=True)
        if words[1:2] == ["manage.py"] and words[2] not in OF_ANOTHER_APP:
            command = load_command(words[2])
            command.create_parser("manage.py", words[2]).parse_args(words[3:])


def load_command(name):
    package = "zango_ai" if name.startswith("zango_ai_") else get_commands()[name]
    return load_command_class(package, name) if isinstance(package, str) else package
