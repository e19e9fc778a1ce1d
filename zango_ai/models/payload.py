"""Logged texts that many rounds share, such as a system prompt or the history of a conversation."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.sql.compiler import SQLCompiler
from django.utils.translation import gettext_lazy as _


class Payload(models.Model):
    """A message, a block of messages, or a list of tools, stored once and referred to by many rounds."""

    digest = models.UUIDField(primary_key=True)
    """A hash of the user and of ``content``. So two users never share a row, and erasing one keeps the other's."""
    content = models.JSONField(_("content"))
    owner = models.BigIntegerField(null=True)
    """A hash of the user's ``user_ref``; None for runs without a user."""
    last_used_on = models.DateField(_("last used"), db_index=True)
    """The last day (UTC) on which a round has referred to it."""

    class Meta:
        verbose_name = _("stored text")
        verbose_name_plural = _("stored texts")
        indexes = [
            models.Index(fields=["owner"], condition=models.Q(owner__isnull=False), name="zango_ai_payload_owner")
        ]

    def __str__(self) -> str:
        return str(self.digest)


class PayloadListField(models.JSONField):
    """A JSON list whose long items are stored in ``Payload``. Queries return the list with these items in place.

    The column contains the short items themselves, and the digest of each long one as 22 characters of base64. A
    payload that is a list stands for all its items. PostgreSQL resolves the digests in the query that selects the
    column, so a query takes one statement for any number of rounds. Lookups such as ``__contains`` see the column.
    """

    def select_format(self, compiler: SQLCompiler, sql: str, params: Any) -> tuple[str, Any]:
        """Called by Django for each selected column. A part of the JSON (with ``params``) is not resolved."""
        if compiler.connection.vendor != "postgresql":
            return sql, params  # without PostgreSQL there are no runs, and so no rounds
        quote = compiler.connection.ops.quote_name
        if params or not sql.endswith(f".{quote(str(self.column))}"):
            return sql, params
        return _RESOLVED.format(column=sql, payloads=quote(Payload._meta.db_table)), params


_RESOLVED = """
CASE WHEN jsonb_path_exists({column}, '$[*] ? (@.type() == "string")') THEN (
    SELECT jsonb_agg(resolved.item ORDER BY listed.position, resolved.position)
    FROM jsonb_array_elements({column}) WITH ORDINALITY AS listed(item, position)
    CROSS JOIN LATERAL (SELECT CASE jsonb_typeof(listed.item)
        WHEN 'string' THEN coalesce((
            SELECT payload.content FROM {payloads} payload
            WHERE payload.digest = encode(decode((listed.item #>> '{{}}') || '==', 'base64'), 'hex')::uuid
        ), '{{"role": "removed", "content": ""}}')
        ELSE listed.item
    END AS item) AS found
    CROSS JOIN LATERAL jsonb_array_elements(
        CASE jsonb_typeof(found.item) WHEN 'array' THEN found.item ELSE jsonb_build_array(found.item) END
    ) WITH ORDINALITY AS resolved(item, position)
) ELSE {column} END
"""
