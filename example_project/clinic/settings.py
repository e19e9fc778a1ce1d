"""Settings of the example: a clinic with a tenant for each of its sites.

Comments that begin with "zango_ai" mark what zango_ai needs. The rest is a normal django-tenants project.
"""

import os
from pathlib import Path

import dj_database_url
from celery.schedules import crontab

BASE_DIR = Path(__file__).resolve().parents[1]

SECRET_KEY = os.environ.get("SECRET_KEY", "insecure key for the example: set SECRET_KEY in production")
DEBUG = os.environ.get("DEBUG", "1") == "1"
ALLOWED_HOSTS = [".localhost", "127.0.0.1", "testserver"]

SHARED_APPS = [
    "django_tenants",
    "tenants",
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
]
TENANT_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "patients",
    "zango_ai",  # zango_ai: in TENANT_APPS, since each tenant has its own agents
]
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]

TENANT_MODEL = "tenants.Clinic"
TENANT_DOMAIN_MODEL = "tenants.Domain"
TENANT_COLOR_ADMIN_APPS = False  # the admin keeps Django's own colours
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES = {
    "default": {
        **dj_database_url.parse(os.environ.get("DATABASE_URL") or "postgres://localhost/clinic", conn_max_age=60),
        "ENGINE": "django_tenants.postgresql_backend",
        # zango_ai: the log of a run stays when the request's transaction rolls back
        "ATOMIC_REQUESTS": True,
    }
}

# zango_ai: all keys are optional
ZANGO_AI: dict[str, object] = {"ALLOWED_API_BASES": os.environ.get("ALLOWED_API_BASES", "").split()}

MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "clinic.urls"
PUBLIC_SCHEMA_URLCONF = "clinic.urls_public"
WSGI_APPLICATION = "clinic.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "patients.answering.context",
            ]
        },
    }
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
TIME_ZONE = "Europe/Berlin"
USE_TZ = True
STATIC_URL = "static/"
# zango_ai: files that were sent to agents are stored here. No URL serves this folder.
MEDIA_ROOT = os.environ.get("MEDIA_ROOT") or BASE_DIR / "media"
LOGIN_URL = "/admin/login/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# A folder as a broker is only good enough for the demo. Otherwise set CELERY_BROKER_URL, for example to
# redis://localhost:6379/0.
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or "filesystem://"
QUEUE_DIR = Path(os.environ.get("QUEUE_DIR") or BASE_DIR / "queue")
if CELERY_BROKER_URL == "filesystem://":
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(QUEUE_DIR),
        "data_folder_out": str(QUEUE_DIR),
        "control_folder": str(QUEUE_DIR / "control"),
    }
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULE = {
    "nightly_patient_summary": {"task": "nightly_patient_summary", "schedule": crontab(hour=2, minute=0)},
    # zango_ai: ends runs whose process was killed, among other things
    "zango_ai.maintain": {"task": "zango_ai.maintain", "schedule": 300},
}
