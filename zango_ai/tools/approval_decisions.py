"""What a person decided about a tool call that requires approval."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime


class Verdict(enum.StrEnum):
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Approved too late, or not decided at all."""


@dataclass(frozen=True, slots=True)
class ApprovalDecision:
    """The decision about one call."""

    verdict: Verdict
    reason: str = ""
    """Why the call was denied. The model is told."""
    decided_by: str = ""

    def as_of(self, now: datetime, expires_at: datetime) -> ApprovalDecision:
        """The decision, with an approval after ``expires_at`` turned into ``EXPIRED``."""
        is_late = self.verdict is Verdict.APPROVED and expires_at <= now
        return replace(self, verdict=Verdict.EXPIRED) if is_late else self

    @property
    def text(self) -> str:
        """The log's text: ``approved``, ``expired``, or ``denied`` with the reason."""
        return f"{self.verdict} {self.reason}".rstrip()
