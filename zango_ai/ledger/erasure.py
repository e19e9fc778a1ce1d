"""Erase what a user has said and been told: texts, files, conversations. Numbers stay.

A conversation that was opened without a user is open to any. If the user took part in one, its messages are deleted
and the texts of all its runs are removed, because the other runs have sent the user's messages as their history.
Each message names its user, also after its run was deleted. If the conversation is gone or has another user by now,
the runs with its ID tell who took part in it.

Each batch is one statement or transaction. An erasure that was interrupted can be repeated: the user's own runs
come last, because they lead to the shared conversations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ..database import writer
from ..database.sql import table
from ..exceptions import SessionNotOwned
from ..models import Invocation, InvocationFile, InvocationRound, MemoryMessage, MemorySession, Payload, ToolCall
from ..models.invocation import KEY_CHARS
from . import payloads, removal, retention, stored_files, unused_texts

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is erased of a user, or would be, in rows."""

    counts: dict[str, int]
    """The number of rows by the name of their kind."""
    in_progress: int
    """Unfinished runs of the user, or in conversations to erase. While there are any, nothing is erased."""
    held: int
    """Runs and conversations that are kept because of a legal hold."""


def plan(schema: str, user_ref: str) -> Erasure:
    """What there is to erase."""
    runs, shared = _runs(schema, user_ref), _shared_sessions(schema, user_ref)
    own = _own_sessions(schema, user_ref)
    return Erasure(
        {
            "runs": len(runs),
            **_count_parts(schema, runs),
            "conversations": len(own) + len(shared),
            "messages": _count(schema, MemoryMessage, "session_id = ANY(%(ids)s::bigint[])", ids=own + shared),
            "stored texts": len(_payloads(schema, user_ref)),
        },
        _count_in_progress(schema, user_ref, shared),
        _count_held(schema, user_ref),
    )


def erase(schema: str, user_ref: str) -> None:
    """Erase everything that ``plan()`` counts."""
    shared = _shared_sessions(schema, user_ref)
    own = set(_own_runs(schema, user_ref))
    for ids in _batches([run for run in _runs(schema, user_ref) if run not in own]):
        _remove_texts_of_others(schema, ids)
    _clear(schema, shared)
    _delete_sessions(schema, _own_sessions(schema, user_ref))
    for ids in _batches(_own_runs(schema, user_ref)):
        removal.remove_texts(schema, ids)
    unused_texts.delete(schema, _payloads(schema, user_ref), [user_ref])


def _remove_texts_of_others(schema: str, runs: Sequence[int]) -> None:
    stored_files.delete_content(schema, runs)
    unused_texts.delete(
        schema, _references_of(schema, runs), _users_of(schema, runs), removal=removal.texts_removal(schema, runs)
    )


def _own_runs(schema: str, user_ref: str) -> list[int]:
    condition = f"i.user_ref = %(user)s AND {_ERASABLE} AND NOT {retention.is_held(schema)}"
    return _ids(f"SELECT i.id FROM {table(schema, Invocation)} i WHERE {condition} ORDER BY 1", user=user_ref)


def _runs(schema: str, user_ref: str) -> list[int]:
    """The user's runs, and those of others in conversations that the user took part in."""
    sql = f"""
SELECT i.id FROM {table(schema, Invocation)} i JOIN {table(schema, MemorySession)} s
    ON s.agent_id = i.agent_id AND s.session_id = i.session_id
WHERE s.id = ANY(%(sessions)s::bigint[]) AND {_ERASABLE} AND NOT {retention.is_held(schema)}
"""
    others = _ids(sql, sessions=_shared_sessions(schema, user_ref))
    condition = f"{_joined_user(schema)} AND {_ERASABLE} AND NOT {retention.is_held(schema)}"
    joined = _ids(f"SELECT i.id FROM {table(schema, Invocation)} i WHERE {condition}", user=user_ref)
    return sorted({*_own_runs(schema, user_ref), *others, *joined})


def _joined_user(schema: str) -> str:
    """The condition that a run ``i`` of another user was in a conversation after the user, or at the same time.

    It does not need the conversation's row. Left out are runs that another user's conversation of the same ID still
    remembers: it was opened empty. So are runs that began after the user's texts were removed.
    """
    runs, refused = table(schema, Invocation), SessionNotOwned.__name__
    return f"""(i.user_ref <> %(user)s AND i.error_type <> '{refused}' AND EXISTS (
    SELECT 1 FROM {runs} u
    WHERE u.user_ref = %(user)s AND u.error_type <> '{refused}' AND u.agent_id = i.agent_id
        -- The index has the start of the ID.
        AND left(u.session_id, {KEY_CHARS}) = left(i.session_id, {KEY_CHARS}) AND u.session_id = i.session_id
        AND (i.finished_at IS NULL OR i.finished_at >= u.created_at)
        AND (u.payload_removed_at IS NULL OR i.created_at <= u.payload_removed_at)
) AND NOT EXISTS (
    SELECT 1 FROM {table(schema, MemoryMessage)} m JOIN {table(schema, MemorySession)} s ON s.id = m.session_id
    WHERE m.invocation_id = i.id AND s.user_ref NOT IN ('', %(user)s)
))"""


_ERASABLE = f"i.payload_removed_at IS NULL AND {retention.is_finished()}"


def _own_sessions(schema: str, user_ref: str) -> list[int]:
    sql = f"SELECT id FROM {table(schema, MemorySession)} WHERE user_ref = %(user)s AND NOT is_on_hold"
    return _ids(sql, user=user_ref)


def _shared_sessions(schema: str, user_ref: str) -> list[int]:
    """The conversations that are open to any user or belong to another, and contain something of this one."""
    return _ids(_shared_sql(schema, "NOT s.is_on_hold"), user=user_ref)


def _shared_sql(schema: str, condition: str) -> str:
    runs, sessions, messages = (table(schema, model) for model in (Invocation, MemorySession, MemoryMessage))
    return f"""
SELECT s.id FROM {sessions} s
JOIN {runs} i ON i.agent_id = s.agent_id AND i.session_id = s.session_id
WHERE i.user_ref = %(user)s AND s.user_ref = '' AND i.payload_removed_at IS NULL AND {condition}
UNION
SELECT s.id FROM {runs} i JOIN {messages} m ON m.invocation_id = i.id JOIN {sessions} s ON s.id = m.session_id
WHERE i.user_ref = %(user)s AND s.user_ref = '' AND {condition}
UNION
SELECT s.id FROM {messages} m JOIN {sessions} s ON s.id = m.session_id
WHERE {OF_USER} AND s.user_ref <> %(user)s AND {condition}
"""


OF_USER = f"""(
    -- The index has the start of the user, and no messages of nobody.
    left(m.user_ref, {KEY_CHARS}) = left(%(user)s, {KEY_CHARS}) AND m.user_ref <> '' AND m.user_ref = %(user)s
)"""
"""The condition that a message ``m`` is the user's."""


def _count_parts(schema: str, runs: Sequence[int]) -> dict[str, int]:
    """The rows that belong to the runs."""
    rounds = table(schema, InvocationRound)
    of_rounds = f"round_id IN (SELECT id FROM {rounds} WHERE invocation_id = ANY(%(ids)s::bigint[]))"
    of_runs = "invocation_id = ANY(%(ids)s::bigint[])"
    parts = {"rounds": _count(schema, InvocationRound, of_runs, ids=runs)}
    parts["tool calls"] = _count(schema, ToolCall, of_rounds, ids=runs)
    parts["files"] = _count(schema, InvocationFile, of_runs, ids=runs)
    for model in removal.parts_of_runs():
        if model is not InvocationFile:
            parts[str(model._meta.verbose_name_plural)] = _count(schema, model, of_runs, ids=runs)
    return parts


def _count_in_progress(schema: str, user_ref: str, shared: Sequence[int]) -> int:
    """Another user's run in a shared conversation may have sent the user's messages as its history."""
    is_theirs = f"""(i.user_ref = %(user)s OR {_joined_user(schema)} OR EXISTS (
    SELECT 1 FROM {table(schema, MemorySession)} s
    WHERE s.id = ANY(%(shared)s::bigint[]) AND s.agent_id = i.agent_id AND s.session_id = i.session_id
))"""
    condition = f"NOT {retention.is_finished()} AND {is_theirs}"
    return _count(schema, Invocation, condition, user=user_ref, shared=list(shared))


def _count_held(schema: str, user_ref: str) -> int:
    runs = f"user_ref = %(user)s AND payload_removed_at IS NULL AND {retention.is_held(schema)}"
    sessions = "user_ref = %(user)s AND is_on_hold"
    counted = _count(schema, Invocation, runs, user=user_ref)
    others = f"i.is_on_hold AND i.payload_removed_at IS NULL AND {_joined_user(schema)}"
    counted += _count(schema, Invocation, others, user=user_ref)
    counted += len(_ids(_shared_sql(schema, "s.is_on_hold"), user=user_ref))
    return counted + _count(schema, MemorySession, sessions, user=user_ref)


def _payloads(schema: str, user_ref: str) -> list[UUID]:
    """The digests of the user's payloads, without those that a run on hold refers to."""
    held = f"i.user_ref = %(user)s AND i.payload_removed_at IS NULL AND {retention.is_held(schema)}"
    sql = f"""
SELECT p.digest FROM {table(schema, Payload)} p
WHERE p.owner = %(owner)s AND p.digest NOT IN ({unused_texts.references_sql(schema, held)})
"""
    return [digest for (digest,) in writer.query(sql, {"user": user_ref, "owner": payloads.owner_of(user_ref)})]


def _references_of(schema: str, runs: Sequence[int]) -> list[UUID]:
    """The digests of the payloads that the runs refer to."""
    sql = unused_texts.references_sql(schema, "i.id = ANY(%(ids)s::bigint[])")
    return [digest for (digest,) in writer.query(sql, {"ids": list(runs)})]


def _users_of(schema: str, runs: Sequence[int]) -> list[str]:
    sql = f"SELECT DISTINCT user_ref FROM {table(schema, Invocation)} WHERE id = ANY(%(ids)s::bigint[])"
    return [user for (user,) in writer.query(sql, {"ids": list(runs)})]


def _clear(schema: str, sessions: Sequence[int]) -> None:
    """Delete the messages of these conversations, so that they start over."""
    sql = f"""
WITH cleared AS (
    UPDATE {table(schema, MemorySession)} SET is_active = false, generation = generation + 1, turns_count = 0,
        last_sequence = 0, last_invocation_id = NULL
    WHERE id = ANY(%(ids)s::bigint[]) RETURNING id
)
DELETE FROM {table(schema, MemoryMessage)} m USING cleared WHERE m.session_id = cleared.id
"""
    for ids in _batches(sessions):
        writer.execute(sql, {"ids": ids})


def _delete_sessions(schema: str, sessions: Sequence[int]) -> None:
    sql = f"""
WITH messages AS (DELETE FROM {table(schema, MemoryMessage)} WHERE session_id = ANY(%(ids)s::bigint[]))
DELETE FROM {table(schema, MemorySession)} WHERE id = ANY(%(ids)s::bigint[])
"""
    for ids in _batches(sessions):
        writer.execute(sql, {"ids": ids})


def _count(schema: str, model: Any, condition: str, **arguments: Any) -> int:
    ((count,),) = writer.query(f"SELECT count(*) FROM {table(schema, model)} i WHERE {condition}", arguments)
    return int(count)


def _ids(sql: str, **arguments: Any) -> list[int]:
    return [row_id for (row_id,) in writer.query(sql, arguments)]


def _batches(items: Sequence[Any]) -> list[list[Any]]:
    return [list(items[start : start + _BATCH]) for start in range(0, len(items), _BATCH)]
