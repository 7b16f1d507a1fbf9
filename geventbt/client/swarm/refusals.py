"""What is not requested, and for how long, from a peer that rejects requests although it does not choke us. Pure.

A piece of which it has rejected a block is left aside while it has others. A peer that rejects all is left alone.
"""

from __future__ import annotations

from collections.abc import Collection

from geventbt import limits

FIRST_BACKOFF, MAX_BACKOFF_STEPS = 0.5, 7
"""Seconds in which nothing is requested from a peer that rejects everything, doubled each time it does so again: to
about a minute."""
_ASIDE = 5.0
"""Seconds in which a piece of which a block was rejected is left aside. It may only have been one request too many."""


class Refusals:
    """The rejects of one peer.

    Attributes:
        is_news: whether it has rejected requests since the last call of `settle`.
    """

    __slots__ = ("_has_delivered", "_pieces", "_steps", "_until", "is_news")

    def __init__(self) -> None:
        self.is_news = False
        self._has_delivered = False
        self._steps = 0
        self._until = 0.0
        self._pieces: dict[int, float] = {}

    def on_reject(self, piece: int, now: float) -> None:
        """Note that a block of a piece was rejected."""
        self.is_news = True
        if len(self._pieces) < limits.REFUSED_PIECES:
            self._pieces[piece] = now + _ASIDE

    def pieces(self, now: float) -> Collection[int]:
        """The pieces to be left aside while the peer has others."""
        if self._pieces:
            self._pieces = {piece: until for piece, until in self._pieces.items() if until > now}
        return self._pieces

    def is_backing_off(self, now: float) -> bool:
        """Whether nothing is to be requested for now."""
        return now < self._until

    def pause(self, until: float) -> None:
        """Request nothing until a time."""
        self._until = until

    def on_delivery(self) -> None:
        """Note that blocks have come."""
        self._steps = 0
        self._has_delivered = True

    def settle(self, now: float, *, is_idle: bool) -> None:
        """Judge the rejects that were read together.

        Args:
            now: the time.
            is_idle: whether nothing else is pending. If the peer has not delivered either since the last time, nothing
                is requested for a while, the longer the more often that happens.
        """
        self.is_news = False
        if not is_idle:
            return
        if not self._has_delivered:
            self._until = now + FIRST_BACKOFF * 2.0**self._steps
            self._steps = min(self._steps + 1, MAX_BACKOFF_STEPS)
        self._has_delivered = False
