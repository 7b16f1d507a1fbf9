"""A seed in virtual time: its rate jumps, it stalls, rejects, chokes around blocks, and loses its connection."""

from __future__ import annotations

import heapq
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count
from random import Random

from geventbt import Extensions, Geometry, Handshake, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.recording_transport import RecordingTransport

INFO_HASH = b"i" * 20
BLOCK = limits.BLOCK
LATENCY = 0.05
"""Seconds that bytes take from one side to the other."""
_RESERVED = 68


class Clock:
    """The time, and what is to happen."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = count()

    def __call__(self) -> float:
        return self.now

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        """Call something later."""
        heapq.heappush(self._events, (self.now + seconds, next(self._count), action))

    def step(self) -> None:
        """Go on to what happens next."""
        self.now, _, action = heapq.heappop(self._events)
        action()


def virtual_transport(clock: Clock, latency: float, take: Callable[[bytes], None]) -> RecordingTransport:
    """A transport in virtual time, whose other end is a function that takes bytes."""
    return RecordingTransport(
        soon=lambda function: clock.after(0, function),
        on_written=lambda data: clock.after(latency, lambda: take(data)),
    )


@dataclass(frozen=True)
class Habits:
    """How a seed behaves.

    Attributes:
        rates: (seconds, bytes a second), one after the other; the last rate holds for ever. A rate of 0 is a stall.
        bursts: whether a block is sent as a whole when the time for it has passed, instead of byte by byte.
        fast: whether it has the fast extension.
        queue: requests that it holds; more are rejected or, without the fast extension, dropped.
        choke_every: blocks between two chokes; 0 for none.
        choke: what becomes of its queue: "drops" it, "keeps" it and unchokes at once, or sends it "behind" the choke
            and unchokes then.
        loses: the probability that the connection is lost during a block.
        refuses: seconds for which it refuses what is asked for of piece 0.
        latency: seconds that bytes take from one side to the other.
        commits: blocks that it has written to its socket, and sends although they are cancelled.
    """

    rates: tuple[tuple[float, int], ...]
    bursts: bool = False
    fast: bool = True
    queue: int = 250
    choke_every: int = 0
    choke: str = "drops"
    loses: float = 0.0
    refuses: int = 0
    latency: float = LATENCY
    commits: int = 0


class Seed:
    """Serves one connection at a time.

    Attributes:
        transport: of the connection.
        arrived: bytes of whole blocks that it sent and the other side received, over all connections.
        outages: (begin, end) of each time without a connection, in seconds since the beginning.
    """

    def __init__(self, clock: Clock, geometry: Geometry, data: bytes, habits: Habits, random: Random) -> None:
        self._clock = clock
        self._geometry = geometry
        self._data = data
        self._habits = habits
        self._random = random
        self._began = clock.now
        self._generation = 0
        self.arrived = 0
        self.outages: list[tuple[float, float]] = []

    def connect(self) -> RecordingTransport:
        """A new connection; its handshake comes with it."""
        self._generation += 1
        self._received = b""
        self._is_shaken = False
        self._choking = True
        self._queue: deque[tuple[int, int, int]] = deque()
        self._busy = False
        self._unsaid: list[bytes] = []
        self._blocks = 0
        self._unchokes_when_done = False
        self.transport = virtual_transport(self._clock, self._habits.latency, self._for_this_connection(self._take))
        return self.transport

    def greet(self) -> None:
        """Send the handshake, and what it has."""
        handshake = Handshake(INFO_HASH, b"-XX0001-" + b"s" * 12, Extensions(fast=self._habits.fast))
        bits = bytearray(-(-self._geometry.pieces // 8))
        for piece in range(self._geometry.pieces):
            bits[piece >> 3] |= 0x80 >> (piece & 7)
        self.transport.give(handshake.to_bytes() + m.pack_bitfield(bytes(bits)))

    def note_outage(self, seconds: float) -> None:
        """The connection is lost, and there again after some seconds. In the first second it finds its speed again."""
        begin = self._clock.now - self._began
        self.outages.append((begin, begin + seconds + 1))

    def _for_this_connection(self, take: Callable[..., None]) -> Callable[..., None]:
        generation = self._generation
        return lambda *args: take(*args) if generation == self._generation else None

    def _say(self, message: bytes) -> None:
        """Send a message, behind the block that is half sent if there is one."""
        if self._busy and not self._habits.bursts:
            self._unsaid.append(message)
        else:
            self._send(message)

    def _send(self, data: bytes) -> None:
        give = self.transport.give
        self._clock.after(self._habits.latency, lambda: give(data))

    # ------------------------------------------------------------------ requests

    def _take(self, data: bytes) -> None:
        self._received += data
        if not self._is_shaken:
            self._received = self._received[_RESERVED:]
            self._is_shaken = True
        while len(self._received) >= 4:
            (length,) = struct.unpack_from(">I", self._received)
            if len(self._received) < 4 + length:
                return
            message, self._received = self._received[4 : 4 + length], self._received[4 + length :]
            if message:
                self._on_message(message[0], message[1:])

    def _on_message(self, message_id: int, payload: bytes) -> None:
        if message_id == c.INTERESTED:
            self._choking = False
            self._say(m.pack_bare(c.UNCHOKE))
        elif message_id == c.REQUEST:
            self._on_request(struct.unpack(">III", payload))
        elif message_id == c.CANCEL:
            key = struct.unpack(">III", payload)
            if key in self._queue and self._queue.index(key) >= self._habits.commits:
                self._queue.remove(key)
                self._refuse(key)
                if self._unchokes_when_done:
                    self._unchoke_when_done()

    def _on_request(self, key: tuple[int, int, int]) -> None:
        is_refused = key[0] == 0 and self._clock.now - self._began < self._habits.refuses
        if self._choking or len(self._queue) >= self._habits.queue or is_refused:
            self._refuse(key)
            return
        self._queue.append(key)
        self._work()

    def _refuse(self, key: tuple[int, int, int]) -> None:
        if self._habits.fast:
            self._say(m.pack_range(c.REJECT, *key))

    # ------------------------------------------------------------------ blocks

    def _rate(self) -> tuple[float, float]:
        """The rate now, and the seconds for which it holds."""
        passed = self._clock.now - self._began
        for seconds, rate in self._habits.rates:
            if passed < seconds:
                return rate, seconds - passed
            passed -= seconds
        return self._habits.rates[-1][1], float("inf")

    def _work(self) -> None:
        if not self._busy and self._queue:
            self._busy = True
            key = self._queue.popleft()
            piece, offset, length = key
            start = piece * self._geometry.piece_length + offset
            block = self._data[start : start + length]
            message = bytes(m.pack_piece_header(piece, offset, length)) + block
            self._drip(message, 0, 0.0)

    def _drip(self, message: bytes, at: int, credit: float) -> None:
        """Send what the rate allows of a block, a sixteenth of it at a time."""
        rate, left = self._rate()
        step = len(message) / 16
        seconds = min(left, step / rate if rate else left, max(1.0, step / rate if rate else 1.0))
        self._clock.after(
            seconds, self._for_this_connection(lambda: self._on_dripped(message, at, credit + seconds * rate))
        )

    def _on_dripped(self, message: bytes, at: int, credit: float) -> None:
        if self._random.random() < self._habits.loses / 16:
            self.transport.lose(ConnectionResetError())
            return
        ready = min(len(message), at + int(credit + 1e-6))
        credit -= ready - at
        if ready == len(message):
            self._send(message if self._habits.bursts else message[at:])
            arrived = self._for_this_connection(lambda: self._on_arrived(len(message) - 13))
            self._clock.after(self._habits.latency, arrived)
            self._on_sent()
            return
        if not self._habits.bursts and ready > at:
            self._send(message[at:ready])
        self._drip(message, ready, credit)

    def _on_arrived(self, length: int) -> None:
        if not self.transport.closed:
            self.arrived += length

    def _on_sent(self) -> None:
        self._busy = False
        unsaid, self._unsaid = self._unsaid, []
        for message in unsaid:
            self._send(message)
        self._blocks += 1
        habits = self._habits
        if self._unchokes_when_done:
            self._unchoke_when_done()
        elif habits.choke_every and self._blocks % habits.choke_every == 0:
            self._choke()
        self._work()

    def _choke(self) -> None:
        self._say(m.pack_bare(c.CHOKE))
        self._choking = True
        if self._habits.choke == "drops":
            dropped, self._queue = self._queue, deque()
            for key in dropped:
                self._refuse(key)
        if self._habits.choke == "behind":
            self._unchokes_when_done = True
            self._unchoke_when_done()
        else:
            self._unchoke()

    def _unchoke_when_done(self) -> None:
        if not self._queue and not self._busy:
            self._unchoke()

    def _unchoke(self) -> None:
        self._choking = self._unchokes_when_done = False
        self._say(m.pack_bare(c.UNCHOKE))


_RATES = (20_000, 400_000, 5_000_000)


def random_habits(random: Random) -> Habits:
    """Draw the habits of a seed that is honest, and moves in the end."""

    def rate() -> int:
        return random.choice((random.randint(250, 4000), random.choice(_RATES)))

    changes = random.choice((0, 0, 1, 2, 3, 4))
    rates = [(random.randint(1, 60), random.choice((0, rate(), rate()))) for _ in range(changes)]
    return Habits(
        rates=(*rates, (1, rate())),
        bursts=random.random() < 0.5,
        fast=random.random() < 0.5,
        queue=random.choice((1, 2, 5, 250)),
        choke_every=random.choice((0, 0, 1, 2, 7)),
        choke=random.choice(("drops", "behind", "keeps")),
        loses=random.choice((0.0, 0.0, 0.05, 0.3)),
        refuses=random.choice((0, 0, 0, 1, random.randint(1, 300))),
    )


def random_seeds(random: Random) -> list[Habits]:
    """Draw the habits of one seed or, now and then, of two slow ones beside one that never sends anything."""
    habits = random_habits(random)
    if random.random() < 0.8:
        return [habits]
    slow = [replace(random_habits(random), rates=((1, random.randint(250, 4000)),)) for _ in range(2)]
    return [*slow, replace(habits, rates=((1, 0),))]
