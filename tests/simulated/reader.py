"""A reader in virtual time: it plays at its rate, seeks, and counts for how long it waits.

The real readahead, deadlines, picker, windows and wires; only the blocking is replaced by events.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from geventbt import Geometry, limits
from geventbt.client.torrent.readahead import Readahead
from geventbt.client.torrent.reading_rate import ReadingRate
from tests.simulated.leecher import Leecher, virtual_time
from tests.simulated.seed import Clock, Habits, Seed

CHUNK = 64 * limits.KIB
MAX_STEPS = 1_000_000


class Reader:
    """Reads a torrent of one file, as `TorrentReader` and `PieceReads` do.

    Args:
        clock: the time.
        leecher: fetches.
        rate: bytes a second that it reads.

    Attributes:
        began: when it began.
        bytes: what it has read.
        waits: (seconds since it began, seconds waited) of each read that waited, in order.
    """

    def __init__(self, clock: Clock, leecher: Leecher, rate: float) -> None:
        self._clock = clock
        self._leecher = leecher
        self._speed = rate
        self._windows = Readahead()
        self._rate = ReadingRate()
        self._position = 0
        self._piece = -1
        self._waits_since: float | None = None
        self._reads = 0
        self.began = clock.now
        self.waits: list[tuple[float, float]] = []
        self.bytes = 0
        leecher.on_verified = self._on_verified

    def seek(self, position: int) -> None:
        """Read on from another position, at once."""
        self._position, self._piece = position, -1
        self._rate.restart()
        self._waits_since = None
        self._reads += 1
        self._read()

    def _read(self) -> None:
        geometry = self._leecher.geometry
        if self._position >= geometry.length:
            return
        piece = self._position // geometry.piece_length
        if piece != self._piece:
            if self._piece >= 0:
                self._rate.read_on()
            self._piece = piece
            self._read_ahead(piece)
        if self._leecher.have[piece]:
            self._take()
        elif self._waits_since is None:
            self._waits_since = self._clock.now

    def _read_ahead(self, piece: int) -> None:
        leecher, geometry, now = self._leecher, self._leecher.geometry, self._clock.now
        end = min(self._position + self._rate.readahead, geometry.length)
        rate = max(limits.MIN_READING_SPEED, min(self._rate.rate, leecher.urgent.speed))
        seconds = geometry.piece_length / rate
        pieces = geometry.pieces_of(self._position, end - self._position)
        missing = {index: place * seconds for place, index in enumerate(pieces) if not leecher.have[index]}
        changed, forgotten = self._windows.move(self, missing, now)
        for index in changed | forgotten:
            leecher.picker.set_deadline(index, self._windows.due(index))
        leecher.scheduler.wake_idle()
        leecher.urgent.request(now)

    def _on_verified(self) -> None:
        if self._waits_since is not None and self._leecher.have[self._piece]:
            waited, self._waits_since = self._clock.now - self._waits_since, None
            self.waits.append((self._clock.now - self.began, waited))
            self._take()

    def _take(self) -> None:
        size = min(CHUNK, self._leecher.geometry.length - self._position)
        self._position += size
        self.bytes += size
        self._rate.on_read(size)
        reads, pause = self._reads, size / self._speed

        def go_on() -> None:
            if reads == self._reads:
                self._rate.on_pause(pause)
                self._read()

        self._clock.after(pause, go_on)


@dataclass
class Session:
    """How it went to read.

    Attributes:
        first_byte: seconds from the first connection to the first byte.
        seeks: seconds from each seek to the next byte.
        stalled: seconds for which playback stood still in all, but for the first half second behind a start or a seek.
        sent: bytes that the seeds sent, for each byte that arrived in its piece.
    """

    first_byte: float = 0.0
    seeks: list[float] = field(default_factory=list)
    stalled: float = 0.0
    sent: float = 1.0


def read(
    seeds: Sequence[Habits],
    rate: float,
    *,
    plays: float = 10.0,
    seeks: Sequence[int] = (),
    starts: float = 0.0,
    size: int = 256 * limits.MIB,
    piece: int = 256 * limits.KIB,
    random_seed: int = 1,
) -> Session:
    """Read from some seeds.

    Args:
        seeds: their habits.
        rate: bytes a second of the reader.
        plays: seconds before each seek.
        seeks: where to.
        starts: seconds of the download before the reader comes.
        size: bytes of the torrent.
        piece: bytes of a piece.
        random_seed: of the order in which pieces are fetched.
    """
    random = Random(random_seed)
    geometry = Geometry(size, piece)
    data = bytes(geometry.length)
    session = Session()
    with virtual_time() as clock:
        leecher = Leecher(clock, geometry, data, random)
        serving = [Seed(clock, geometry, data, habits, random) for habits in seeds]
        for seed in serving:
            leecher.connect(seed)
        leecher.tick()
        leecher.short_tick()
        _run(clock, starts)
        reader = Reader(clock, leecher, rate)
        for place in [0, *seeks]:
            before, start = len(reader.waits), clock.now
            reader.seek(place)
            _run(clock, plays)
            waits = reader.waits[before:]
            session.seeks.append(waits[0][1] if waits else 0.0)
            began = start - reader.began
            session.stalled += sum(waited for at, waited in waits[1:] if at - began > 0.5)
            assert reader.bytes, f"nothing was read in {plays} s"
        session.first_byte = session.seeks.pop(0)
        leecher.close()
        there = leecher.have.count() * piece
        session.sent = sum(seed.arrived for seed in serving) / max(1, there)
    return session


def _run(clock: Clock, seconds: float) -> None:
    end = clock.now + seconds
    steps = 0
    while clock.now < end:
        clock.step()
        steps += 1
        assert steps < MAX_STEPS, "the simulation makes no progress"
