"""Work that happens at the same time."""

from collections.abc import Callable, Iterable
from threading import Thread

from django.db import connection


def run_together(works: Iterable[Callable[[], object]]) -> None:
    """Call each in a thread of its own, with a database connection of its own, and return when all are done."""

    def call(work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            connection.close()

    threads = [Thread(target=call, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
