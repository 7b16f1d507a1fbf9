"""When sources request blocks: not while the disk is behind, no faster than the rate limits, and as soon as there is
something for those that are idle."""

from __future__ import annotations

from typing import Protocol

import gevent

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.source import BlockSource
from geventbt.concurrency.notifier import Notifier
from geventbt.geometry import Geometry
from geventbt.rates.fair_rate import FairRate, Member


class RequestScheduler:
    """Back-pressure, rate limits and idle sources of one torrent.

    Args:
        context: has the clock.
        picker: what is missing.
        assembly: what is being received.
        down: the torrent's own rate, a part of that of all torrents.

    Attributes:
        holds: whether nothing is to be requested for the time being.
        patience: seconds that a block which a reader waits for may take.
        read_until: until when to be ready for a reader.
        changes: notifies when there may be something for idle sources to fetch, or room for it.
    """

    def __init__(
        self,
        context: ClientContext,
        picker: BlockPicker[BlockSource],
        assembly: Assembly[BlockSource],
        down: FairRate,
    ) -> None:
        self._context = context
        self._picker = picker
        self._assembly = assembly
        self._down = down
        self._idle: set[BlockSource] = set()
        self._wake_due = False
        self._look_due = False
        self._look_after = limits.ENDGAME_LOOK
        self.holds = False
        self.patience = limits.FIRST_URGENT_TIME
        self.read_until = 0.0
        self.changes = Notifier()

    @property
    def throttled(self) -> bool:
        """Whether there is a rate limit."""
        return self._down.limited

    @property
    def is_busy(self) -> bool:
        """Whether nothing may be requested: what was requested must be received, or verified, first."""
        return self.holds or self._assembly.is_behind or self._picker.is_full

    def add_idle(self, source: BlockSource) -> None:
        """There is nothing to request from a source at the moment: fill it when there may be."""
        self._idle.add(source)
        if not self._look_due and self._picker.in_endgame:
            self._look_due = True
            gevent.spawn_later(self._look_after, self._look_again)

    def remove(self, source: BlockSource) -> None:
        """Forget a source."""
        self._idle.discard(source)
        self.leave_rate(source)

    def wake_idle(self) -> None:
        """There may be something for idle sources to fetch: fill them once in this turn of the loop."""
        self.changes.notify()
        self._look_after = limits.ENDGAME_LOOK
        if self._idle and not self._wake_due:
            self._wake_due = True
            gevent.get_hub().loop.run_callback(self.fill_idle)

    def fill_idle(self) -> None:
        """Fill the sources that are idle."""
        self._wake_due = False
        idle, self._idle = self._idle, set()
        now = self._context.now()
        while idle and not self.is_busy:
            idle.pop().fill(now)
        self._idle |= idle

    def _look_again(self) -> None:
        """In the endgame what was asked for becomes late without an event: see whether idle sources may help."""
        self._look_due = False
        self._look_after = min(limits.ENDGAME_LOOK_GROWTH * self._look_after, limits.MAX_ENDGAME_LOOK)
        self.fill_idle()

    def take(self, source: Member, blocks: int) -> int:
        """Take blocks from the rate limits for a source. Returns the number that may be requested now, up to `blocks`;
        if it is less, the source is filled when its turn comes."""
        return self._down.take(source, blocks, limits.BLOCK, self._context.now()) if self.throttled else blocks

    def give_back(self, source: Member, blocks: int) -> None:
        """Return blocks that were taken and not requested."""
        if self.throttled and blocks:
            self._down.give_back(source, blocks * limits.BLOCK)

    def leave_rate(self, source: Member) -> None:
        """A source waits for the rate limits no more."""
        self._down.leave(source)

    def give_turns(self) -> None:
        """Fill the sources that wait for the rate limits, each when it is its turn."""
        for source in self._down.turns(self._context.now()):
            source.fill()


class SourceOwner(Protocol):
    """The swarm, as its sources of blocks see it."""

    @property
    def geometry(self) -> Geometry:
        """The lengths of the pieces."""

    @property
    def picker(self) -> BlockPicker[BlockSource]:
        """What is missing, and who was asked for it."""

    @property
    def assembly(self) -> Assembly[BlockSource]:
        """Takes blocks."""

    @property
    def scheduler(self) -> RequestScheduler:
        """Says when to request."""
