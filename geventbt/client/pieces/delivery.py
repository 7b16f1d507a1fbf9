"""When a source delivers what it is asked for, and which source to ask for each block that a reader waits for. Pure.

A block that is asked for now comes after a delay, behind what was asked for before, and each further one an interval
later. Of equal blocks each goes to the source that delivers it first, given those that it was given already. Among
machines of different speed this list scheduling is best for jobs of equal size (Graham 1966; Horowitz and Sahni 1976):
all are done as early as can be. A slow source gets none where the fast ones together are quicker than its first block.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeVar

from geventbt import limits

K = TypeVar("K", bound=Hashable)

GAIN = 1.5
"""A block is asked for twice where that makes the wait for it shorter by this factor."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """When a source delivers the blocks that it is asked for now.

    Attributes:
        first: the time at which the first of them is here.
        interval: seconds from each to the next, more than 0.
        grace: what is due before this time counts as due then: no peer delivers it much sooner.
        room: how many it can be asked for.
    """

    first: float
    interval: float
    grace: float = float("-inf")
    room: int = limits.REQUESTS

    def by(self, deadline: float) -> int:
        """How many blocks are here by a deadline."""
        time = max(deadline, self.grace)
        return int((time - self.first) / self.interval) + 1 if time >= self.first else 0

    def behind(self, blocks: int) -> Delivery:
        """The delivery of what is asked for behind that number of blocks more."""
        return replace(self, first=self.first + blocks * self.interval, room=self.room - blocks)


@dataclass(frozen=True, slots=True)
class LateBlock:
    """A block that is not expected in time.

    Attributes:
        block: its number in the piece.
        asked: the sources that it was requested from.
        expected: when the first of them will have delivered it; infinite if there is none.
    """

    block: int
    asked: Collection[object]
    expected: float


def deal(
    blocks: Iterable[LateBlock], deliveries: Mapping[K, Delivery], now: float, *, may_wait: bool = False
) -> dict[K, list[int]]:
    """Deal late blocks to the sources that deliver them first.

    A block that was requested from another source is only dealt where it comes much sooner so. Where the source that
    is the first has no room, a block goes to the next one; or it is left for a later deal, if it may wait.

    Args:
        blocks: what is late.
        deliveries: of the sources that can be asked.
        now: the time.
        may_wait: whether blocks may wait for the source that is the first.

    Returns:
        The blocks for each source that gets any, in their order.
    """
    dealt: dict[K, list[int]] = {}
    sources = [source for source, delivery in deliveries.items() if may_wait or delivery.room > 0]
    soonest = [(deliveries[source].first, place) for place, source in enumerate(sources)]
    heapify(soonest)
    for late in sorted(blocks, key=lambda late: (-late.expected, late.block)):
        passed_over = []
        while soonest and sources[soonest[0][1]] in late.asked:
            passed_over.append(heappop(soonest))
        if soonest and now + GAIN * (soonest[0][0] - now) <= late.expected:
            time, place = soonest[0]
            delivery, given = deliveries[sources[place]], dealt.setdefault(sources[place], [])
            if len(given) < delivery.room:
                given.append(late.block)
            if may_wait or len(given) < delivery.room:
                heapreplace(soonest, (time + delivery.interval, place))
            else:
                heappop(soonest)
        for each in passed_over:
            heappush(soonest, each)
    return {source: sorted(numbers) for source, numbers in dealt.items() if numbers}
