"""Read and replace private attributes of other packages. A release that lacks one is reported, not ignored."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


class UnknownRelease(RuntimeError):
    """An installed package lacks an attribute that zango_ai replaces for safety."""


def replace(package: str, owner: Any, name: str, value: Any) -> None:
    """Set an existing attribute. Raises UnknownRelease if it does not exist: setting it would change nothing."""
    require(package, owner, name)
    setattr(owner, name, value)


def require(package: str, owner: Any, name: str) -> Any:
    """The attribute's value. Raises UnknownRelease if it does not exist."""
    try:
        return getattr(owner, name)
    except AttributeError:
        raise unknown(package, f"has no {getattr(owner, '__name__', type(owner).__name__)}.{name}") from None


def unknown(package: str, fault: str) -> UnknownRelease:
    return UnknownRelease(
        f"{package} {version(package)} {fault}, which zango_ai needs to guard calls to providers. Install a "
        "release that zango_ai was tested with: constraints.txt names it."
    )
