"""Stored conversations: read one before a run, store the run's turn after it.

Each is one statement on the ledger's connection. So a turn is kept when the caller's transaction rolls back, as the
billed answer is, and no run waits for a session because another caller's transaction is open. Runs on one session
may overlap. Each turn is stored as a whole, in the order in which the runs end.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.db import Error

from .. import sanitize
from ..argument_checks import type_of
from ..database import writer
from ..database.sql import table
from ..exceptions import SessionNotOwned
from ..ledger import clock, outcomes, transcript
from ..ledger.run_state import SavedSession
from ..models import AgentConfig, Invocation, MemoryMessage, MemorySession
from ..types import AgentSpec, LLMMessage
from . import window

_MAX_ID_CHARS = 255
_BATCH = 500
_FETCH_FACTORS = (1, 4, 16)
"""How many user messages to fetch for each turn of the window: a turn may have several, or lack its answer."""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation at the beginning of a run."""

    agent_id: int
    session_id: str
    user_ref: str
    generation: int
    """Changes when the session is cleared: a run never stores its turn in a conversation opened after it began."""
    history: tuple[LLMMessage, ...] = ()
    """The messages of the memory window."""
    is_new: bool = False
    """The id was generated. The row is inserted with the first turn."""

    def saved(self) -> SavedSession:
        """The session without its history, to store with a run that stops."""
        return SavedSession(**{field.name: getattr(self, field.name) for field in fields(SavedSession)})

    @classmethod
    def restored(cls, saved: SavedSession) -> Session:
        """The session of a run that continues. Its stored state has the messages to send."""
        return cls(**{field.name: getattr(saved, field.name) for field in fields(SavedSession)})


def require_session_id(session_id: object) -> None:
    """Raises ValueError, TypeError."""
    if session_id is None:
        return
    if not isinstance(session_id, str):
        raise TypeError(f"session_id is {type_of(session_id)}; pass a str.")
    if not (0 < len(session_id) <= _MAX_ID_CHARS and session_id.isprintable()):
        raise ValueError(
            f"session_id must be 1 to {_MAX_ID_CHARS} printable characters. Leave it out to start a new session."
        )


def open_session(agent: AgentSpec, session_id: str | None, user_ref: object) -> Session:
    """The conversation with that id, or a new one. Raises SessionNotOwned, LogUnavailable, ValueError."""
    owner_ref = "" if user_ref is None else sanitize.shown(user_ref)
    if user_ref is not None and owner_ref != str(user_ref):
        # A changed user_ref could be that of another user.
        raise ValueError("user_ref is too long for a session, or has characters that PostgreSQL cannot store.")
    generation = secrets.randbits(62)
    if session_id is None:
        return Session(agent.id, secrets.token_urlsafe(24), owner_ref, generation, is_new=True)
    arguments = {
        "agent": agent.id,
        "session": session_id,
        "user": owner_ref,
        "generation": generation,
        "now": clock.now(),
    }
    try:
        for pairs in (agent.memory_pairs * factor for factor in _FETCH_FACTORS):
            owner, generation, start, rows = _fetch_or_open(agent.schema, {**arguments, "pairs": pairs})
            messages = map(_message, json.loads(rows))
            memory = window.cut_window(messages, agent.memory_pairs, is_from_start=start <= 1)
            if memory.is_full or start <= 1:
                break
    except Error as exc:
        raise outcomes.log_unavailable(f"The sessions of schema {agent.schema!r} cannot be read", exc) from exc
    if owner not in {"", owner_ref}:
        raise SessionNotOwned(
            session_id,
            f"Session {session_id!r} of agent {agent.name!r} was opened with another user_ref. Pass that "
            "user_ref, or leave session_id out to start a new session.",
        )
    return Session(agent.id, session_id, owner, generation, memory.messages)


def _fetch_or_open(schema: str, arguments: dict[str, Any]) -> tuple[str, int, int, str]:
    """Owner, generation, first sequence number fetched, and messages as JSON. Opens the session if necessary."""
    while True:
        for is_active, *row in writer.query(_fetch_sql(schema), arguments):
            if is_active:
                return tuple(row)
        writer.execute(_open_sql(schema), arguments)


def _message(row: dict[str, Any]) -> LLMMessage:
    # A list that was too long to store was replaced by a note.
    calls = row["tool_calls"] if isinstance(row["tool_calls"], list) else ()
    return LLMMessage(row["role"], row["content"], transcript.calls_from_json(calls), row["tool_call_id"])


def _fetch_sql(schema: str) -> str:
    """Select whether it is active, owner, generation, first sequence number fetched, and newest messages as JSON.

    Messages are selected for the owner only, from the ``pairs`` + 1st newest user message on. ``window`` decides
    which of them are sent.
    """
    messages = table(schema, MemoryMessage)
    return f"""
SELECT s.is_active, s.user_ref, s.generation, fetched.start, (
    SELECT coalesce(json_agg(json_build_object(
        'role', m.role, 'content', m.content,
        'tool_calls', m.tool_calls, 'tool_call_id', m.tool_call_id
    ) ORDER BY m.sequence), '[]')::text
    FROM {messages} m
    WHERE m.session_id = s.id AND s.user_ref IN ('', %(user)s)
        -- A list of numbers: the planner would estimate a range at a third of the session.
        AND m.sequence = ANY (ARRAY(SELECT generate_series(
            fetched.start, (SELECT max(l.sequence) FROM {messages} l WHERE l.session_id = s.id)
        )))
)
FROM {table(schema, MemorySession)} s
CROSS JOIN LATERAL (SELECT coalesce((
    SELECT u.sequence FROM {messages} u WHERE u.session_id = s.id AND u.role = 'user'
    ORDER BY u.sequence DESC OFFSET %(pairs)s LIMIT 1
), 1) AS start OFFSET 0) AS fetched
WHERE s.agent_id = %(agent)s AND s.session_id = %(session)s
"""


def _open_sql(schema: str) -> str:
    """Open the session, new or cleared, for the first of several concurrent runs."""
    return f"""
INSERT INTO {table(schema, MemorySession)} AS s
    (agent_id, session_id, user_ref, generation, last_active_at, created_at, updated_at)
VALUES (%(agent)s, %(session)s, %(user)s, %(generation)s, %(now)s, %(now)s, %(now)s)
ON CONFLICT (agent_id, session_id) DO UPDATE
SET is_active = true, user_ref = EXCLUDED.user_ref, generation = EXCLUDED.generation,
    last_active_at = %(now)s, updated_at = %(now)s
WHERE NOT s.is_active
"""


def store_turn(
    schema: str, session: Session, turn: Sequence[LLMMessage], invocation_id: int | None, user_ref: str = ""
) -> None:
    """Store a turn of ``user_ref`` at the end of its conversation.

    Nothing is stored if the session was cleared since the run began, or if somebody has cancelled the run. From
    here on, the run cannot be cancelled: its ``finished_at`` says so before its status does.
    """
    calls = [transcript.calls_to_json(message.tool_calls) for message in turn]
    sql = f"""
WITH run AS (
    UPDATE {table(schema, Invocation)} SET finished_at = %(now)s
    WHERE id = %(invocation)s AND cancel_requested_at IS NULL RETURNING id
),
session AS ({_insert_session_sql(schema) if session.is_new else _update_session_sql(schema)})
INSERT INTO {table(schema, MemoryMessage)}
    (session_id, sequence, role, content, tool_calls, tool_call_id, invocation_id, user_ref, created_at, updated_at)
SELECT session.id, session.last_sequence - %(count)s + w.position,
    w.role, w.content, w.tool_calls::jsonb, w.tool_call_id, %(invocation)s, %(author)s, %(now)s, %(now)s
FROM session, unnest(%(roles)s::text[], %(contents)s::text[], %(calls)s::text[], %(answers)s::text[])
    WITH ORDINALITY AS w(role, content, tool_calls, tool_call_id, position)
"""
    arguments = {
        "agent": session.agent_id,
        "session": session.session_id,
        "user": session.user_ref,
        "author": user_ref,
        "generation": session.generation,
        "invocation": invocation_id,
        "count": len(turn),
        "roles": [message.role for message in turn],
        "contents": [sanitize.text(message.content) for message in turn],
        "calls": list(map(sanitize.document, calls)),
        "answers": [sanitize.text(message.tool_call_id) for message in turn],
        "now": clock.now(),
    }
    writer.execute(sql, arguments)


def _insert_session_sql(schema: str) -> str:
    """Executed twice, it inserts nothing the second time: the row and its turn exist."""
    return f"""
    INSERT INTO {table(schema, MemorySession)}
        (agent_id, session_id, user_ref, generation, turns_count, last_sequence, last_invocation_id,
            last_active_at, created_at, updated_at)
    SELECT %(agent)s, %(session)s, %(user)s, %(generation)s, 1, %(count)s, %(invocation)s, %(now)s, %(now)s, %(now)s
    WHERE {_is_not_cancelled(schema)}
    ON CONFLICT (agent_id, session_id) DO NOTHING
    RETURNING id, last_sequence
"""


def _update_session_sql(schema: str) -> str:
    """The session's columns are read under its row lock, the messages as of the statement's beginning."""
    messages = table(schema, MemoryMessage)
    return f"""
    UPDATE {table(schema, MemorySession)} s
    SET turns_count = s.turns_count + 1,
        last_sequence = %(count)s + greatest(s.last_sequence, (
            SELECT max(m.sequence) FROM {messages} m WHERE m.session_id = s.id AND s.turns_count = 0
        )),
        last_invocation_id = %(invocation)s, last_active_at = %(now)s, updated_at = %(now)s
    WHERE s.agent_id = %(agent)s AND s.session_id = %(session)s AND s.is_active AND s.generation = %(generation)s
        AND s.last_invocation_id IS DISTINCT FROM %(invocation)s
        AND NOT EXISTS (SELECT 1 FROM {messages} m WHERE m.invocation_id = %(invocation)s)
        AND {_is_not_cancelled(schema)}
    RETURNING id, last_sequence
"""


def _is_not_cancelled(schema: str) -> str:
    """Also if the run's row is not written, or was deleted."""
    runs = table(schema, Invocation)
    return f"(EXISTS (SELECT 1 FROM run) OR NOT EXISTS (SELECT 1 FROM {runs} WHERE id = %(invocation)s))"


def clear(schema: str, agent_id: int, session_id: str) -> bool:
    """Close the session and delete its messages. Return False if no such session was active.

    Two statements in one transaction: the second sees what was written while the first waited for the row lock.
    """
    sessions = table(schema, MemorySession)
    sql = f"""
UPDATE {sessions}
SET is_active = false, generation = %(generation)s, turns_count = 0, last_sequence = 0, last_invocation_id = NULL,
    updated_at = %(now)s
WHERE agent_id = %(agent)s AND session_id = %(session)s AND is_active RETURNING id;
DELETE FROM {table(schema, MemoryMessage)} m USING {sessions} s
WHERE m.session_id = s.id AND s.agent_id = %(agent)s AND s.session_id = %(session)s AND NOT s.is_active
"""
    arguments = {
        "agent": agent_id,
        "session": session_id,
        "generation": secrets.randbits(62),
        "now": clock.now(),
    }
    return bool(writer.execute(sql, arguments))


def delete_orphans(schema: str) -> None:
    """Delete rows that were written while their agent or session was being deleted."""
    sessions, messages = table(schema, MemorySession), table(schema, MemoryMessage)
    writer.execute(
        f"""
DELETE FROM {sessions} s
WHERE s.last_active_at < now() - interval '1 hour'
    AND NOT s.is_on_hold AND NOT EXISTS (SELECT 1 FROM {table(schema, AgentConfig)} a WHERE a.id = s.agent_id);
DELETE FROM {messages} m WHERE NOT EXISTS (SELECT 1 FROM {sessions} s WHERE s.id = m.session_id)
""",
        {},
    )


_IS_IDLE = "last_active_at < %(now)s - make_interval(days => %(days)s::int) AND NOT is_on_hold"


def count_idle(schema: str, days: int) -> int:
    """How many sessions ``delete_idle()`` would delete."""
    sql = f"SELECT count(*) FROM {table(schema, MemorySession)} WHERE {_IS_IDLE}"
    ((count,),) = writer.query(sql, {"now": clock.now(), "days": days})
    return int(count)


def delete_idle(schema: str, days: int) -> int:
    """Delete the sessions that have been idle for that many days. Return how many."""
    sql = f"""
WITH idle AS (
    SELECT id FROM {table(schema, MemorySession)} WHERE {_IS_IDLE}
    ORDER BY last_active_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
),
deleted_messages AS (DELETE FROM {table(schema, MemoryMessage)} m USING idle WHERE m.session_id = idle.id)
DELETE FROM {table(schema, MemorySession)} s USING idle WHERE s.id = idle.id RETURNING s.id
"""
    deleted = 0
    while rows := writer.execute(sql, {"now": clock.now(), "days": days, "batch": _BATCH}):
        deleted += len(rows)
    return deleted
