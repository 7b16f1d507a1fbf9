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
from geventbt.rates.token_bucket import RateLimit


class RequestScheduler:
    """Back-pressure, rate limits and idle sources of one torrent.

    Args:
        context: has the rate of all torrents.
        picker: what is missing.
        assembly: what is being received.
        down: the torrent's own rate.

    Attributes:
        throttled: whether a rate limit was in force at the last request.
        changes: notifies when there may be something for idle sources to fetch, or room for it.
    """

    def __init__(
        self,
        context: ClientContext,
        picker: BlockPicker[BlockSource],
        assembly: Assembly[BlockSource],
        down: RateLimit,
    ) -> None:
        self._context = context
        self._picker = picker
        self._assembly = assembly
        self._down = down
        self._idle: set[BlockSource] = set()
        self._wake_due = False
        self.throttled = False
        self.changes = Notifier()

    @property
    def is_busy(self) -> bool:
        """Whether nothing may be requested: what was requested must be received, or verified, first."""
        return self._assembly.is_behind or self._picker.is_full

    def add_idle(self, source: BlockSource) -> None:
        """There is nothing to request from a source at the moment: fill it when there may be."""
        self._idle.add(source)

    def remove(self, source: BlockSource) -> None:
        """Forget a source."""
        self._idle.discard(source)

    def wake_idle(self) -> None:
        """There may be something for idle sources to fetch: fill them once in this turn of the loop."""
        self.changes.notify()
        if self._idle and not self._wake_due:
            self._wake_due = True
            gevent.get_hub().loop.run_callback(self.fill_idle)

    def fill_idle(self) -> None:
        """Fill the sources that are idle."""
        self._wake_due = False
        idle, self._idle = self._idle, set()
        while idle and not self.is_busy:
            idle.pop().fill()
        self._idle |= idle

    def take(self, blocks: int) -> int:
        """Take blocks from the rate limits. Returns the number that may be requested now, up to `blocks`."""
        self.throttled = self._down.rate is not None or self._context.down.rate is not None
        return self._context.take_down(self, self._down, blocks, self._context.now()) if self.throttled else blocks

    def give_back(self, blocks: int) -> None:
        """Return blocks that were taken and not requested."""
        if self.throttled and blocks:
            for limit in (self._down, self._context.down):
                limit.give_back(blocks * limits.BLOCK)


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
