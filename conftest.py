"""One test database for all tests of the repository: its own, and those of the example."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

import pytest

# An editable install that is older than the plugin does not list it.
pytest_plugins = [] if entry_points(group="pytest11", name="zango_ai") else ["zango_ai.testing.plugin"]


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_modify_db_settings: None, django_db_blocker: Any
) -> Iterator[None]:
    """The test database with the tenants in it, also where no test asks for pytest-django's ``db``."""
    from django.test.utils import setup_databases, teardown_databases

    from tests import schemas

    with django_db_blocker.unblock(), schemas.created():
        made = setup_databases(verbosity=0, interactive=False, aliases={"default"})
    yield
    with django_db_blocker.unblock():
        teardown_databases(made, verbosity=0)
