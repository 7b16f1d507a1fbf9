"""Requests for what a reader needs at once: out of turn, from the peers that are first, and twice where it is late.

Most of what a reader needs is asked for in time, as each peer that is filled takes the first piece that it can deliver
before its deadline. What is left are the pieces behind a seek, and what a peer does not deliver as it should. Such
blocks are dealt anew, several times a second: see `deal`. A peer that gets any is told to leave aside what it was asked
for before. So from a seek to the first byte it is a round trip, what the peer has sent already, and the time in which
the fastest peers together send one piece.

A peer may stand still just then: a packet was lost, or its congestion control measures the round trip (BBR sends next
to nothing for 0.2 s each ten seconds). To notice that and to ask another takes two round trips. So the piece behind a
seek is asked of two peers from the start, where both are fast enough: hedged requests (Dean and Barroso, The Tail at
Scale, 2013).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from geventbt import limits
from geventbt.client.pieces.delivery import GAIN, Delivery, LateBlock, deal
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.out_of_turn import OutOfTurn
from geventbt.client.swarm.scheduler import RequestScheduler
from geventbt.client.swarm.source import BlockSource

_NEVER = float("inf")
_INTERVAL = 0.02
"""Seconds in which blocks are dealt once at the most, but for a seek: one who reads fast moves on all the time."""
_PATIENCE = 1.5
"""How much longer than with the fastest source a block may take with another that is asked for it."""
_COPY_TIME = 0.5
"""Seconds within which a second source must deliver what a seek waits for to be asked for it from the start."""


class UrgentSource(BlockSource, Protocol):
    """A source that can be asked out of turn: a peer."""

    @property
    def out_of_turn(self) -> OutOfTurn:
        """The requests that go in front of its others."""


class UrgentRequests:
    """Asks the peers of one torrent for what readers wait for.

    Args:
        picker: what is missing, and by when.
        scheduler: says when to request.
        sources: the peers. It is iterated each time.

    Attributes:
        speed: bytes a second that all sources together could deliver, as far as is known.
    """

    def __init__(
        self, picker: BlockPicker[BlockSource], scheduler: RequestScheduler, sources: Iterable[UrgentSource]
    ) -> None:
        self._picker = picker
        self._scheduler = scheduler
        self._sources = sources
        self._next = 0.0
        self._first = 0
        self.speed = 0.0

    def request(self, now: float) -> None:
        """Request what is late, unless that was done just now."""
        urgent = self._picker.urgent
        if not urgent:
            return
        self._scheduler.read_until = now + limits.READER_LINGER
        due = urgent.due(now + limits.URGENT_TIME)
        first = next(iter(due), self._first)
        reads_on = self._first <= first <= self._first + limits.URGENT_PIECES
        if (now < self._next and reads_on) or self._scheduler.is_busy:
            return
        self._next, self._first = now + _INTERVAL, first
        sources = list(self._sources)
        answers = ((source, source.out_of_turn.delivery(urgent, now)) for source in sources)
        deliveries = {source: delivery for source, delivery in answers if delivery is not None}
        self.speed = sum(limits.BLOCK / delivery.interval for delivery in deliveries.values())
        soonest = min((delivery.first - now for delivery in deliveries.values()), default=limits.FIRST_URGENT_TIME)
        patience = self._scheduler.patience = _PATIENCE * soonest
        for piece, deadline in due.items():
            is_sought = deadline <= now and not any(self._picker.urgent.missing(piece).values())
            # Early enough for another source to be in time.
            late = self._late_blocks(piece, sources, max(deadline - soonest, now + patience), now)
            self._deal(piece, late, deliveries, now)
            if is_sought:
                asked = self._picker.urgent.missing(piece).items()
                expected = now + GAIN * _COPY_TIME
                copies = [LateBlock(block, claimants, expected) for block, claimants in asked if len(claimants) == 1]
                self._deal(piece, copies, deliveries, now)

    def _deal(self, piece: int, late: list[LateBlock], deliveries: dict[UrgentSource, Delivery], now: float) -> None:
        """Request blocks of a piece from the sources that deliver them first."""
        if not late:
            return
        having = {source: delivery for source, delivery in deliveries.items() if source.has(piece)}
        for source, blocks in deal(late, having, now).items():
            count = self._request_blocks(source, piece, blocks, now)
            deliveries[source] = deliveries[source].behind(count)

    def _late_blocks(self, piece: int, sources: list[UrgentSource], in_time: float, now: float) -> list[LateBlock]:
        """The blocks of a piece that nobody was asked for, or that will not come in time."""
        missing = self._picker.urgent.missing(piece)
        asked = {source for claimants in missing.values() for source in claimants}
        expected = {source: source.out_of_turn.expected(now) for source in sources if source in asked}
        late: list[LateBlock] = []
        for block, claimants in missing.items():
            times = (expected[source].get((piece, block), _NEVER) for source in claimants if source in expected)
            time = min(times, default=_NEVER)
            if time > in_time and len(claimants) < limits.ENDGAME_CLAIMANTS and len(late) < limits.URGENT_BLOCKS:
                late.append(LateBlock(block, claimants, time))
        return late

    def _request_blocks(self, source: UrgentSource, piece: int, blocks: list[int], now: float) -> int:
        """Request blocks from a source as far as the rate limits allow. Returns how many they are."""
        allowed = self._scheduler.take(source, len(blocks))
        if allowed:
            urgent = self._picker.urgent
            source.out_of_turn.request(urgent.claim(source, piece, blocks[:allowed]), urgent, now)
        return allowed
