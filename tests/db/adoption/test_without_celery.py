"""A project where Celery is not installed, in a process of its own: agents, the admin and the HTTP API work."""

import json
import os
import subprocess
import sys

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django_tenants.utils import schema_context
from tenants.models import Clinic, Domain

from tests.build import make_agent
from zango_ai.models import Invocation
from zango_ai.runs.tasks_queue import require_tasks

CODE = """
import json, sys
import django; django.setup()
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
from django.test.utils import override_settings
from django_tenants.utils import schema_context
from zango_ai import get_agent, get_run
from zango_ai.exceptions import QueueUnavailable

call_command("check", fail_level="WARNING")
told = []
with schema_context("north"):
    told.append(get_agent("helper").run("hi").content)
    told.append(get_agent("helper").enqueue("hi").response().content)
    try:
        with override_settings(ZANGO_AI=settings.ZANGO_AI | {"QUEUE": "celery"}):
            get_agent("helper").enqueue("hi")
    except QueueUnavailable as exc:
        told.append(str(exc))
    user = User.objects.get()
client = Client(headers={"host": "north.localhost"})
with schema_context("north"):
    client.force_login(user)
told.append(client.post("/ai/agents/helper/enqueue/", {"input": "hi"}, content_type="application/json").status_code)
told.append(client.get("/admin/zango_ai/invocation/").status_code)
call_command("zango_ai_maintain")
try:
    from zango_ai.tasks import BaseTask
except ImportError as exc:
    told.append(str(exc))
assert "celery" not in sys.modules
print(json.dumps(told))
"""

SERVER = ("HOST", "PORT", "USER", "PASSWORD", "OPTIONS")


@pytest.fixture
def user(live_north):
    with schema_context("public"):
        north = Clinic.objects.get(schema_name="north")
        Domain.objects.get_or_create(domain="north.localhost", defaults={"tenant": north})
    ContentType.objects.clear_cache()
    return User.objects.create_superuser("root")


def test_agents_the_admin_and_the_api_work_without_celery(model, user, settings):
    make_agent(model, is_public_api=True)
    model.script(*["fine"] * 3)
    immediate = f"{require_tasks().__name__}.backends.immediate.ImmediateBackend"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "DJANGO_SETTINGS_MODULE": "tests.without_celery_settings",
        "TEST_DATABASE": json.dumps({key: connection.settings_dict[key] for key in ("ENGINE", "NAME", *SERVER)}),
        "TEST_ZANGO_AI": json.dumps(settings.ZANGO_AI | {"QUEUE": "tasks:default"}),
        "TEST_SECRET_KEY": settings.SECRET_KEY,
        "TEST_TASKS": json.dumps({"default": {"BACKEND": immediate}}),
    }
    out = subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, timeout=120)
    assert out.returncode == 0, out.stderr
    ran, queued, refused, *codes, no_tasks = json.loads(out.stdout.splitlines()[-1])
    assert (ran, queued) == ("fine", "fine")
    assert "Celery is not installed. Run: pip install 'zango-ai[celery]'." in refused
    assert "ZANGO_AI['QUEUE'] to 'tasks:' and the alias of a backend" in refused
    assert codes == [202, 200]
    assert no_tasks.startswith("zango_ai.tasks needs Celery, which is not installed. Run: pip install")
    assert list(Invocation.objects.order_by("pk").values_list("status", flat=True)) == [
        "success",
        "success",
        "failed",
        "success",
    ]
