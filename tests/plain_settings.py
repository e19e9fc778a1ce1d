"""A project without tenants, whose tables are in the schema north.

Neither django-tenants nor its package for Celery can be imported, as if they were not installed.
"""

import os
import sys

import dj_database_url

from tests.admin_settings import TEMPLATES  # noqa: F401

for package in ("django_tenants", "tenant_schemas_celery"):
    sys.modules[package] = None  # type: ignore[assignment]

SECRET_KEY = "insecure key for the tests"
DEBUG = False
ALLOWED_HOSTS = [".localhost", "127.0.0.1", "testserver"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "patients",
    "zango_ai",
]
DATABASES = {
    "default": {
        **dj_database_url.parse(os.environ.get("DATABASE_URL") or "postgres://localhost/clinic", conn_max_age=60),
        "ATOMIC_REQUESTS": True,
        "TEST": {"NAME": "test_plain"},
    }
}
DATABASES["default"].setdefault("OPTIONS", {})["options"] = "-c search_path=north,public"
DATABASES["other"] = {**DATABASES["default"], "ATOMIC_REQUESTS": False, "TEST": {"MIRROR": "default"}}
ZANGO_AI: dict[str, object] = {"ALLOWED_API_BASES": os.environ.get("ALLOWED_API_BASES", "").split()}
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "tests.plain_urls"
LANGUAGE_CODE = "en"
TIME_ZONE = "Europe/Berlin"
USE_TZ = True
STATIC_URL = "static/"
MEDIA_ROOT = os.environ.get("MEDIA_ROOT")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or "memory://"
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = TIME_ZONE
