"""Requests for what a reader needs at once: out of turn, from the peers that are first, and twice where it is late.

Most of what a reader needs is asked for in time, as each peer that is filled takes the first piece that it can deliver
before its deadline. What is left are the pieces behind a seek, and what a peer does not deliver as it should. Such
blocks are dealt anew, several times a second: see `deal`. A peer that gets any is told to leave aside what it was asked
for before and is due later. So from a seek to the first byte it is a round trip, what the peer has sent already, and
the time in which the fastest peers together send one piece.

What is asked for twice mostly comes twice: what a peer has sent cannot be cancelled, and most are late because of a
packet that was lost, behind which the rest has arrived already. So a block is not asked of a second peer before the
last moment in which that would help; and it waits for the peer that is the soonest, even if others have room. Only when
the reader waits for it, what its peer may do at worst counts, and the next peer that has room is asked.

A peer may stand still just then: a packet was lost, or its congestion control measures the round trip (BBR sends next
to nothing for 0.2 s each ten seconds). To notice that and to ask another takes two round trips. So the piece behind a
seek is asked of two peers from the start, where both are fast enough: hedged requests (Dean and Barroso, The Tail at
Scale, 2013).
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from typing import Protocol

from geventbt import limits
from geventbt.client.pieces.delivery import GAIN, LateBlock, deal
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.out_of_turn import OutOfTurn
from geventbt.client.swarm.scheduler import RequestScheduler
from geventbt.client.swarm.source import BlockSource

_NEVER = float("inf")
_INTERVAL = 0.02
"""Seconds in which blocks are dealt once at the most, but for a seek: one who reads fast moves on all the time."""
_PATIENCE = 1.5
"""How much longer than with the fastest source a block may take with another that is asked for it."""
_LAST_MOMENT = 2.0
"""How much sooner than it is due a block is asked of another source, in terms of the soonest one."""
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
        dealing = _Dealing(self._picker, self._scheduler, list(self._sources), due, now)
        self.speed = dealing.speed
        self._scheduler.patience = dealing.patience
        for piece, deadline in due.items():
            dealing.request(piece, deadline)


class _Dealing:
    """One deal of the blocks of the pieces that are due.

    Args:
        picker, scheduler, sources: see `UrgentRequests`.
        due: the pieces.
        now: the time.

    Attributes:
        speed: bytes a second that the sources could deliver together.
        patience: seconds that a block may take.
    """

    def __init__(
        self,
        picker: BlockPicker[BlockSource],
        scheduler: RequestScheduler,
        sources: list[UrgentSource],
        due: Container[int],
        now: float,
    ) -> None:
        self._urgent = picker.urgent
        self._scheduler = scheduler
        self._sources = sources
        self._due = due
        self._now = now
        answers = ((source, source.out_of_turn.delivery(due, now)) for source in sources)
        self._deliveries = {source: delivery for source, delivery in answers if delivery is not None}
        firsts = (delivery.first - now for delivery in self._deliveries.values())
        self._soonest = min(firsts, default=limits.FIRST_URGENT_TIME)
        self.speed = sum(limits.BLOCK / delivery.interval for delivery in self._deliveries.values())
        self.patience = _PATIENCE * self._soonest

    def request(self, piece: int, deadline: float) -> None:
        """Request the blocks of a piece that are late; twice if nothing of it was requested, and it is needed now."""
        missing = self._urgent.missing(piece)
        late = [LateBlock(block, claimants, _NEVER) for block, claimants in missing.items() if not claimants]
        is_needed = deadline <= self._now
        is_sought = is_needed and len(late) == len(missing)
        if deadline <= self._now + _LAST_MOMENT * self._soonest:
            late += self._slow_blocks(piece, missing, deadline)
        self._request(piece, late[: limits.URGENT_BLOCKS], may_wait=not is_needed)
        if is_sought:
            asked = self._urgent.missing(piece).items()
            expected = self._now + GAIN * _COPY_TIME
            copies = [LateBlock(block, claimants, expected) for block, claimants in asked if len(claimants) == 1]
            self._request(piece, copies)

    def _slow_blocks(
        self, piece: int, missing: Mapping[int, Collection[BlockSource]], deadline: float
    ) -> Iterator[LateBlock]:
        """The blocks that were requested and will not come in time."""
        asked = {source for claimants in missing.values() for source in claimants}
        expected = {
            source: source.out_of_turn.expected(self._now, at_worst=deadline <= self._now)
            for source in self._sources
            if source in asked
        }
        # Early enough for another source to be in time.
        in_time = max(deadline - self._soonest, self._now + self.patience)
        for block, claimants in missing.items():
            times = (expected[source].get((piece, block), _NEVER) for source in claimants if source in expected)
            time = min(times, default=_NEVER)
            if time > in_time and 0 < len(claimants) < limits.ENDGAME_CLAIMANTS:
                yield LateBlock(block, claimants, time)

    def _request(self, piece: int, late: list[LateBlock], *, may_wait: bool = False) -> None:
        """Request blocks from the sources that deliver them first, as far as the rate limits allow."""
        if not late:
            return
        having = {source: delivery for source, delivery in self._deliveries.items() if source.has(piece)}
        for source, blocks in deal(late, having, self._now, may_wait=may_wait).items():
            allowed = self._scheduler.take(source, len(blocks))
            if allowed:
                runs = self._urgent.claim(source, piece, blocks[:allowed])
                source.out_of_turn.request(runs, self._due, self._now)
                self._deliveries[source] = self._deliveries[source].behind(allowed)
