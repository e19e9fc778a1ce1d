"""Save the state of a run that stops, and restore it in another process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import redaction
from ..exceptions import LLMFileError
from ..files.file import LLMFile
from ..ledger import stored_files, stored_runs, transcript
from ..ledger.run_state import RunState, SavedAnswer
from ..memory import sessions
from ..types import AgentSpec, LLMMessage, LLMUsage, ModelAnswer, ModelRequest
from .engine import LoopState
from .preparation import PreparedRun
from .request_builder import ComposedRequest, model_request
from .tool_use import Toolbox


def save(
    prepared: PreparedRun,
    composed: ComposedRequest,
    loop: LoopState,
    session: sessions.Session | None,
    pending_answer: ModelAnswer | None = None,
) -> RunState:
    """All that another process needs to continue the run."""
    return RunState(
        messages=transcript.messages_to_json(loop.request.messages),
        turn_range=(composed.turn_start, composed.turn_start + len(composed.turn)),
        tool_messages=transcript.messages_to_json(prepared.toolbox.messages),
        answer=None if pending_answer is None else _save_answer(pending_answer),
        tool_rounds_left=loop.tool_rounds_left,
        has_used_tools=loop.has_used_tools,
        output_retries_left=loop.output_retries_left,
        session=None if session is None else session.saved(),
        output_json_schema=prepared.output.json_schema,
        overrides=prepared.overrides,
        stores_chunks=prepared.stores_chunks,
        trace=prepared.recorder.trace.parent_to_store(),
        calls=[(call.input, call.result) for call in prepared.toolbox.calls] if redaction.is_on() else (),
    )


def restore_request(agent: AgentSpec, toolbox: Toolbox, run: stored_runs.RunRow, state: RunState) -> ModelRequest:
    """The run's next request, with its tool calls so far in the toolbox. Raises LLMFileError."""
    toolbox.restore(run, state.decisions, is_pending=state.answer is not None)
    toolbox.messages = list(restore_messages(agent.schema, run, state.tool_messages))
    messages = restore_messages(agent.schema, run, state.messages)
    return model_request(agent, messages, toolbox.schemas if state.tool_rounds_left else ())


def restore_loop(state: RunState, request: ModelRequest) -> LoopState:
    """The loop's state, with the restored request."""
    return LoopState(
        request,
        tool_rounds_left=state.tool_rounds_left,
        output_retries_left=state.output_retries_left,
        pending_answer=None if state.answer is None else _restore_answer(state.answer),
        has_used_tools=state.has_used_tools,
    )


def restore_messages(schema: str, run: stored_runs.RunRow, messages: Any) -> tuple[LLMMessage, ...]:
    """The messages with their files. Raises LLMFileError if a file is no longer stored."""
    return tuple(transcript.messages_from_json(messages, lambda file: _restore_file(schema, run, file)))


def _restore_file(schema: str, run: stored_runs.RunRow, logged: Mapping[str, Any]) -> LLMFile:
    if logged.get("url"):
        return LLMFile.from_url(logged["url"], logged["media_type"] or None)
    content = stored_files.content_of(schema, run.invocation_id, logged["sha256"])
    if content is None:
        raise LLMFileError(
            logged["filename"],
            f"Run {run.run_id} cannot send its file {logged['filename']!r} again: it is no longer in the storage.",
        )
    return LLMFile.from_bytes(content, logged["media_type"], logged["filename"])


def _save_answer(answer: ModelAnswer) -> SavedAnswer:
    return SavedAnswer(content=answer.content, model=answer.model, tool_calls=answer.tool_calls)


def _restore_answer(saved: SavedAnswer) -> ModelAnswer:
    """Its usage and cost are logged already."""
    return ModelAnswer(saved.content, saved.model, "end_turn", LLMUsage(), None, {}, saved.tool_calls)
