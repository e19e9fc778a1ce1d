"""Settings of a worker of the tests: the tests' own, their database and their model server.

Celery's results are in Redis. With ``TEST_TASKS``, there is a database backend of Django Tasks.
"""

import json
import os
from importlib import import_module

base = import_module(os.environ["TEST_SETTINGS"])
globals().update({name: value for name, value in vars(base).items() if name.isupper()})
DATABASES = base.DATABASES
INSTALLED_APPS = base.INSTALLED_APPS

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE_NAME"]
USE_TZ = json.loads(os.environ["TEST_USE_TZ"])
ZANGO_AI = json.loads(os.environ["TEST_ZANGO_AI"])
CELERY_RESULT_BACKEND = base.CELERY_BROKER_URL
CELERY_BEAT_SCHEDULE: dict[str, object] = {}
TASKS = json.loads(os.environ.get("TEST_TASKS", "{}"))
if TASKS:
    SHARED_APPS = [*getattr(base, "SHARED_APPS", ()), "django_tasks_db"]
    INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]
