"""What the doctor finds, and the checks that find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is, or a check with its findings."""

    OK = "ok"
    WARNING = "warning"
    """Something works worse than it should, or will stop working."""
    ERROR = "error"
    """Something does not work."""


_ORDER = list(Level)


def worst(levels: Iterable[Level]) -> Level:
    return max(levels, key=_ORDER.index, default=Level.OK)


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem."""

    id: str
    """The same in every release, for example ``doctor.providers.no_answer``."""
    level: Level
    where: str
    """The object at fault, for example ``provider main``; "" if the check's title says it."""
    problem: str
    remedy: str


def error(id: str, where: str, problem: str, remedy: str) -> Finding:
    return Finding(f"doctor.{id}", Level.ERROR, where, problem, remedy)


def warning(id: str, where: str, problem: str, remedy: str) -> Finding:
    return Finding(f"doctor.{id}", Level.WARNING, where, problem, remedy)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a check may look at."""

    schema: str
    """The active schema: that of the tenant, or the public one for a check of the project."""
    is_offline: bool


@dataclass(frozen=True, slots=True)
class Check:
    """One function that looks for problems."""

    name: str
    title: str
    find: Callable[[Scope], Iterator[Finding]]
    is_online: bool = False
    """Whether it calls servers other than the database. ``--offline`` skips it."""
    is_required: bool = False
    """Whether the checks after it make no sense if it finds an error."""


@dataclass(frozen=True, slots=True)
class Result:
    """One check and its findings."""

    check: Check
    findings: tuple[Finding, ...] = ()

    @property
    def level(self) -> Level:
        return worst(finding.level for finding in self.findings)
