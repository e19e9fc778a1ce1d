"""Cassettes: calls to a real provider, recorded once and replayed in later test runs."""

from __future__ import annotations

import difflib
import itertools
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import redaction
from ..configuration_files import yaml_text
from ..exceptions import ZangoAIError
from ..providers import real_calls
from ..providers.calls import PreparedCall
from ..providers.masking import Mask
from ..types import ModelAnswer
from .asked import AskedRequest
from .cassette_documents import (
    VERSION,
    answer_document,
    calls_of,
    error_document,
    request_document,
    scrubbed,
    step_of,
    title_of,
)
from .recorded_calls import RecordedCall
from .scripted_calls import ScriptedCall
from .stage import STAGE
from .steps import Answer, Failure

if TYPE_CHECKING:
    from ..runs.preparation import PreparedRun
    from ..runs.substitution import Call

Record = Literal["never", "missing", "all"]
ENVIRONMENT_VARIABLE = "ZANGO_AI_RECORD"
_SHORTEST_SECRET = 8


class CassetteMismatch(AssertionError):
    """A run asks something else than what was recorded."""


class Cassette:
    """The recorded calls of one test, or a recording in progress."""

    def __init__(self, path: Path, *, is_replayed: bool, command: str) -> None:
        """``command`` records the cassette again."""
        self.path, self.is_replayed, self._command = path, is_replayed, command
        self._replacements: list[tuple[re.Pattern[str], str]] = []
        self._calls: list[Mapping[str, Any]] = _read(path, command) if is_replayed else []
        """In a replay: the calls that are left."""
        self._mismatch: str | None = None
        self._call_ids = itertools.count(1)
        self._lock = threading.Lock()

    def replace(self, pattern: str, text: str) -> None:
        """Put ``text`` in place of what the regular expression finds, in what is recorded and in what is compared.

        For what differs in each test run, such as dates and primary keys, and for what must not be in the file.
        """
        self._replacements.append((re.compile(pattern), text))

    def call_for(self, run: PreparedRun, call: PreparedCall) -> Call:
        if self.is_replayed:
            return ScriptedCall(call, run.agent.name, self)
        return RecordedCall(call, run.agent.name, self.record)

    def record(
        self,
        call: PreparedCall,
        asked: AskedRequest,
        outcome: ModelAnswer | ZangoAIError,
        pieces: Sequence[str] | None = None,
    ) -> None:
        """Record one call, with credentials masked."""
        is_answer = isinstance(outcome, ModelAnswer)
        document = answer_document(outcome, pieces) if is_answer else error_document(outcome, pieces)  # type: ignore[arg-type]
        entry = {"request": request_document(asked), "answer" if is_answer else "error": document}
        mask = Mask(call.kind.secrets(call.provider.credentials), shortest=_SHORTEST_SECRET)
        with self._lock:
            self._calls.append(scrubbed(entry, lambda text: self._scrub(mask.apply(text))))

    def take(self, asked: AskedRequest) -> Answer | Failure:
        """The recorded answer to this request. Raises CassetteMismatch."""
        document = scrubbed(request_document(asked), self._scrub)
        with self._lock:
            for position, call in enumerate(self._calls):
                if call["request"] == document:
                    del self._calls[position]
                    return step_of(call)
            self._mismatch = self._difference(document)
        raise CassetteMismatch(self._mismatch)

    def new_call_id(self) -> str:
        return f"call_{next(self._call_ids)}"

    def problem(self) -> str | None:
        """Why the recording does not match what happened; None if it does."""
        if self._mismatch is not None:
            return self._mismatch
        if not self.is_replayed or not self._calls:
            return None
        left = "".join(f"\n  {title_of(call['request'])}" for call in self._calls)
        return f"Recorded calls in {self.path} were not made:{left}\n{self._advice()}"

    def save(self) -> bool:
        """Write the file, if this is a recording. Returns whether it was written."""
        if self.is_replayed:
            return False
        if not self._calls:
            raise AssertionError("There is nothing to record: no run has called a provider.")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = yaml_text.dump({"version": VERSION, "calls": self._calls})
        self.path.write_text(f"# Recorded by zango_ai. To record again: {self._command}\n{text}", encoding="utf-8")
        return True

    def _scrub(self, text: str) -> str:
        text = redaction.text(text)
        for pattern, replacement in self._replacements:
            text = pattern.sub(replacement, text)
        return text

    def _difference(self, document: Mapping[str, Any]) -> str:
        """``document`` beside the recorded request that it should have been."""
        of_agent = [call for call in self._calls if call["request"]["agent"] == document["agent"]]
        if not of_agent:
            return f"{title_of(document)} was not recorded in {self.path}, or not so often.\n{self._advice()}"
        before, now = (yaml_text.dump(each).splitlines() for each in (of_agent[0]["request"], document))
        diff = "\n".join(difflib.unified_diff(before, now, "recorded", "now", lineterm="", n=2))
        return f"{title_of(document)} differs from the recorded call in {self.path}:\n{diff}\n{self._advice()}"

    def _advice(self) -> str:
        return f"If that is intended, record again: {self._command}"


@contextmanager
def cassette(path: str | os.PathLike[str], *, record: Record | None = None) -> Iterator[Cassette]:
    """Inside the block, calls to providers are replayed from the file, or recorded.

    ``record``: ``never`` (replay, the default), ``missing`` (record if there is no file) or ``all`` (record again);
    without it, the environment variable ``ZANGO_AI_RECORD`` decides. Recording calls the real provider. The file is
    written at the end of the block, unless it ends with an error. A replay must use all recorded calls.
    """
    with open_cassette(Path(path), record, f"run the test with {ENVIRONMENT_VARIABLE}=all") as opened:
        yield opened
        problem = opened.problem()
        if problem is not None:
            raise AssertionError(problem)
        opened.save()


@contextmanager
def open_cassette(path: Path, record: str | None, command: str) -> Iterator[Cassette]:
    """``cassette()``, without the checks at the end."""
    mode = record or os.environ.get(ENVIRONMENT_VARIABLE) or "never"
    if mode not in {"never", "missing", "all"}:
        raise ValueError(f"The mode of recording is {mode!r}. Use never, missing or all.")
    is_replayed = mode == "never" or (mode == "missing" and path.exists())
    if is_replayed and not path.exists():
        raise FileNotFoundError(f"There is no recording {path}. To record one, with a real provider: {command}")
    opened = Cassette(path, is_replayed=is_replayed, command=command)
    with ExitStack() as stack:
        if not is_replayed:
            stack.enter_context(real_calls.allowed())
        stack.enter_context(STAGE.playing(recording=opened))
        yield opened


def _read(path: Path, command: str) -> list[Mapping[str, Any]]:
    try:
        return calls_of(yaml_text.load(path.read_text(encoding="utf-8")))
    except ValueError as exc:  # also InvalidYAML, and bytes that are not UTF-8
        problem = f"{path} is no recording that can be replayed: {str(exc).rstrip('.')}."
        raise ValueError(f"{problem} To record it again, with a real provider: {command}") from None
