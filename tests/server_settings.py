"""Settings of a web server of the tests: the tests' own, their database and their model server."""

import json
import os
from importlib import import_module

base = import_module(os.environ["TEST_SETTINGS"])
globals().update({name: value for name, value in vars(base).items() if name.isupper()})
DATABASES = base.DATABASES

DATABASES["default"]["NAME"] = os.environ["TEST_DATABASE_NAME"]
ROOT_URLCONF = "tests.server_urls"
ZANGO_AI = json.loads(os.environ["TEST_ZANGO_AI"])
