"""The example's settings for a web server of the tests: their database and their model server."""

import json
import os

from clinic.settings import *  # noqa: F403
from clinic.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE_NAME"]
ROOT_URLCONF = "tests.server_urls"
ZANGO_AI = json.loads(os.environ["TEST_ZANGO_AI"])
