"""How long nothing is requested from a peer that rejects requests although it does not choke us. Pure."""

from __future__ import annotations

FIRST_BACKOFF, MAX_BACKOFF_STEPS = 0.5, 7
"""Seconds in which nothing is requested from a peer that rejects everything, doubled each time it does so again: to
about a minute."""


class Refusals:
    """The rejects of one peer.

    Attributes:
        is_news: whether it has rejected requests since the last call of `settle`.
    """

    __slots__ = ("_has_delivered", "_steps", "_until", "is_news")

    def __init__(self) -> None:
        self.is_news = False
        self._has_delivered = False
        self._steps = 0
        self._until = 0.0

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
