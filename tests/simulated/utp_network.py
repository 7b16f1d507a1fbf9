"""uTP streams over links in virtual time: real packets, a heap of events, and no sockets.

A test sets rates, delays, queues, losses and clocks; nothing waits for a clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from geventbt.net.addresses import Address
from geventbt.protocol.utp.multiplexer import Multiplexer
from geventbt.protocol.utp.stream import UtpStream

UDP_AND_IP = 28
"""Bytes of the headers below a packet, which take their time on a line as well."""


class Clock:
    """Virtual time, and what is to happen in it."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> None:
        """Have something happen."""
        self._count += 1
        heappush(self._events, (when, self._count, action, arguments))

    def run_until(self, condition: Callable[[], bool], limit: float) -> bool:
        """Let time pass until a condition holds, or a limit. Returns whether it holds."""
        while self._events and not condition():
            if self._events[0][0] > limit:
                self.now = limit
                return condition()
            self.now, _, action, arguments = heappop(self._events)
            action(*arguments)
        return condition()


class Link:
    """One direction of a line.

    Args:
        clock: of the network.
        rng: for what is random.
        rate: bytes a second; None for no limit.
        delay: seconds, one way.
        queue: bytes that wait at most; what comes then is dropped.
        loss: the part of the packets that is lost.
        jitter: seconds by which packets are late at most, so that they overtake each other.
        copies: the part of the packets that come twice.

    Attributes:
        waits: (time, seconds that a packet waited in the queue) of each packet.
    """

    def __init__(
        self,
        clock: Clock,
        rng: random.Random,
        *,
        rate: float | None = None,
        delay: float = 0.05,
        queue: float = 1e9,
        loss: float = 0.0,
        jitter: float = 0.0,
        copies: float = 0.0,
    ) -> None:
        self._clock = clock
        self._rng = rng
        self.rate = rate
        self.delay = delay
        self._queue = queue
        self.loss = loss
        self._jitter = jitter
        self._copies = copies
        self._free_at = 0.0
        self.waits: list[tuple[float, float]] = []

    def send(self, size: int, arrive: Callable[..., None], *arguments: Any) -> None:
        """Carry a packet: call a function with these arguments when it arrives, if it does."""
        now, rng = self._clock.now, self._rng
        if self.rate is not None:
            wait = max(0.0, self._free_at - now)
            if wait * self.rate + size > self._queue:
                return
            self.waits.append((now, wait))
            self._free_at = now + wait + size / self.rate
            now = self._free_at
        for _ in range(2 if rng.random() < self._copies else 1):
            if rng.random() >= self.loss:
                self._clock.at(now + self.delay + rng.random() * self._jitter, arrive, *arguments)


class Host:
    """One end of a network: a multiplexer, and what was received.

    Args:
        clock: of the network.
        address: of the host.
        rng: for ids and numbers.
        offset, drift: what its own clock shows beside the network's, in seconds, and in seconds a second.

    Attributes:
        received: the bytes that have come, in all streams together.
        paused: whether nothing is read.
    """

    def __init__(
        self, clock: Clock, address: Address, rng: random.Random, *, offset: float = 0.0, drift: float = 0.0
    ) -> None:
        self._clock = clock
        self.address = address
        self._offset = offset
        self._drift = drift
        self.multiplexer = Multiplexer(b"a secret of 16 b", rng, listens=True)
        self.received = bytearray()
        self.streams: list[UtpStream] = []
        self.paused = False
        self._uplink: Link | None = None
        self._other: Host | None = None
        self._wakes: dict[UtpStream, float] = {}

    def plug(self, uplink: Link, other: Host) -> None:
        """Send to another host by a link."""
        self._uplink, self._other = uplink, other

    @property
    def time(self) -> float:
        """What its clock shows."""
        return self._clock.now * (1 + self._drift) + self._offset

    def connect(self) -> UtpStream:
        """Open a stream to the other host."""
        assert self._other is not None
        stream = self.multiplexer.connect(self._other.address, self.time)
        self.streams.append(stream)
        self.pump(stream)
        return stream

    def pump(self, stream: UtpStream) -> None:
        """Read and send what is due, and be woken for the rest."""
        if not self.paused:
            for chunk in stream.take(1 << 30):
                self.received += chunk
        for batch in stream.transmit(self.time):
            for at in range(0, len(batch.data), batch.size):
                self._send(batch.data[at : at + batch.size])
        wake = stream.next_wake()
        if wake < self._wakes.get(stream, float("inf")):
            self._wakes[stream] = wake
            self._clock.at((wake - self._offset) / (1 + self._drift), self._wake, stream, wake)

    def _send(self, data: bytes) -> None:
        assert self._uplink is not None
        assert self._other is not None
        self._uplink.send(len(data) + UDP_AND_IP, self._other.receive, data, self.address)

    def _wake(self, stream: UtpStream, wake: float) -> None:
        if self._wakes.get(stream) == wake:
            del self._wakes[stream]
            # A clock that drifts may be a little behind.
            stream.wake(max(self.time, wake))
            self.pump(stream)

    def receive(self, data: bytes, source: Address) -> None:
        """Take a packet."""
        self.multiplexer.receive(memoryview(data), len(data), source, self.time)
        for packet, _ in self.multiplexer.take_outgoing():
            self._send(packet)
        for stream, _ in self.multiplexer.take_opened():
            self.streams.append(stream)
        for stream in self.multiplexer.take_touched():
            self.pump(stream)


class Pair:
    """Two hosts, a link each way, and a stream that the first has opened.

    Args:
        rng: everything random comes from it.
        there, back: options of the links, see `Link`.
        near, far: options of the hosts, see `Host`.
    """

    def __init__(
        self,
        *,
        rng: random.Random | None = None,
        there: dict[str, float],
        back: dict[str, float],
        near: dict[str, float] | None = None,
        far: dict[str, float] | None = None,
    ) -> None:
        rng = rng or random.Random(1)
        self.clock = Clock()
        self.near = Host(self.clock, ("192.0.2.1", 1), rng, **(near or {}))
        self.far = Host(self.clock, ("192.0.2.2", 2), rng, **(far or {}))
        self.there = Link(self.clock, rng, **there)
        self.back = Link(self.clock, rng, **back)
        self.near.plug(self.there, self.far)
        self.far.plug(self.back, self.near)
        self.stream = self.near.connect()

    def send(self, data: bytes, limit: float) -> bool:
        """Send bytes there. Returns whether all have come, unchanged, before a time."""
        self.stream.write(data)
        self.near.pump(self.stream)
        return self.clock.run_until(lambda: len(self.far.received) >= len(data), limit) and self.far.received == data


class BulkFlow:
    """A flow like TCP's over a link: it fills the queue, and halves its window when that overflows (Reno).

    Args:
        clock: of the network.
        link: the way there.
        back: seconds of the way back.

    Attributes:
        delivered: bytes that have arrived.
    """

    _PACKET = 1500

    def __init__(self, clock: Clock, link: Link, back: float) -> None:
        self._clock = clock
        self._link = link
        self._back = back
        self._window = 10.0
        self._threshold = float("inf")
        self._next = 0
        self._flight: dict[int, float] = {}
        self._recovers_until = -1
        self.delivered = 0

    def start(self) -> None:
        """Begin to send, for ever."""
        self._fill()
        self._clock.at(self._clock.now + 1.0, self._check)

    def _fill(self) -> None:
        while len(self._flight) < self._window:
            seq = self._next
            self._next += 1
            self._flight[seq] = self._clock.now
            self._link.send(self._PACKET, self._arrive, seq)

    def _arrive(self, seq: int) -> None:
        self.delivered += self._PACKET
        self._clock.at(self._clock.now + self._back, self._acknowledge, seq)

    def _acknowledge(self, seq: int) -> None:
        if self._flight.pop(seq, None) is None:
            return
        self._window += 1 if self._window < self._threshold else 1 / self._window
        lost = [other for other in self._flight if other < seq - 3]
        for other in lost:
            del self._flight[other]
        if lost and max(lost) > self._recovers_until:
            self._recovers_until = self._next
            self._window = self._threshold = max(2.0, self._window / 2)
        self._fill()

    def _check(self) -> None:
        """What was lost with all that was behind it."""
        for seq, sent_at in list(self._flight.items()):
            if sent_at < self._clock.now - 2.0:
                del self._flight[seq]
        self._fill()
        self._clock.at(self._clock.now + 1.0, self._check)
