"""The panel on other admin sites and in other themes."""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
from django.contrib.auth.models import User
from django.db import connection
from tenants.models import Clinic, Domain

from tests import panel_data
from zango_ai.models import AgentConfig

FETCH = """
import sys
import django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django_tenants.utils import schema_context
with schema_context("north"):
    client = Client(headers={"host": "north.localhost"})
    client.force_login(User.objects.get(username="root"))
for path in sys.argv[1:]:
    page = client.get("/admin/zango_ai/" + path)
    text = page.content.decode()
    print(path, page.status_code, "za-tabs" in text, "unfold" in text)
"""


@pytest.mark.skipif(find_spec("unfold") is None, reason="django-unfold is not installed")
def test_the_pages_work_in_unfolds_theme(live_north):
    panel_data.fill(runs=5)
    User.objects.filter(username="root").delete()
    User.objects.create_superuser("root")
    Domain.objects.get_or_create(
        domain="north.localhost", defaults={"tenant": Clinic.objects.get(schema_name="north")}
    )
    url, _, query = os.environ["DATABASE_URL"].partition("?")
    database = f"{url.rpartition('/')[0]}/{connection.settings_dict['NAME']}" + (f"?{query}" if query else "")
    environment = {**os.environ, "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "tests.unfold_settings"}
    paths = [
        "",
        "agentconfig/",
        f"agentconfig/{AgentConfig.objects.first().pk}/change/",
        "invocation/",
        "provider/add/",
    ]
    command = [sys.executable, "-c", FETCH, *paths]
    fetched = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert fetched.stdout.splitlines() == [f"{path} 200 True True" for path in paths], fetched.stderr
