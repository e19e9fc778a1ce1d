"""Two tenants, north and south, in a real PostgreSQL. In the project without tenants, there is only north.

``tenants`` works inside a transaction that is rolled back, as most tests of applications do. ``live_tenants``
is for what only a committed database shows (rollbacks, threads, other processes): it empties the tables
afterwards.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import override_settings

from tests import schemas
from tests.schemas import SCHEMAS, Tenants, add_domains, all_tenants, schema_context, tenant_context
from tests.workers import Worker, redis_server, stop, worker
from zango_ai.testing import ModelServer

collect_ignore = (
    ["adoption", "background/test_tasks.py", "background/test_django_tasks.py", "providers/test_local_model.py"]
    if schemas.IS_PLAIN
    else []
)
"""About the example project and about many tenants."""


@pytest.fixture
def tenants(db: None) -> Iterator[Tenants]:
    """The two tenants; nothing is active yet."""
    schemas.set_schema_to_public()
    yield all_tenants()
    schemas.set_schema_to_public()


@pytest.fixture
def north(tenants: Tenants) -> Iterator[Any]:
    """North is active."""
    with tenant_context(tenants["north"]):
        yield tenants["north"]


@pytest.fixture
def live_tenants(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The two tenants in a database where what is written is committed."""
    with django_db_blocker.unblock():
        schemas.set_schema_to_public()
        try:
            yield
        finally:
            schemas.set_schema_to_public()
            for schema in SCHEMAS:
                empty(schema)
            connection.close()


@pytest.fixture
def live_north(live_tenants: None) -> Iterator[None]:
    with schema_context("north"):
        yield


def empty(schema: str) -> None:
    """Empty the tables that tests write to in a tenant's schema. The package's keys start at 1 again.

    For a few rows, DELETE takes a tenth of the time of TRUNCATE, which makes new files for each table. Foreign keys
    are checked at the end, so the order does not matter.
    """
    with connection.cursor() as cursor:
        cursor.execute(_EMPTY.format(schema=schema))


_EMPTY = """
DO $$
DECLARE place record;
BEGIN
    FOR place IN SELECT tablename FROM pg_tables
        WHERE schemaname = '{schema}'
            AND tablename ~ '^(zango_ai_|patients_|auth_user|auth_group|django_admin_log|django_session)'
    LOOP
        EXECUTE format('DELETE FROM {schema}.%I', place.tablename);
    END LOOP;
    FOR place IN SELECT sequencename FROM pg_sequences
        WHERE schemaname = '{schema}' AND sequencename ~ '^(zango_ai|patients)_' AND last_value IS NOT NULL
    LOOP
        PERFORM setval(format('{schema}.%I', place.sequencename), 1, false);
    END LOOP;
END $$
"""


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Hashing a password as for production takes half a second, and tests log in often."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def workers(django_db_setup: None, _running_model: ModelServer, redis_url: str) -> Iterator[dict[str, Worker]]:
    """Celery workers that are ready, by the names of their queues: two pools, and an app without tenants."""
    conf = {"ALLOWED_API_BASES": [_running_model.url]}
    kinds = {
        "prefork": (["--pool", "prefork", "-c", "2"], schemas.CELERY_APP),
        "threads": (["--pool", "threads", "-c", "4"], schemas.CELERY_APP),
        "plain": (["--pool", "threads", "-c", "2"], "tests.plain_app"),
    }
    with ExitStack() as running:
        started = {
            queue: running.enter_context(worker(redis_url, queue, *arguments, app=app, zango_ai=conf))
            for queue, (arguments, app) in kinds.items()
        }
        for each in started.values():
            each.wait_until_ready()
        yield started
        stop(*started.values())


@pytest.fixture
def staff(north: Any) -> Client:
    """A superuser of tenant north, logged in to its admin."""
    add_domains(north, "north.localhost", "public.localhost")
    User.objects.create_superuser("root", password="root")
    client = Client(headers={"host": "north.localhost"})
    assert client.login(username="root", password="root")
    return client
