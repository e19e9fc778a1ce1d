"""The example's settings for a Celery worker of the tests: their database, their model server, results in Redis."""

import json
import os

from clinic.settings import *  # noqa: F403
from clinic.settings import CELERY_BROKER_URL, DATABASES

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE_NAME"]
USE_TZ = json.loads(os.environ["TEST_USE_TZ"])
ZANGO_AI = json.loads(os.environ["TEST_ZANGO_AI"])
CELERY_RESULT_BACKEND = CELERY_BROKER_URL
CELERY_BEAT_SCHEDULE: dict[str, object] = {}
