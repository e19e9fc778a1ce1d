"""A served tenant and a browser, for tests of the admin pages as staff see them."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Browser

from tests import panel_browser
from tests.schemas import add_domains, all_tenants


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the tests of one module: other tests need this thread without Playwright's event loop."""
    if panel_browser.CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must install Chromium")
        pytest.skip("no Chromium on this machine")
    with panel_browser.chromium() as running:
        yield running


@pytest.fixture
def site(browser: Browser, live_north: None) -> Iterator[str]:
    """The address of tenant north, served by this process. What a test saves in it is committed."""
    add_domains(all_tenants()["north"], "north.localhost")
    with panel_browser.serve() as address:
        yield address


@pytest.fixture
def client_of(north: Any) -> Callable[..., Client]:
    """Logs in a new member of staff with these permissions, such as ``"run_agent"``."""
    add_domains(north, "north.localhost")

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(headers={"host": "north.localhost"})
        client.force_login(user)
        return client

    return log_in
