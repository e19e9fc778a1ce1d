"""What people decide of tool calls that need approval."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from datetime import datetime


class Verdict(enum.StrEnum):
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    """Approved too late, or never decided."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision on one call."""

    verdict: Verdict
    reason: str = ""
    """Why the call was denied. The model is told."""
    by: str = ""

    def at(self, now: datetime, expires_at: datetime) -> Decision:
        """The decision as it counts now: an approval after ``expires_at`` has expired."""
        is_late = self.verdict is Verdict.APPROVED and expires_at <= now
        return replace(self, verdict=Verdict.EXPIRED) if is_late else self

    @property
    def text(self) -> str:
        """For the log: ``approved``, ``expired``, or ``denied`` with the reason."""
        return f"{self.verdict} {self.reason}".rstrip()
