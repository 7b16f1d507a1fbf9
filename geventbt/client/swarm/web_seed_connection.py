"""One connection to a web seed: it reserves runs, and receives them straight into the buffers of their pieces."""

from __future__ import annotations

from typing import Protocol

from gevent.event import Event as GeventEvent

from geventbt import limits
from geventbt.client.pieces.open_piece import Run
from geventbt.client.pieces.reservations import Reservation
from geventbt.client.swarm.scheduler import SourceOwner
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.web_seed_reader import WebSeedReader
from geventbt.protocol.connection import Event
from geventbt.protocol.constants import PIECE
from geventbt.rates.speed import SpeedMeter

_LOOK = 1.0
"""Seconds between two looks for something to fetch, if nothing wakes it earlier."""


class WebSeedSwarm(SourceOwner, Protocol):
    """The swarm, as its web seeds see it."""

    def now(self) -> float:
        """The time, in seconds."""

    @property
    def has_peers(self) -> bool:
        """Whether any peer is connected."""


class ConnectionOwner(Protocol):
    """The web seed that a connection leads to."""

    @property
    def source(self) -> BlockSource:
        """The key of the web seed in picker, assembly and blame."""

    @property
    def speed(self) -> float:
        """Bytes a second that are received from it lately."""

    @property
    def run_length(self) -> int:
        """The bytes of the next run."""

    def on_bytes(self, count: int, now: float) -> None:
        """Bytes have come."""

    def on_held_back(self) -> None:
        """The connection could be faster, but for a rate limit or the disk."""

    def on_run_received(self) -> None:
        """A run was received to its end."""

    def may_go_on(self, connection: WebSeedConnection) -> bool:
        """Whether another run may be begun."""


class WebSeedConnection:
    """Fetches one run after another from a web seed, on the greenlet that calls `fetch_all`.

    Args:
        owner: the web seed.
        swarm: what is fetched, and where it goes.
        reader: sends the requests.

    Attributes:
        meter: its own speed.
        receiving_since: when it began to receive what others are not asked for meanwhile; None while it does not.
            Single bytes that come now and then do not count: they could hold up a download without end.
    """

    def __init__(self, owner: ConnectionOwner, swarm: WebSeedSwarm, reader: WebSeedReader) -> None:
        self._owner = owner
        self._swarm = swarm
        self._reader = reader
        self._rest: tuple[int, bytes] | None = None
        self._allowed = 0
        self._has_turn = GeventEvent()
        self._idle_since: float | None = None
        self.meter = SpeedMeter()
        self.receiving_since: float | None = None

    def fetch_all(self, idle_time: float) -> None:
        """Fetch runs until the owner does not want any more, or there was nothing to fetch for a while.

        Args:
            idle_time: seconds.

        Raises:
            FetchError: see `WebSeedReader.read_into`. What was reserved is given back.
        """
        self._idle_since = None
        try:
            while self._owner.may_go_on(self):
                if self._fetch_run() or self._help_out():
                    self._idle_since = None
                    continue
                now = self._swarm.now()
                self._idle_since = now if self._idle_since is None else self._idle_since
                if now - self._idle_since >= idle_time:
                    return
                self._swarm.scheduler.changes.wait(min(limits.ENDGAME_PATIENCE, idle_time))
        finally:
            self._leave_rate()

    def abort(self) -> None:
        """Close the connection; the greenlet that reads gets a FetchError."""
        self._reader.close()

    # ------------------------------------------------------------------ runs

    def _fetch_run(self) -> bool:
        """Reserve a run, and receive it. Returns whether there was one."""
        picker, geometry = self._swarm.picker, self._swarm.geometry
        at, offset = geometry.piece_at(self._reader.position) if self._reader.has_more else (-1, 0)
        run = picker.reservations.reserve(
            self._owner.source,
            -(-self._owner.run_length // limits.BLOCK),
            urgent_blocks=limits.WEB_SEED_URGENT_RUN // limits.BLOCK,
            at=-1 if offset else at,
        )
        if run is None:
            return False
        try:
            self._receive(run)
        finally:
            picker.reservations.release(run)
        return True

    def _receive(self, run: Reservation[BlockSource]) -> None:
        position, length = run.position(self._swarm.geometry), run.bytes_left(self._swarm.geometry)
        rest = self._matching_rest(position)
        goes_on = self._swarm.picker.reservations.has_free(self._owner.source)
        self._reader.open(position + len(rest), length - len(rest), goes_on=goes_on)
        while (window := self._next_window(run)) is not None:
            self._receive_window(window)
            run.received()
        self._reader.end(min(limits.WEB_SEED_SKIP, int(self._owner.speed)))
        if run.is_over:
            self._owner.on_run_received()

    def _next_window(self, run: Reservation[BlockSource]) -> Run | None:
        """Block until more may be received. Returns what is to be received next, or None for nothing of this run."""
        picker, scheduler = self._swarm.picker, self._swarm.scheduler
        while not run.is_over:
            if run.begins_piece and not run.is_urgent and picker.reservations.is_urgent(self._owner.source):
                return None
            if self._swarm.assembly.is_behind or not picker.reservations.can_advance(run):
                self._owner.on_held_back()
                scheduler.changes.wait(_LOOK)
                continue
            allowed = self._allowed or scheduler.take(self, self._window_blocks())
            self._allowed = 0
            if allowed:
                window = picker.reservations.advance(run, allowed)
                scheduler.give_back(self, allowed - (window.blocks if window else 0))
                return window
            self._owner.on_held_back()
            self._has_turn.clear()
            self._has_turn.wait(_LOOK)
        return None

    def fill(self) -> None:
        """Take what it is allowed to receive next: it is its turn at the rate limits; see `Member`."""
        if not self._allowed:
            self._allowed = self._swarm.scheduler.take(self, self._window_blocks())
            self._has_turn.set()

    def _leave_rate(self) -> None:
        self._swarm.scheduler.leave_rate(self)
        self._swarm.scheduler.give_back(self, self._allowed)
        self._allowed = 0

    def _window_blocks(self) -> int:
        size = min(limits.WEB_SEED_WINDOW, self._owner.speed * limits.WEB_SEED_WINDOW_TIME)
        return max(1, int(size) // limits.BLOCK)

    def _receive_window(self, window: Run) -> None:
        """Receive blocks straight into the buffer of their piece; where it fails, those that have come are kept."""
        geometry, assembly, source = self._swarm.geometry, self._swarm.assembly, self._owner.source
        offset = window.first * limits.BLOCK
        end = min(offset + window.blocks * limits.BLOCK, geometry.piece_size(window.piece))
        view = assembly.buffer_of(window.piece)[offset:end]
        rest = self._matching_rest(geometry.start_of(window.piece) + offset)
        view[: len(rest)] = rest
        filled, self._rest = len(rest), None
        self.receiving_since = self._swarm.now()
        try:
            while filled < len(view):
                filled += self._read_into(view[filled:])
        except BaseException:
            blocks = filled // limits.BLOCK
            if blocks:
                assembly.receive_in_place(source, Run(window.piece, window.first, blocks))
            start = blocks * limits.BLOCK
            self._rest = geometry.start_of(window.piece) + offset + start, bytes(view[start:filled])
            raise
        finally:
            self.receiving_since = None
        assembly.receive_in_place(source, window)

    def _read_into(self, view: memoryview) -> int:
        count, now = self._reader.read_into(view), self._swarm.now()
        self.meter.add(count, now)
        self._owner.on_bytes(count, now)
        return count

    # ------------------------------------------------------------------ the rest of a block that was cut off

    def _matching_rest(self, position: int) -> bytes:
        """What came of the block at a position of the stream before the connection was cut."""
        return self._rest[1] if self._rest is not None and self._rest[0] == position else b""

    # ------------------------------------------------------------------ the endgame

    def _help_out(self) -> bool:
        """Fetch a few blocks that others were asked for and have not sent. Returns whether there were any."""
        picker = self._swarm.picker
        is_patient = self._idle_since is None or self._swarm.now() - self._idle_since < limits.ENDGAME_PATIENCE
        if not picker.in_endgame or is_patient:
            return False
        runs = picker.pick(self._owner.source, limits.ENDGAME_BLOCKS)
        try:
            for run in runs:
                self._fetch_blocks(run)
        finally:
            for run in runs:
                for block in range(run.first, run.first + run.blocks):
                    picker.give_back(self._owner.source, run.piece, block)
        return bool(runs)

    def _fetch_blocks(self, run: Run) -> None:
        """Receive blocks that others may send at the same time, and which therefore are put in their place only when
        they are whole."""
        geometry = self._swarm.geometry
        offset = run.first * limits.BLOCK
        end = min(offset + run.blocks * limits.BLOCK, geometry.piece_size(run.piece))
        buffer = memoryview(bytearray(end - offset))
        self._reader.open(geometry.start_of(run.piece) + offset, len(buffer))
        filled = 0
        while filled < len(buffer):
            filled += self._read_into(buffer[filled:])
        self._reader.end(0)
        events: list[Event] = [
            (PIECE, run.piece, offset + start, buffer[start : start + limits.BLOCK], None)
            for start in range(0, len(buffer), limits.BLOCK)
        ]
        for other, (_, piece, at, block, _) in self._swarm.assembly.receive(self._owner.source, events):
            other.cancel(piece, at, len(block))
