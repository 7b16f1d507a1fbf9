"""Spreads what a window allows over the round trip: a burst fills queues that the same bytes, one by one, would not."""

from __future__ import annotations

from geventbt import limits

_HEADROOM = 1.25
"""How much faster than one window in a round trip packets may leave."""
_STARTING_HEADROOM = 2.0


class Pacer:
    """Allows bytes at the rate of a window in a round trip, a little of it at once.

    Args:
        packet: bytes of a full packet, of which two may always leave at once.
    """

    __slots__ = ("_at", "_credit", "_packet", "_rate")

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self._rate = float("inf")
        self._credit = 0.0
        self._at = 0.0

    def allowance(self, window: float, round_trip: float | None, now: float, *, is_starting: bool) -> float:
        """The bytes that may leave now.

        Args:
            window: bytes that may be on their way.
            round_trip: seconds; None while it is not known: then there is no limit.
            now: the time.
            is_starting: whether the window doubles.
        """
        if not round_trip:
            return float("inf")
        self._rate = window * (_STARTING_HEADROOM if is_starting else _HEADROOM) / round_trip
        burst = max(2 * self._packet, self._rate * limits.UTP_BURST_TIME)
        self._credit = min(burst, self._credit + (now - self._at) * self._rate)
        self._at = now
        return self._credit

    def spend(self, size: int) -> None:
        """Note that bytes have left."""
        self._credit -= size

    def ready_at(self, now: float) -> float:
        """When the next packet may leave."""
        missing = self._packet - self._credit
        return now + max(limits.UTP_MIN_TIMER, missing / self._rate) if missing > 0 else now
