"""Refuse calls to providers in tests: they need a key, cost money, and answer differently each time.

In a test run, every request that would leave this machine raises ``RealProviderCall``. Addresses of this machine
(loopback) are allowed. A test run is one of Django's (``manage.py test``, pytest-django), or one of pytest with the
plugin ``zango_ai.testing.plugin``. This module imports no Django, because the plugin loads it in every project.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_is_allowed: bool | None = None
"""None: allowed outside of Django's test runs."""


class RealProviderCall(AssertionError):
    """A test would have called a provider outside of this machine. Nothing was sent.

    It is no ``ZangoAIError``, so code that handles the errors of providers does not hide it.
    """


@contextmanager
def allowed(is_allowed: bool = True) -> Iterator[None]:
    """Inside the block, real calls are allowed, or refused."""
    before = set_allowed(is_allowed)
    try:
        yield
    finally:
        set_allowed(before)


def set_allowed(is_allowed: bool | None) -> bool | None:
    """Allow or refuse real calls in this process. Returns what held before."""
    global _is_allowed
    before, _is_allowed = _is_allowed, is_allowed
    return before


def require_allowed(origin: str, host: str) -> None:
    """Raise RealProviderCall if this is a test and the host is another machine."""
    if _is_allowed or (_is_allowed is None and not _is_django_testing()) or _is_loopback(host):
        return
    raise RealProviderCall(
        f"This test would call a model at {origin}. Nothing was sent. Script the answers with scripted_agent(), "
        "replay a recorded run with the cassette fixture, or allow real calls: "
        "@pytest.mark.real_provider_calls, or zango_ai.testing.real_provider_calls() in a with statement."
    )


def _is_django_testing() -> bool:
    """Whether ``setup_test_environment()`` of Django is in force."""
    state = getattr(sys.modules.get("django.test.utils"), "_TestState", None)
    return hasattr(state, "saved_data")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
