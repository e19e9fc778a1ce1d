"""A user of north in a browser, for pages that the documentation shows whole."""

from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_tenants.utils import schema_context
from playwright.sync_api import Browser, BrowserContext
from tenants.models import Clinic, Domain

from tests.db.panel.conftest import browser  # noqa: F401
from tests.panel_browser import serve


@pytest.fixture
def nurse(browser: Browser, live_north: None) -> Iterator[BrowserContext]:  # noqa: F811
    """A browser in which a nurse is logged in. Paths lead to north, served by this process."""
    with schema_context("public"):
        north = Clinic.objects.get(schema_name="north")
        Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": north})
    client = Client()
    client.force_login(User.objects.create(username="nurse"))
    with serve() as address:
        context = browser.new_context(base_url=address, bypass_csp=True)
        context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": address}])
        context.on("weberror", lambda error: pytest.fail(f"script error: {error.error}"))
        yield context
        context.close()
