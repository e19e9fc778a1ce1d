"""What a person decided about a tool call that requires approval."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from .. import redaction, sanitize


class Verdict(enum.StrEnum):
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Approved too late, or not decided at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalDecision:
    """The decision about one call."""

    verdict: Verdict
    reason: str = ""
    """Why the call was denied. The model is told."""
    decided_by: str = ""
    decided_at: datetime
    arguments: Mapping[str, Any] | None = None
    """The arguments to call the tool with, if the person has changed them."""

    def within(self, expires_at: datetime) -> ApprovalDecision:
        """The decision, with an approval after ``expires_at`` turned into ``EXPIRED``."""
        is_late = self.verdict is Verdict.APPROVED and expires_at <= self.decided_at
        return replace(self, verdict=Verdict.EXPIRED, arguments=None) if is_late else self

    @property
    def text(self) -> str:
        """The log's text: ``approved``, ``expired``, or ``denied`` with the reason."""
        return f"{self.verdict} {self.reason}".rstrip()

    @property
    def columns(self) -> dict[str, Any]:
        """Its columns in the call's row."""
        return {
            "decision": redaction.text(self.text),
            "decided_by": sanitize.text(self.decided_by),
            "decided_at": self.decided_at,
            "approved_arguments": None if self.arguments is None else redaction.document(self.arguments),
        }

    def to_json(self) -> dict[str, Any]:
        """For the state of a run that a worker resumes."""
        return {
            "verdict": self.verdict.value,
            "reason": self.reason,
            "decided_by": self.decided_by,
            "decided_at": self.decided_at.isoformat(),
            "arguments": None if self.arguments is None else dict(self.arguments),
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ApprovalDecision:
        return cls(
            verdict=Verdict(stored["verdict"]),
            reason=stored["reason"],
            decided_by=stored["decided_by"],
            decided_at=datetime.fromisoformat(stored["decided_at"]),
            arguments=stored["arguments"],
        )
