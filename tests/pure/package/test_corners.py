import re
import tomllib

from tests import corners

CLASSIFIERS = tomllib.loads((corners.ROOT / "pyproject.toml").read_text())["project"]["classifiers"]


def named_after(prefix: str) -> set[str]:
    """The versions that the package's classifiers name after ``prefix``."""
    return {found[1] for line in CLASSIFIERS if (found := re.fullmatch(rf"{prefix} :: (\d+\.\d+)", line))}


def test_every_supported_python_has_a_corner():
    assert {corner.python for corner in corners.CORNERS.values()} == named_after("Programming Language :: Python")


def test_every_supported_django_has_a_corner():
    pinned = {corner.django.strip("=~").removesuffix(".0") for corner in corners.CORNERS.values() if corner.django}
    assert pinned == named_after("Framework :: Django")


def test_a_corner_installs_its_own_django_and_the_pins_of_its_file():
    pins = corners._constraints(corners.CORNERS["django-6.0"]).splitlines()
    names = [pin.partition("=")[0].rstrip("~").lower() for pin in pins]
    assert names.count("django") == 1
    assert "django~=6.0.0" in pins
    assert {"litellm", "django-tenants", "django-stubs"} <= set(names)
