"""What comes from one peer although it was cancelled, to have other requests in front. Pure.

A cancel travels, and what the peer has written to its socket is not cancelled by it. So the first requests of the line
are left alone: those that it delivers in a round trip, or as many as have come in spite of a cancel before. What was
cancelled and is not answered yet may come in front of what is pending.
"""

from __future__ import annotations

import math

from geventbt.client.swarm.pace import Pace

_ANSWERED = 1.0
"""Seconds after which what was cancelled has come, or never will."""


class CancelledRequests:
    """The cancelled requests of one peer.

    Args:
        pace: of the peer.
    """

    __slots__ = ("_came", "_cancelled_at", "_committed", "_may_come", "_pace")

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._cancelled_at = float("-inf")
        self._came = self._may_come = self._committed = 0

    @property
    def under_way(self) -> int:
        """How many of the pending blocks would come although they are cancelled."""
        return max(self._committed, math.ceil(self._pace.delay / self._pace.interval))

    def ghosts(self, owed: int, now: float) -> int:
        """How many blocks may come in front of those that are pending, although they were cancelled.

        Args:
            owed: how many answers to what was cancelled are owed. Some peers never answer.
            now: the time.
        """
        return owed if now < self._cancelled_at + _ANSWERED + owed * self._pace.interval else 0

    def on_cancel(self, kept: int, count: int, now: float) -> None:
        """Note that requests were cancelled.

        Args:
            kept: how many of the first were not, as they would come anyway.
            count: how many were.
            now: the time.
        """
        self._came, self._may_come = kept, count
        self._cancelled_at = now

    def on_late_block(self) -> None:
        """Note that a block came that was given up."""
        if self._may_come:
            self._may_come -= 1
            self._came += 1
            self._committed = max(self._committed, self._came)

    def fade(self) -> None:
        """Forget some of what came: to be called each second in which blocks are waited for."""
        self._committed -= self._committed > 0
