"""A worker's app that knows nothing of tenants: ``celery -A tests.plain_app worker``."""

from celery import Celery

app = Celery("plain")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
