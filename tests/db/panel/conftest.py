"""A served tenant and a browser, for tests of the admin pages as staff see them."""

import os
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import Browser
from tenants.models import Clinic, Domain

from tests import panel_browser


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
    clinic = Clinic.objects.get(schema_name="north")
    Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": clinic})
    with panel_browser.serve() as address:
        yield address


@pytest.fixture
def client_of(north: Clinic) -> Callable[..., Client]:
    """Logs in a new member of staff with these permissions, such as ``"run_agent"``."""
    Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": north})

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user(f"user-{User.objects.count()}", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client = Client(headers={"host": "north.localhost"})
        client.force_login(user)
        return client

    return log_in
