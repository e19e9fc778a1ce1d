"""The ledger's own INSERTs fill in every column that has to be filled in. These tests commit."""

import re
from collections import defaultdict
from contextlib import suppress

import pytest
from django.db.models import NOT_PROVIDED

from tests.build import make_agent_with
from zango_ai import LLMFile, get_agent, tool
from zango_ai.database import writer
from zango_ai.exceptions import ZangoAIError
from zango_ai.models import (
    Invocation,
    InvocationFile,
    InvocationRound,
    MemoryMessage,
    MemorySession,
    Payload,
    RateLimitState,
    Spend,
    ToolCall,
    ToolUsage,
    UsageRollup,
)
from zango_ai.testing import Call, Reply

pytestmark = pytest.mark.usefixtures("live_north")
INSERTED = (
    *(Invocation, InvocationFile, InvocationRound, MemoryMessage),
    *(MemorySession, Payload, RateLimitState, Spend, ToolCall, ToolUsage, UsageRollup),
)
INSERT = re.compile(r'INSERT INTO "north"\."(\w+)"(?: AS \w+)?\s*\(([^)]*)\)')


@tool(description="Nod.", rate_limit=60)
def nod() -> str:
    return "nodded"


@pytest.fixture
def inserts(monkeypatch):
    """The columns of each INSERT that is executed, by table."""
    seen, really = defaultdict(list), writer.execute_on

    def once(connection, sql, params):
        for table, columns in INSERT.findall(sql):
            seen[table].append({name.strip().strip('"') for name in columns.split(",")})
        return really(connection, sql, params)

    monkeypatch.setattr(writer, "execute_on", once)
    return seen


def test_a_column_without_a_default_in_the_database_is_written_by_every_insert(model, inserts):
    """A NOT NULL column that is added with ``default=`` alone would make every run fail."""
    make_agent_with(model, nod, short_term_memory=True)
    file = LLMFile.from_bytes(b"hello", "text/plain", "a.txt")
    model.script(Reply(calls=[Call("nod")]), "done")
    get_agent("helper").run("hi", files=[file])
    get_agent("helper").run("hi", session_id="s")
    with suppress(ZangoAIError):
        get_agent("helper").run(variables={})  # fails before any call
    assert set(inserts) == {row._meta.db_table for row in INSERTED}
    for row in INSERTED:
        needed = {
            field.column
            for field in row._meta.concrete_fields
            if not (field.null or field.primary_key) and field.db_default is NOT_PROVIDED
        }
        for columns in inserts[row._meta.db_table]:
            assert needed <= columns, (row.__name__, needed - columns)
