"""Links of a swarm in virtual time: uplinks that connections share block by block, downlinks, and delays.

An uplink sends what its connections have queued, one block of each in turn, so each has an equal share, as TCP gives to
connections that are alike. What is sent takes the delay of both ends, and the time for which a busy uplink queues, and
then waits in the downlink. Headers and what is sent again take a share of each link's rate, and the acknowledgements of
what comes down a share of the uplink: on a slow one much more than on a fast one.
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
STANDING_QUEUE = 0.08
"""Seconds that a packet waits in a busy uplink. *Measured* with BBR, which keeps about a round trip queued."""
SMALL = 2000
"""A message of less bytes is not followed by another in the same packet train."""

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
        self._uplink = uplink
        self._free_at = 0.0

    def take(self, channel: Channel, messages: list[Message], size: int) -> None:
        """Messages have come to the link: deliver them when it has passed them on."""
        self._free_at = max(self._free_at, self._clock.now) + size / self._rate
        self._uplink.acknowledge(size)
        if size < SMALL:
            channel.deliver(messages)
        else:
            self._clock.at(self._free_at, channel.deliver, messages)


class Channel:
    """One direction of a connection.

    Args:
        uplink, downlink: of the hosts that it connects.
        delay: seconds that a message is under way.
        deliver: takes messages.
        on_sent: called when something has left the uplink.

    Attributes:
        queued: bytes that are not sent.
    """

    __slots__ = ("_arrived_at", "_delay", "_downlink", "_uplink", "deliver", "messages", "on_sent", "queued", "waits")

    def __init__(
        self,
        uplink: Uplink,
        downlink: Downlink,
        delay: float,
        deliver: Callable[[list[Message]], None],
        on_sent: Callable[[], None],
    ) -> None:
        self._uplink = uplink
        self._downlink = downlink
        self._delay = delay
        self._arrived_at = 0.0
        self.deliver = deliver
        self.on_sent = on_sent
        self.messages: deque[tuple[Message, int]] = deque()
        self.queued = 0
        self.waits = False

    def send(self, message: Message, size: int) -> None:
        """Queue a message."""
        self.messages.append((message, size))
        self.queued += size
        self._uplink.enqueue(self)

    def close(self) -> None:
        """Drop what is queued."""
        self.messages.clear()
        self.queued = 0

    def pop(self) -> tuple[list[Message], int]:
        """The messages up to the first block, and their bytes."""
        taken, size = [], 0
        while self.messages:
            message, length = self.messages.popleft()
            taken.append(message)
            size += length
            if length >= SMALL:
                break
        self.queued -= size
        return taken, size

    def launch(self, clock: Clock, at: float, messages: list[Message], size: int) -> None:
        """Messages leave the uplink at a time: they come in the order in which they were sent."""
        self._arrived_at = max(at + self._delay, self._arrived_at)
        clock.at(self._arrived_at, self._downlink.take, self, messages, size)


class Uplink:
    """The end of a link at which a host sends.

    Attributes:
        sent: the bytes of all messages.
        busy_time: seconds in which it was sending.
    """

    def __init__(self, clock: Clock, mbit: float) -> None:
        self._clock = clock
        self._rate = mbit * 125e3 * EFFICIENCY
        self._waiting: deque[Channel] = deque()
        self._is_busy = False
        self._owed = 0.0
        self.sent = 0
        self.busy_time = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether it sends something."""
        return self._is_busy

    def acknowledge(self, size: int) -> None:
        """Bytes have come down: while the link is busy, acknowledgements delay what it sends."""
        if self._is_busy:
            self._owed += ACKNOWLEDGEMENTS * size

    def enqueue(self, channel: Channel) -> None:
        """A channel has something to send."""
        if not channel.waits:
            channel.waits = True
            self._waiting.append(channel)
            if not self._is_busy:
                self._send()

    def _send(self) -> None:
        channel = self._waiting.popleft()
        messages, size = channel.pop()
        if channel.messages:
            self._waiting.append(channel)
        else:
            channel.waits = False
        self._is_busy = True
        duration = (size + self._owed) / self._rate
        self._owed = 0.0
        self.sent += size
        self.busy_time += duration
        now = self._clock.now
        queue = STANDING_QUEUE if self._waiting else 0.0
        channel.launch(self._clock, now + duration + queue, messages, size)
        self._clock.at(now + duration, self._on_sent, channel)

    def _on_sent(self, channel: Channel) -> None:
        channel.on_sent()
        self._is_busy = False
        if self._waiting:
            self._send()
