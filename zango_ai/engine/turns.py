"""The one loop of the package, as a generator: it yields what it needs done and is sent the results.

Whoever drives it decides how to wait: ``drivers.drive`` blocks. A failure of what was asked for is thrown
into the generator, so that retries and fallbacks are decided here, once, for every way of driving.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

from ..types import ModelAnswer, ModelRequest


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model; send back its ModelAnswer. ``number`` counts the calls to the provider from 1."""

    number: int
    request: ModelRequest


Turns = Generator[Ask, ModelAnswer, ModelAnswer]
"""Yields steps, is sent their results, returns the answer that ends the run."""


def converse(request: ModelRequest) -> Turns:
    """One question, one answer."""
    return (yield Ask(1, request))
