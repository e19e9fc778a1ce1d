"""The site. What queues a task uses the app in ``celery.py``.

Most projects write ``from .celery import app`` here, which loads Celery's worker whenever Django starts. This waits
for the first task that is queued.
"""

from typing import Any

from celery._state import set_default_app
from celery.local import Proxy


def _app() -> Any:
    from .celery import app

    return app


set_default_app(Proxy(_app))
