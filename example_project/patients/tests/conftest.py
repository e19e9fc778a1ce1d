"""Fixtures of the example's tests: one clinic with the data of the demo, and a member of its staff.

No test calls a model provider: the fixtures ``scripted_agent`` and ``cassette`` of zango_ai answer instead.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django_tenants.utils import tenant_context
from tenants.models import Clinic, Domain

from patients import setup
from patients.answering import VENDORS, Answering
from patients.models import Patient

NOBODY = Answering(
    "Tests script the answers.",
    {name: {**vendor, "credentials": {"api_key": "sk-test"}} for name, vendor in VENDORS.items()},
)


@pytest.fixture(scope="session")
def clinic_row(django_db_setup: None, django_db_blocker: Any) -> Clinic:
    """Create the tenant in the test database, once: its migrations take a few seconds."""
    with django_db_blocker.unblock():
        clinic: Clinic = Clinic.objects.get_or_create(schema_name="north", defaults={"name": "North Clinic"})[0]
    return clinic


@pytest.fixture
def north(db: None, clinic_row: Clinic) -> Iterator[Clinic]:
    """North is active, with the prompts, tools and agents of the demo. What the test writes is rolled back."""
    Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": clinic_row})
    with tenant_context(clinic_row):
        call_command("zango_ai_sync_tools", schema="north", verbosity=0)
        setup.fill_site(clinic_row, NOBODY)
        yield clinic_row


@pytest.fixture
def ada(north: Clinic) -> Patient:
    return Patient.objects.get(name="Ada Berger")


@pytest.fixture
def nurse(north: Clinic) -> Client:
    """A browser in which a member of the staff is logged in."""
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.create_user("nurse"))
    return client
