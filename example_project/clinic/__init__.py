"""The example site. Tasks use the Celery app in ``celery.py``.

Most projects write ``from .celery import app`` here, which imports Celery whenever Django starts. This module
imports it when the first task is queued.
"""

from typing import Any

from celery._state import set_default_app
from celery.local import Proxy


def _app() -> Any:
    from .celery import app

    return app


set_default_app(Proxy(_app))
