"""Record runs with OpenTelemetry. This module, ``steps`` and ``instruments`` are the only ones that import it.

Without an SDK, OpenTelemetry's API records nothing. An error in an SDK, a span processor or an exporter is logged
and never reaches the run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from uuid import UUID

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..types import AgentSpec, LLMUsage, ModelAnswer, ModelRequest, Target
from . import NO_STEP, NO_TRACE, RunTrace, Step, instruments, steps
from . import conventions as names

logger = logging.getLogger("zango_ai.telemetry")

_PROPAGATOR = TraceContextTextMapPropagator()
"""Only ``traceparent`` and ``tracestate``: an application's baggage may have personal data, and would be stored."""


def begin_run(
    schema: str, agent_name: str, run_id: UUID, trigger: str, stored_parent: Mapping[str, str]
) -> RunTrace:
    try:
        return RecordedRun(schema, agent_name, run_id, trigger, stored_parent)
    except Exception:
        logger.exception("OpenTelemetry could not begin the span of a run")
        return NO_TRACE


class QueuedTrace(RunTrace):
    """A run that another process will execute."""

    def parent_to_store(self) -> dict[str, str]:
        return _to_headers(context.get_current())


class RecordedRun(RunTrace):
    """The span ``invoke_agent``, or only the current span for a call without an agent."""

    def __init__(
        self, schema: str, agent_name: str, run_id: UUID, trigger: str, stored_parent: Mapping[str, str]
    ) -> None:
        self.common: dict[str, str] = {names.TENANT: schema, names.RUN_ID: str(run_id)}
        self.schema, self._agent_name = schema, agent_name
        self._started, self._provider_name = time.monotonic(), ""
        self._stored_parent = dict(stored_parent)
        self.context, links = _parent(stored_parent)
        self._span: Span | None = None
        if agent_name:
            attributes = {
                **self.common,
                names.OPERATION_NAME: names.INVOKE_AGENT,
                names.AGENT_NAME: agent_name,
                names.TRIGGER: trigger,
            }
            self._span = steps.tracer().start_span(
                f"{names.INVOKE_AGENT} {agent_name}", context=self.context, attributes=attributes, links=links
            )
            self.context = trace.set_span_in_context(self._span, self.context)

    @steps.harmless
    def note_agent(self, agent: AgentSpec) -> None:
        self._provider_name = names.provider_name(agent.provider.kind)
        if self._span is not None:
            self._span.set_attributes(
                {
                    names.PROVIDER_NAME: self._provider_name,
                    names.REQUEST_MODEL: agent.model,
                    names.REQUEST_TEMPERATURE: agent.temperature,
                    names.REQUEST_MAX_TOKENS: agent.max_tokens,
                    names.OUTPUT_TYPE: steps.output_type(agent.output_schema == "json"),
                }
            )

    @steps.harmless
    def note_session(self, session_id: str) -> None:
        self.common[names.CONVERSATION_ID] = session_id
        if self._span is not None:
            self._span.set_attribute(names.CONVERSATION_ID, session_id)

    def call(
        self,
        target: Target,
        request: ModelRequest,
        *,
        round_number: int,
        is_streamed: bool,
        partial: Callable[[], ModelAnswer | None],
    ) -> Step:
        try:
            return steps.CallStep(self, target, request, round_number, is_streamed, partial)
        except Exception:
            logger.exception("OpenTelemetry could not begin the span of a call")
            return NO_STEP

    def tool(self, name: str, call_id: str) -> Step:
        try:
            return steps.ToolStep(self, name, call_id)
        except Exception:
            logger.exception("OpenTelemetry could not begin the span of a tool")
            return NO_STEP

    def parent_to_store(self) -> dict[str, str]:
        """The attempts of a queued run have the same parent."""
        return self._stored_parent or _to_headers(self.context)

    @steps.harmless
    def end(
        self,
        *,
        status: str,
        invocation_id: int | None,
        usage: LLMUsage,
        cost_usd: Decimal | None,
        error: BaseException | None,
    ) -> None:
        if self._span is None:
            return
        error_type = None if status == "cancelled" or error is None else type(error).__name__
        attributes: dict[str, str | int | float] = {**steps.usage_attributes(usage), names.STATUS: status}
        if invocation_id is not None:
            attributes[names.INVOCATION_ID] = invocation_id
        if cost_usd is not None:
            attributes[names.COST_USD] = float(cost_usd)
        self._span.set_attributes(attributes)
        steps.end(self._span, error_type)
        measured = {names.OPERATION_NAME: names.INVOKE_AGENT, names.AGENT_NAME: self._agent_name}
        if self._provider_name:
            measured[names.PROVIDER_NAME] = self._provider_name
        seconds = time.monotonic() - self._started
        instruments.current().agent_duration.record(seconds, steps.measured(self.schema, measured, error_type))


def _parent(stored: Mapping[str, str]) -> tuple[Context, list[Link]]:
    """The current span, with a link to the stored one; without a current one, the stored one."""
    here = context.get_current()
    remote = trace.get_current_span(_PROPAGATOR.extract(stored, Context())).get_span_context()
    if not remote.is_valid:
        return here, []
    if trace.get_current_span(here).get_span_context().is_valid:
        return here, [Link(remote)]
    return _PROPAGATOR.extract(stored, here), []


def _to_headers(current: Context) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        _PROPAGATOR.inject(headers, current)
    except Exception:
        logger.exception("OpenTelemetry could not store the trace of a run")
    return headers
