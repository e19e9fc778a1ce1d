"""Settings of a project with tenants where Celery is not installed. Its background runs are Django tasks."""

import json
import os
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from tests.admin_settings import TEMPLATES  # noqa: F401

_ABSENT = {"celery", "kombu", "billiard", "amqp", "vine", "tenant_schemas_celery"}
_find_spec = PathFinder.find_spec


def _find_what_is_installed(name: str, *arguments: Any) -> ModuleSpec | None:
    return None if name.partition(".")[0] in _ABSENT else _find_spec(name, *arguments)


PathFinder.find_spec = _find_what_is_installed  # type: ignore[method-assign,assignment]

SECRET_KEY = os.environ["TEST_SECRET_KEY"]
ALLOWED_HOSTS = ["*"]
SHARED_APPS = ["django_tenants", "tenants", "django.contrib.contenttypes", "django.contrib.staticfiles"]
TENANT_APPS = ["django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes"]
TENANT_APPS += ["django.contrib.messages", "django.contrib.sessions", "zango_ai"]
INSTALLED_APPS = list(dict.fromkeys([*SHARED_APPS, *TENANT_APPS]))
TENANT_MODEL, TENANT_DOMAIN_MODEL = "tenants.Clinic", "tenants.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES = {"default": json.loads(os.environ["TEST_DATABASE"])}
MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
ROOT_URLCONF = "tests.server_urls"
STATIC_URL = "static/"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ZANGO_AI = json.loads(os.environ["TEST_ZANGO_AI"])
TASKS = json.loads(os.environ["TEST_TASKS"])
