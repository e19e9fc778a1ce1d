"""Calls of a task for mypy to check: see ``pure/package/test_type_checks.py``. Nothing executes this module."""

from zango_ai.tasks import BaseTask


class Summarize(BaseTask):
    name = "tests.summarize"

    def run(self, patient_id: int, *, language: str = "en") -> str:
        return f"{patient_id} {language}"


class SummarizeLater(Summarize):
    name = "tests.summarize_later"


def queue() -> None:
    Summarize.delay(3)
    Summarize.delay(3, language="de")
    Summarize.delay_on_commit(patient_id=3)
    SummarizeLater.delay(3)
    Summarize().delay(3)
    Summarize.apply_async([3], {"language": "de"}, countdown=5, queue="slow")
    Summarize.apply_async((3,)).get()
    Summarize.apply_async_on_commit([3])
    Summarize.apply([3]).get()
    Summarize.s(3).set(queue="slow").delay()
    Summarize.si(3)


def queue_wrongly() -> None:
    Summarize.delay("3")  # wrong
    Summarize.delay()  # wrong
    Summarize.delay(3, langauge="de")  # wrong
    Summarize.delay_on_commit("3")  # wrong
    SummarizeLater.delay(3, 4)  # wrong
    Summarize().delay("3")  # wrong
    Summarize.apply_async(3)  # wrong
    Summarize.apply_async([3], ["de"])  # wrong
