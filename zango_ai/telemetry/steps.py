"""The spans below that of a run: calls to the provider and to tools."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, wraps
from types import TracebackType
from typing import ParamSpec, Protocol

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode

from ..exceptions import RunCancelled
from ..types import LLMUsage, ModelAnswer, ModelRequest, Target
from . import Step, instruments
from . import conventions as names
from .instruments import Attributes

logger = logging.getLogger("zango_ai.telemetry")

P = ParamSpec("P")
_CANCELLATIONS = (GeneratorExit, asyncio.CancelledError, RunCancelled)


class Parent(Protocol):
    """The run that a step belongs to."""

    schema: str
    common: dict[str, str]
    """Attributes of all spans of the run."""
    context: Context
    """With the run's span."""


def harmless(function: Callable[P, None]) -> Callable[P, None]:
    """Log an exception in place of raising it."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(*args, **kwargs)
        except Exception:
            logger.exception("OpenTelemetry could not record a run")

    return call


class _RecordedStep(Step):
    """A span below that of its run."""

    def __init__(
        self, run: Parent, name: str, attributes: Mapping[str, str | bool | int | float], kind: SpanKind
    ) -> None:
        self._run, self._started = run, time.monotonic()
        self._span = tracer().start_span(
            name, context=run.context, kind=kind, attributes={**run.common, **attributes}
        )
        self._context = trace.set_span_in_context(self._span, run.context)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._finish(exc)

    @contextmanager
    def active(self) -> Iterator[None]:
        token = context.attach(self._context)
        try:
            yield
        finally:
            context.detach(token)

    def _finish(self, exc: BaseException | None) -> None:
        raise NotImplementedError

    def _seconds(self) -> float:
        return time.monotonic() - self._started


class CallStep(_RecordedStep):
    """The span ``chat``."""

    def __init__(
        self,
        run: Parent,
        target: Target,
        request: ModelRequest,
        round_number: int,
        is_streamed: bool,
        partial: Callable[[], ModelAnswer | None],
    ) -> None:
        self._partial = partial
        self._answer: ModelAnswer | None = None
        self._measured: dict[str, str] = {
            names.OPERATION_NAME: names.CHAT,
            names.PROVIDER_NAME: names.provider_name(target.provider.kind),
            names.REQUEST_MODEL: request.model,
        }
        attributes: dict[str, str | bool | int | float] = {
            **self._measured,
            names.REQUEST_TEMPERATURE: request.temperature,
            names.REQUEST_MAX_TOKENS: request.max_tokens,
            names.OUTPUT_TYPE: output_type(request.wants_json),
            names.ROUND: round_number,
        }
        if is_streamed:
            attributes[names.REQUEST_STREAM] = True
        super().__init__(run, f"{names.CHAT} {request.model}", attributes, SpanKind.CLIENT)

    def answered(self, answer: ModelAnswer) -> None:
        self._answer = answer

    @harmless
    def _finish(self, exc: BaseException | None) -> None:
        error_type = _error_type(exc)
        answer = self._answer or self._partial()
        if answer is not None:
            self._span.set_attributes(usage_attributes(answer.usage))
            self._span.set_attribute(names.RESPONSE_MODEL, answer.model)
            self._measured[names.RESPONSE_MODEL] = answer.model
            if answer.time_to_first_token_ms is not None:
                self._span.set_attribute(names.TIME_TO_FIRST_CHUNK, answer.time_to_first_token_ms / 1000)
        self._span.set_attribute(names.FINISH_REASONS, (_finish_reason(self._answer),))
        end(self._span, error_type)
        attributes = measured(self._run.schema, self._measured, error_type)
        instruments.current().count_call(self._seconds(), attributes, None if answer is None else answer.usage)


class ToolStep(_RecordedStep):
    """The span ``execute_tool``."""

    def __init__(self, run: Parent, name: str, call_id: str) -> None:
        self._status = ""
        self._measured = {names.OPERATION_NAME: names.EXECUTE_TOOL, names.TOOL_NAME: name}
        attributes = {**self._measured, names.TOOL_CALL_ID: call_id, names.TOOL_TYPE: names.FUNCTION}
        super().__init__(run, f"{names.EXECUTE_TOOL} {name}", attributes, SpanKind.INTERNAL)

    def tool_ended(self, status: str) -> None:
        self._status = status

    @harmless
    def _finish(self, exc: BaseException | None) -> None:
        error_type = _error_type(exc)
        if self._status:
            self._span.set_attribute(names.STATUS, self._status)
            error_type = error_type or (None if self._status == "success" else self._status)
        end(self._span, error_type)
        attributes = measured(self._run.schema, self._measured, error_type)
        instruments.current().tool_duration.record(self._seconds(), attributes)


def tracer() -> trace.Tracer:
    """That of the tracer provider that the application has set."""
    return _tracer_of(trace.get_tracer_provider())


@lru_cache(maxsize=2)
def _tracer_of(provider: trace.TracerProvider) -> trace.Tracer:
    return provider.get_tracer(names.SCOPE)


def end(span: Span, error_type: str | None) -> None:
    if error_type is not None:
        span.set_attribute(names.ERROR_TYPE, error_type)
        span.set_status(StatusCode.ERROR)
    span.end()


def _error_type(exc: BaseException | None) -> str | None:
    """The class's name. A run that its caller has cancelled has no error."""
    return None if exc is None or isinstance(exc, _CANCELLATIONS) else type(exc).__name__


def measured(schema: str, attributes: Mapping[str, str], error_type: str | None) -> Attributes:
    error = {} if error_type is None else {names.ERROR_TYPE: error_type}
    return {names.TENANT: schema, **attributes, **error}


def usage_attributes(usage: LLMUsage) -> dict[str, int]:
    return {
        names.INPUT_TOKENS: usage.input_tokens,
        names.OUTPUT_TOKENS: usage.output_tokens,
        names.CACHE_READ_TOKENS: usage.cache_read_tokens,
        names.CACHE_WRITE_TOKENS: usage.cache_creation_tokens,
        names.OLD_CACHE_WRITE_TOKENS: usage.cache_creation_tokens,
    }


def _finish_reason(answer: ModelAnswer | None) -> str:
    if answer is None:
        return names.FAILED_FINISH
    return names.finish_reason("tool_use" if answer.tool_calls else answer.stop_reason)


def output_type(is_json: bool) -> str:
    return "json" if is_json else "text"
