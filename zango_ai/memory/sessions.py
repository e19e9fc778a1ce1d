"""Conversations: recall them before a run, remember a turn after it.

They are written on the ledger's connection, one statement each. So a turn outlives the rollback of the caller's
transaction, just as the answer that was given and paid for does; and nobody waits for a session while its last
caller's transaction is open. Runs on one session work at the same time; each turn is stored whole, in the order in
which they end.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.db import Error

from .. import sanitize
from ..database import writer
from ..database.writer import table
from ..exceptions import SessionNotOwned
from ..ledger import clock, outcomes, transcript
from ..ledger.run_state import SavedSession
from ..models import AgentConfig, MemoryMessage, MemorySession
from ..types import AgentSpec, LLMMessage
from . import window

_MAX_ID_CHARS = 255
_BATCH = 500
_FETCHED = (1, 4, 16)
"""How many messages of the user are fetched for each pair: more where a turn holds several, or has no answer."""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation as a run finds it."""

    agent_id: int
    session_id: str
    user_ref: str
    generation: int
    """Of this opening: a run writes into the one that it began in, and into no later one."""
    history: tuple[LLMMessage, ...] = ()
    """What is sent before this turn."""
    is_new: bool = False
    """Under an id that was made: its row is written with its first turn."""

    def saved(self) -> SavedSession:
        """The session without its history, for a run that stops."""
        return SavedSession(**{field.name: getattr(self, field.name) for field in fields(SavedSession)})

    @classmethod
    def restored(cls, saved: SavedSession) -> Session:
        """The session of a run that goes on: its state has the messages that are sent."""
        return cls(**{field.name: getattr(saved, field.name) for field in fields(SavedSession)})


def require_session_id(session_id: object) -> None:
    """Raises ValueError, TypeError."""
    if session_id is None:
        return
    if not isinstance(session_id, str):
        raise TypeError(f"session_id is a {type(session_id).__name__}; pass a str.")
    if not (0 < len(session_id) <= _MAX_ID_CHARS and session_id.isprintable()):
        raise ValueError(
            f"session_id must be 1 to {_MAX_ID_CHARS} printable characters. Leave it out for a new one."
        )


def open_session(agent: AgentSpec, session_id: str | None, user_ref: object) -> Session:
    """The conversation of that id, or a new one. Raises SessionNotOwned, LogUnavailable."""
    who = "" if user_ref is None else sanitize.shown(user_ref)
    if user_ref is not None and who != str(user_ref):
        # Stored as something else, it could be somebody else's.
        raise ValueError("user_ref holds characters that cannot be stored, or is too long to own a session.")
    generation = secrets.randbits(62)
    if session_id is None:
        return Session(agent.id, secrets.token_urlsafe(24), who, generation, is_new=True)
    arguments = {
        "agent": agent.id,
        "session": session_id,
        "user": who,
        "generation": generation,
        "now": clock.now(),
    }
    try:
        for pairs in (agent.memory_pairs * factor for factor in _FETCHED):
            owner, generation, start, rows = _opened(agent.schema, {**arguments, "pairs": pairs})
            messages = map(_message, json.loads(rows))
            recalled = window.window(messages, agent.memory_pairs, is_beginning=start <= 1)
            if recalled.is_full or start <= 1:
                break
    except Error as exc:
        raise outcomes.unavailable(f"The conversations of schema {agent.schema!r} cannot be read", exc) from exc
    if owner not in {"", who}:
        raise SessionNotOwned(
            session_id,
            f"Session {session_id!r} of agent {agent.name!r} was opened with another user_ref. Pass the one that "
            "it was opened with, or leave session_id out for a new session.",
        )
    return Session(agent.id, session_id, owner, generation, recalled.messages)


def _opened(schema: str, arguments: dict[str, Any]) -> tuple[str, int, int, str]:
    """What ``_recall()`` finds, of a session that is opened if there is none."""
    while True:
        for is_active, *found in writer.execute(_recall(schema), arguments):
            if is_active:
                return tuple(found)
        sql = _claim(schema)
        writer.execute(sql, arguments)
        writer.remember(sql, arguments)


def _message(row: dict[str, Any]) -> LLMMessage:
    made = row["tool_calls"] if isinstance(row["tool_calls"], list) else ()  # too long a list was cut to a note
    return LLMMessage(row["role"], row["content"], transcript.calls_from_json(made), row["tool_call_id"])


def _recall(schema: str) -> str:
    """Active or not, owner, generation, the first number fetched, and the newest messages: to nobody but the owner.

    Fetches from the user's ``pairs`` + 1st newest message on. What is sent of that, ``memory.window`` decides.
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
        -- Each by its number: of a range the planner believes that it is a third of the session.
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


def _claim(schema: str) -> str:
    """Open the session for whoever comes first, also one that was cleared."""
    return f"""
INSERT INTO {table(schema, MemorySession)} AS s
    (agent_id, session_id, user_ref, generation, last_active_at, created_at, updated_at)
VALUES (%(agent)s, %(session)s, %(user)s, %(generation)s, %(now)s, %(now)s, %(now)s)
ON CONFLICT (agent_id, session_id) DO UPDATE
SET is_active = true, user_ref = EXCLUDED.user_ref, generation = EXCLUDED.generation,
    last_active_at = %(now)s, updated_at = %(now)s
WHERE NOT s.is_active
"""


def remember(schema: str, session: Session, turn: Sequence[LLMMessage], invocation_id: int | None) -> None:
    """Store a turn at the end of its conversation; not where that was cleared since the run began."""
    calls = [transcript.calls_to_json(message.tool_calls) for message in turn]
    sql = f"""
WITH session AS ({_begun(schema) if session.is_new else _continued(schema)})
INSERT INTO {table(schema, MemoryMessage)}
    (session_id, sequence, role, content, tool_calls, tool_call_id, invocation_id, created_at, updated_at)
SELECT session.id, session.last_sequence - %(count)s + w.position,
    w.role, w.content, w.tool_calls::jsonb, w.tool_call_id, %(invocation)s, %(now)s, %(now)s
FROM session, unnest(%(roles)s::text[], %(contents)s::text[], %(calls)s::text[], %(answers)s::text[])
    WITH ORDINALITY AS w(role, content, tool_calls, tool_call_id, position)
"""
    arguments = {
        "agent": session.agent_id,
        "session": session.session_id,
        "user": session.user_ref,
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
    writer.remember(sql, arguments)


def _begun(schema: str) -> str:
    """Executed again, it finds the row there, and the turn with it."""
    return f"""
    INSERT INTO {table(schema, MemorySession)}
        (agent_id, session_id, user_ref, generation, turns_count, last_sequence, last_invocation_id,
            last_active_at, created_at, updated_at)
    VALUES (%(agent)s, %(session)s, %(user)s, %(generation)s, 1, %(count)s, %(invocation)s,
        %(now)s, %(now)s, %(now)s)
    ON CONFLICT (agent_id, session_id) DO NOTHING
    RETURNING id, last_sequence
"""


def _continued(schema: str) -> str:
    """The row's own columns are read under its lock; the messages as they were when the statement began."""
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
    RETURNING id, last_sequence
"""


def clear(schema: str, agent_id: int, session_id: str) -> bool:
    """Delete the conversation's messages; False where there was none.

    Two statements of one transaction: the second sees what was written while the first waited for the row.
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
    cleared = writer.execute(sql, arguments)
    writer.remember(sql, arguments)
    return bool(cleared)


def delete_orphans(schema: str) -> None:
    """Delete what was written while its agent or its session was being deleted."""
    sessions, messages = table(schema, MemorySession), table(schema, MemoryMessage)
    writer.execute(
        f"""
DELETE FROM {sessions} s
WHERE s.last_active_at < now() - interval '1 hour'
    AND NOT EXISTS (SELECT 1 FROM {table(schema, AgentConfig)} a WHERE a.id = s.agent_id);
DELETE FROM {messages} m WHERE NOT EXISTS (SELECT 1 FROM {sessions} s WHERE s.id = m.session_id)
""",
        {},
    )


def delete_idle(schema: str, days: int) -> int:
    """Delete the conversations that nobody has continued for so many days; how many."""
    sql = f"""
WITH idle AS (
    SELECT id FROM {table(schema, MemorySession)}
    WHERE last_active_at < %(now)s - make_interval(days => %(days)s::int)
    ORDER BY last_active_at LIMIT %(batch)s FOR UPDATE SKIP LOCKED
),
gone AS (DELETE FROM {table(schema, MemoryMessage)} m USING idle WHERE m.session_id = idle.id)
DELETE FROM {table(schema, MemorySession)} s USING idle WHERE s.id = idle.id RETURNING s.id
"""
    deleted = 0
    while rows := writer.execute(sql, {"now": clock.now(), "days": days, "batch": _BATCH}):
        deleted += len(rows)
    return deleted
