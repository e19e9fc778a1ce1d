"""The example's settings for a worker of the tests: their database, their model server.

Celery's results are in Redis. With ``TEST_TASKS``, there is a database backend of Django Tasks.
"""

import json
import os

from clinic.settings import *  # noqa: F403
from clinic.settings import CELERY_BROKER_URL, DATABASES, INSTALLED_APPS, SHARED_APPS

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE_NAME"]
USE_TZ = json.loads(os.environ["TEST_USE_TZ"])
ZANGO_AI = json.loads(os.environ["TEST_ZANGO_AI"])
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_BEAT_SCHEDULE: dict[str, object] = {}
TASKS = json.loads(os.environ.get("TEST_TASKS", "{}"))
if TASKS:
    SHARED_APPS = [*SHARED_APPS, "django_tasks_db"]
    INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
