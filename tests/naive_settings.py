"""The example's settings without time zone support, and a test database of their own."""

from clinic.settings import *  # noqa: F403
from clinic.settings import DATABASES

USE_TZ = False
DATABASES["default"]["TEST"] = {"NAME": "test_naive"}
