"""Remove the texts of runs, or the runs themselves, with the stored content of their files.

The content is deleted before the rows that name it. So an interruption leaves rows, from which the next attempt
finds what is left to do, and never content that nothing names.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import CASCADE, Model

from ..database import writer
from ..database.sql import table
from ..models import Invocation, InvocationRound, MemoryMessage, Tool, ToolCall
from . import clock, stored_files


def remove_texts(schema: str, ids: Sequence[int]) -> int:
    """Remove the texts and files of these runs, and return of how many. Runs that are being written are skipped."""
    stored_files.delete_content(schema, ids)
    return len(writer.execute(*texts_removal(schema, ids)))


def texts_removal(schema: str, ids: Sequence[int]) -> writer.Statement:
    """The statement that removes the texts of these runs. Their files' content must be deleted before."""
    sql = f"""
WITH runs AS ({_locked_runs(schema)}),
calls AS (
    UPDATE {table(schema, ToolCall)} c
    SET arguments = NULL, approved_arguments = NULL, description = '', result = NULL, error_message = '',
        traceback = '', decision = split_part(c.decision, ' ', 1), call_id = '',
        -- The model may call a tool that does not exist, and writes its name.
        tool_name = coalesce((SELECT t.name FROM {table(schema, Tool)} t WHERE t.name = c.tool_name), '')
    FROM {table(schema, InvocationRound)} r, runs WHERE r.invocation_id = runs.id AND c.round_id = r.id
),
rounds AS (
    UPDATE {table(schema, InvocationRound)} r
    SET request_messages = '[]', request_tools = '[]', request_params = '{{}}', response_content = '',
        response_tool_calls = '[]', error_message = ''
    FROM runs WHERE r.invocation_id = runs.id
),
{_delete_parts(schema)}
UPDATE {table(schema, Invocation)} i
SET rendered_system_prompt = '', rendered_user_prompt = '', variables = NULL, system_variables = NULL,
    response_content = '', error_message = '', resume_state = '', payload_removed_at = %(now)s
FROM runs WHERE i.id = runs.id RETURNING i.id
"""
    return sql, {"ids": list(ids), "now": clock.now()}


def delete_runs(schema: str, ids: Sequence[int]) -> int:
    """Delete these runs with all that belongs to them, and return how many. Conversations keep their messages."""
    stored_files.delete_content(schema, ids)
    rounds = table(schema, InvocationRound)
    sql = f"""
WITH runs AS ({_locked_runs(schema)}),
messages AS (
    UPDATE {table(schema, MemoryMessage)} m SET invocation_id = NULL FROM runs WHERE m.invocation_id = runs.id
),
{_delete_parts(schema)},
calls AS (
    DELETE FROM {table(schema, ToolCall)} c USING {rounds} r, runs
    WHERE r.invocation_id = runs.id AND c.round_id = r.id
),
rounds AS (DELETE FROM {rounds} r USING runs WHERE r.invocation_id = runs.id)
DELETE FROM {table(schema, Invocation)} i USING runs WHERE i.id = runs.id RETURNING i.id
"""
    return len(writer.execute(sql, {"ids": list(ids)}))


def parts_of_runs() -> list[type[Model]]:
    """The models whose rows belong to a run and have only texts, such as its files."""
    related = (each.related_model for each in Invocation._meta.related_objects if each.on_delete is CASCADE)
    return [model for model in related if isinstance(model, type) and model is not InvocationRound]


def _delete_parts(schema: str) -> str:
    return ",\n".join(
        f"part{number} AS (DELETE FROM {table(schema, model)} p USING runs WHERE p.invocation_id = runs.id)"
        for number, model in enumerate(parts_of_runs())
    )


def references(round_: str) -> str:
    """A FROM item: the references to payloads in a row ``round_`` of ``InvocationRound``."""
    lists = f"{round_}.request_messages || {round_}.request_tools"
    return f"""(
        SELECT item #>> '{{}}' FROM jsonb_array_elements(
            CASE jsonb_typeof({lists}) WHEN 'array' THEN {lists} ELSE '[]' END
        ) AS items(item) WHERE jsonb_typeof(item) = 'string'
    )"""


def digest(reference: str) -> str:
    """The digest of a payload, as SQL, from a reference to it."""
    return f"encode(decode({reference} || '==', 'base64'), 'hex')::uuid"


def _locked_runs(schema: str) -> str:
    return f"""
    SELECT i.id FROM {table(schema, Invocation)} i WHERE i.id = ANY(%(ids)s::bigint[]) AND NOT i.is_on_hold
    ORDER BY i.id FOR UPDATE OF i SKIP LOCKED
"""
