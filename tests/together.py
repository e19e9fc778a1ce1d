"""Work that happens at the same time."""

from collections.abc import Callable, Iterable
from threading import Thread
from time import monotonic, sleep

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


def wait_until(condition: Callable[[], object]) -> None:
    """Return when the condition holds. Fails after a minute."""
    deadline = monotonic() + 60
    while not condition():
        assert monotonic() < deadline, "The condition does not hold after a minute"
        sleep(0.01)
