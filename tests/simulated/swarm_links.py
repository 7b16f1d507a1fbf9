"""Links of a swarm in virtual time: connections with a congestion window, uplinks with a queue, downlinks and delays.

A connection has so many bytes on their way as its congestion window allows: ten packets at first, twice as many with
each round trip until its rate grows no more, and from then on twice what its rate delivers in the least round trip, as
BBR has it (Cardwell and others, "BBR: congestion-based congestion control", 2016). An uplink sends what it is given in
this order, so the connections that share it queue in front of each other, and so do their requests, and the
acknowledgements of what comes down. Headers take a share of each link's rate. Nothing is lost.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, TypeAlias

EFFICIENCY = 0.962
"""The share of a link's rate that is left to the messages of the protocol: 1448 bytes of each packet of 1500, and a
little that is sent again."""
ACKNOWLEDGEMENTS = 0.018
"""Bytes of acknowledgements for each byte that is received: 52 for two packets."""
SMALL = 2000
"""A message of less bytes is not followed by another in the same packet train."""
FIRST_WINDOW = 10 * 1448
"""Bytes that a new connection has on their way at the most."""
GAIN, QUANTUM, LEAST_WINDOW = 2.0, 32 * 1024, 4 * 1448
"""The congestion window in rates by the least round trip, and bytes that it has besides, and at the least."""
GROWTH, ROUNDS = 1.25, 3
"""The link is full when the rate has grown by less than this factor in so many round trips."""
MEMORY = 10
"""Round trips for which the best rate counts."""

Message: TypeAlias = tuple[Any, ...]


class Clock:
    """The time, and what is to happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = count()

    def __call__(self) -> float:
        return self.now

    def at(self, time: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call something at a time."""
        heapq.heappush(self._events, (time, next(self._count), action, arguments))

    def after(self, seconds: float, action: Callable[..., None], *arguments: Any) -> None:
        """Call something later."""
        self.at(self.now + seconds, action, *arguments)

    def step(self) -> bool:
        """Go on to what happens next. Returns whether there was anything."""
        if not self._events:
            return False
        self.now, _, action, arguments = heapq.heappop(self._events)
        action(*arguments)
        return True


class Downlink:
    """The end of a link at which messages arrive, one after the other."""

    def __init__(self, clock: Clock, mbit: float, uplink: Uplink) -> None:
        self._clock = clock
        self._rate = mbit * 125e3 * EFFICIENCY
        self._free_at = 0.0
        self.uplink = uplink

    def take(self, channel: Channel, messages: list[Message], size: int) -> None:
        """Messages have come to the link: deliver and acknowledge them when it has passed them on."""
        self._free_at = max(self._free_at, self._clock.now) + size / self._rate
        self._clock.at(self._free_at, channel.arrive, messages, size)


class CongestionWindow:
    """The bytes that a connection may have on their way, by what is acknowledged; the times are in seconds.

    Attributes:
        size: in bytes.
        round_trip, least_round_trip: the last and the least one that was measured.
    """

    def __init__(self) -> None:
        self.size = float(FIRST_WINDOW)
        self.round_trip = 0.0
        self.least_round_trip = float("inf")
        self._rates: deque[tuple[float, float]] = deque()
        self._is_full = False
        self._best, self._unchanged, self._round_ends = 0.0, 0, 0.0

    @property
    def queue_time(self) -> float:
        """Seconds by which a round trip takes longer than at best."""
        return max(0.0, self.round_trip - self.least_round_trip)

    def on_acknowledged(self, now: float, round_trip: float, size: int, rate: float, *, is_limited: bool) -> None:
        """Note that bytes were acknowledged.

        Args:
            now: the time.
            round_trip: since they were sent.
            size: how many.
            rate: bytes a second that were delivered meanwhile.
            is_limited: whether the window, and not the sender, limits the rate.
        """
        self.round_trip = round_trip
        self.least_round_trip = min(self.least_round_trip, round_trip)
        rates = self._rates
        if is_limited or not rates or rate > rates[0][1]:
            while rates and rates[-1][1] <= rate:
                rates.pop()
            rates.append((now, rate))
        while len(rates) > 1 and rates[0][0] < now - MEMORY * self.least_round_trip:
            rates.popleft()
        if self._is_full:
            self.size = max(LEAST_WINDOW, GAIN * rates[0][1] * self.least_round_trip + QUANTUM)
        else:
            self.size += size if is_limited else 0
            if is_limited and now >= self._round_ends:
                self._end_round(now, rates[0][1])

    def _end_round(self, now: float, rate: float) -> None:
        self._round_ends = now + self.round_trip
        if rate >= GROWTH * self._best:
            self._best, self._unchanged = rate, 0
        else:
            self._unchanged += 1
            self._is_full = self._unchanged >= ROUNDS


class Channel:
    """One direction of a connection.

    Args:
        clock: the time.
        uplink, downlink: of the hosts that it connects.
        delay: seconds that a message is under way.
        deliver: takes messages.
        on_sent: called when something was acknowledged, so that more may be given to the uplink.

    Attributes:
        queued: bytes that are not given to the uplink.
        window: of the connection.
    """

    __slots__ = (
        "_clock", "_delay", "_delivered", "_downlink", "_messages", "_on_sent", "_sent", "_uplink",
        "deliver", "queued", "under_way", "window",
    )  # fmt: skip

    def __init__(
        self,
        clock: Clock,
        uplink: Uplink,
        downlink: Downlink,
        delay: float,
        deliver: Callable[[list[Message]], None],
        on_sent: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._uplink = uplink
        self._downlink = downlink
        self._delay = delay
        self._on_sent = on_sent
        self._messages: deque[tuple[Message, int]] = deque()
        # When each packet was sent, and what had been delivered then.
        self._sent: deque[tuple[float, int, bool]] = deque()
        self._delivered = 0
        self.deliver = deliver
        self.queued = 0
        self.under_way = 0
        self.window = CongestionWindow()

    def send(self, message: Message, size: int) -> None:
        """Queue a message."""
        self._messages.append((message, size))
        self.queued += size
        self._push()

    def close(self) -> None:
        """Drop what is queued."""
        self._messages.clear()
        self.queued = 0

    def _push(self) -> None:
        """Give the uplink what the window allows."""
        while self._messages and self.under_way < self.window.size:
            messages, size = self._pop()
            self.under_way += size
            is_limited = self.under_way >= self.window.size or self.queued > 0
            self._sent.append((self._clock.now, self._delivered, is_limited))
            self._uplink.send(self, messages, size)

    def _pop(self) -> tuple[list[Message], int]:
        """The messages up to the first block, and their bytes."""
        taken, size = [], 0
        while self._messages:
            message, length = self._messages.popleft()
            taken.append(message)
            size += length
            if length >= SMALL:
                break
        self.queued -= size
        return taken, size

    def launch(self, messages: list[Message], size: int) -> None:
        """Messages have left the uplink."""
        self._clock.after(self._delay, self._downlink.take, self, messages, size)

    def arrive(self, messages: list[Message], size: int) -> None:
        """Messages have come: their acknowledgement waits in the other uplink."""
        back = self._downlink.uplink.acknowledge(size) + self._delay
        self._clock.after(back, self._on_acknowledged, size)
        self.deliver(messages)

    def _on_acknowledged(self, size: int) -> None:
        now = self._clock.now
        sent_at, delivered, is_limited = self._sent.popleft()
        self._delivered += size
        self.under_way -= size
        round_trip = now - sent_at
        rate = (self._delivered - delivered) / round_trip
        self.window.on_acknowledged(now, round_trip, size, rate, is_limited=is_limited)
        self._push()
        self._on_sent()


class Uplink:
    """The end of a link at which a host sends.

    Attributes:
        sent: the bytes of all messages.
        busy_time: seconds in which it was sending.
    """

    def __init__(self, clock: Clock, mbit: float) -> None:
        self._clock = clock
        self._rate = mbit * 125e3 * EFFICIENCY
        self._free_at = 0.0
        self.sent = 0
        self.busy_time = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether it sends something."""
        return self._free_at > self._clock.now

    def acknowledge(self, size: int) -> float:
        """Bytes have come down. Returns the seconds until their acknowledgement has left."""
        now = self._clock.now
        self._free_at = max(self._free_at, now) + ACKNOWLEDGEMENTS * size / self._rate
        return self._free_at - now

    def send(self, channel: Channel, messages: list[Message], size: int) -> None:
        """Send messages of a channel behind what is queued."""
        duration = size / self._rate
        self._free_at = max(self._free_at, self._clock.now) + duration
        self.sent += size
        self.busy_time += duration
        self._clock.at(self._free_at, channel.launch, messages, size)
