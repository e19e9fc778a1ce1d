"""The Celery app of the site: ``celery -A clinic worker``. Each app has its tasks in ``tasks.py``."""

import os
from typing import Any

from celery.signals import import_modules
from django.conf import settings
from tenant_schemas_celery.app import CeleryApp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "clinic.settings")

app = CeleryApp("clinic")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@import_modules.connect
def create_queue_folder(**_: Any) -> None:
    settings.QUEUE_DIR.mkdir(exist_ok=True)
