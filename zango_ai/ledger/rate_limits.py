"""Limits per minute, by the generic cell rate algorithm (GCRA, ITU-T I.371).

A limit of n per minute lets n requests pass at once, then one every 60/n seconds. Each request uses a share of the
minute's allowance, measured in seconds.
"""

from __future__ import annotations


def share_s(amount: int, per_minute: int) -> float:
    """The seconds of the minute's allowance that ``amount`` requests or tokens use.

    A call that is larger than the whole allowance reserves all of it. Its real usage is charged when it is known.
    """
    return min(amount, per_minute) * 60 / per_minute
