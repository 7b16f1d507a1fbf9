"""Which connection gives its place up when all are taken and another peer waits. Pure.

A place is worth most to a peer that gives or takes blocks. First goes a peer where neither side is interested in the
other, then one that could exchange blocks and has not for a long time, such as one that chokes us for ever. A peer that
only waits until we unchoke it stays: that is our doing. Each peer has a time in which to become of use.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from geventbt import limits

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Place(Generic[T_co]):
    """A connection, as the decision needs to know it.

    Attributes:
        peer: whose it is.
        idle_since: when the last block went either way, or when it was connected; on the clock of `now`.
        am_interested, peer_interested: the states of BEP 3.
        am_choking: likewise.
    """

    peer: T_co
    idle_since: float
    am_interested: bool
    peer_interested: bool
    am_choking: bool

    @property
    def _is_pointless(self) -> bool:
        return not self.am_interested and not self.peer_interested

    @property
    def _waits_for_us(self) -> bool:
        return self.peer_interested and self.am_choking and not self.am_interested

    def rank(self, now: float) -> tuple[bool, float] | None:
        """How little a place is worth, to be compared: the greatest goes first; None where it may not be taken."""
        idle = now - self.idle_since
        if self._is_pointless:
            return (True, idle) if idle >= limits.POINTLESS_PEER else None
        return (False, idle) if idle >= limits.USELESS_PEER and not self._waits_for_us else None


def least_useful(places: Iterable[Place[T]], now: float) -> Place[T] | None:
    """The place to be given up, or None where all are of use, or may yet be."""
    candidates = [(rank, place) for place in places if (rank := place.rank(now)) is not None]
    return max(candidates, key=lambda candidate: candidate[0])[1] if candidates else None
