"""How much a uTP stream may have on its way: LEDBAT (BEP 29, RFC 6817).

The window grows while packets wait less than a target in queues, and shrinks in proportion to the excess (as LEDBAT++
does, draft-irtf-iccrg-ledbat-plus-plus), so that a flow of TCP, which fills queues, gets the line. It begins by
doubling each round trip, until the first queue or loss: a queue then still grows for a round trip, and shows how fast
the line is, from which the window follows that the line needs.

Loss. Networks lose packets also where no queue is full. A cut for each of those would leave little of a long fat line:
of 50 Mbit/s with 100 ms and 1 % loss, 3 %. So a loss counts as congestion where packets wait in a queue, or where more
is lost than `limits.UTP_TOLERATED_LOSS` of what arrives: a queue that is too short to be measured.

A queue that overflows before it is as long as the target would never make the window smaller than TCP's. The target is
then half of what the queue was, and goes back to its usual value in minutes.

A round is the time from a packet to its acknowledgement. What a cut does is seen only a round later, so that there is
one cut in two rounds at the most.
"""

from __future__ import annotations

from enum import Enum

from geventbt import limits

_GROWTH = 3000
"""Bytes that the window may grow by in a round trip (libtorrent: 3000)."""
_INITIAL_PACKETS = 10
"""Packets of the first window (RFC 6928)."""
_MIN_PACKETS = 2
_START_QUEUE = 0.25
"""The part of the target at which doubling ends."""
_LOSS_QUEUE = 0.1
"""The part of the target from which on a loss is that of a queue."""
_CUT = 0.7
"""The part of the window that is kept after a loss (RFC 9438)."""
_LEAST_TARGET = 0.1
"""The part of the usual target that is aimed at in the least: less cannot be told from what hosts add."""
_TARGET_DOUBLES = 120.0
"""Seconds in which the target is twice as long again."""
_LOSSES_AT_ONCE = 8.0
"""Packets that may be lost one after another before that is congestion."""


class _Phase(Enum):
    DOUBLING = 0
    MEASURING = 1
    """A queue has begun: how much arrives in a round is what the line carries."""
    STEADY = 2


class CongestionWindow:
    """The window of one stream.

    Args:
        packet: bytes of a full packet.

    Attributes:
        size: bytes that may be on their way.
    """

    __slots__ = (
        "_arrived",
        "_began_at",
        "_doubles_to",
        "_losses_left",
        "_packet",
        "_phase",
        "_round_ends",
        "_rounds_to_cut",
        "_target",
        "size",
    )  # fmt: skip

    def __init__(self, packet: int) -> None:
        self._packet = packet
        self.size = float(_INITIAL_PACKETS * packet)
        self._phase = _Phase.DOUBLING
        self._doubles_to = float("inf")
        self._losses_left = _LOSSES_AT_ONCE
        self._target = limits.UTP_TARGET_DELAY
        # Of this round: the count of the first packet that was sent after its begin, when that was, what has arrived.
        self._round_ends = 0
        self._began_at = 0.0
        self._arrived = 0
        self._rounds_to_cut = 0

    @property
    def is_starting(self) -> bool:
        """Whether it still doubles."""
        return self._phase is _Phase.DOUBLING

    def on_arrived(self, size: int, packets: int, queued: float, *, was_full: bool) -> None:
        """Note that packets have arrived.

        Args:
            size: bytes of them.
            packets: how many.
            queued: seconds that packets wait in queues.
            was_full: whether as much was on its way as could be: else nothing is known of more.
        """
        target = self._target
        self._arrived += size
        most = max(_LOSSES_AT_ONCE, self.size / self._packet * limits.UTP_TOLERATED_LOSS)
        self._losses_left = min(most, self._losses_left + packets * limits.UTP_TOLERATED_LOSS)
        if self._phase is _Phase.DOUBLING:
            if queued > limits.UTP_TARGET_DELAY * _START_QUEUE:
                self._phase = _Phase.MEASURING
                # This round has seen the line half empty.
                self._rounds_to_cut = 2
            elif was_full:
                self.size += size
                if self.size >= self._doubles_to:
                    self._phase = _Phase.STEADY
        elif self._phase is _Phase.STEADY and was_full and queued < target:
            # A round acknowledges as many bytes as there are in the window.
            self.size += _GROWTH * (1 - queued / target) * size / self.size
        self._bound()

    def on_round(self, last_arrived: int, next_packet: int, queued: float, round_trip: float, now: float) -> None:
        """End the round, if the packets that were sent before it have been settled.

        Args:
            last_arrived: the count of the latest sent packet that has arrived.
            next_packet: the count of the next packet to be sent.
            queued: seconds that packets wait in queues.
            round_trip: seconds of a round trip without queues.
            now: the time.
        """
        if last_arrived < self._round_ends:
            return
        seconds, arrived = now - self._began_at, self._arrived
        self._round_ends, self._began_at, self._arrived = next_packet, now, 0
        self._rounds_to_cut = max(0, self._rounds_to_cut - 1)
        self._target = min(limits.UTP_TARGET_DELAY, self._target * 2 ** min(1.0, seconds / _TARGET_DOUBLES))
        if self._rounds_to_cut:
            return
        target = self._target
        if self._phase is _Phase.MEASURING:
            self._phase = _Phase.STEADY
            needed = arrived / seconds * (round_trip + target / 2) if seconds > 0 else self.size
            self._cut(needed / self.size)
        elif queued > target:
            self._cut(max(0.5, 2 - queued / target))

    def on_lost(self, packets: int, queued: float) -> None:
        """Note that packets are lost.

        Args:
            packets: how many.
            queued: seconds that packets wait in queues.
        """
        self._losses_left -= packets
        is_queue = queued > limits.UTP_TARGET_DELAY * _LOSS_QUEUE
        if is_queue:
            self._target = min(self._target, max(queued / 2, limits.UTP_TARGET_DELAY * _LEAST_TARGET))
        is_congestion = is_queue or self._losses_left < 0
        if is_congestion and not self._rounds_to_cut:
            self._losses_left = _LOSSES_AT_ONCE
            self._phase = _Phase.STEADY
            self._cut(_CUT)

    def on_timeout(self) -> None:
        """Note that nothing has arrived for long: begin anew, doubling up to half of what it was."""
        self._doubles_to = max(self.size / 2, _INITIAL_PACKETS * self._packet)
        self._phase = _Phase.DOUBLING
        self.size = float(self._packet)

    def _cut(self, part: float) -> None:
        self.size *= min(1.0, part)
        self._rounds_to_cut = 2
        self._bound()

    def _bound(self) -> None:
        self.size = min(max(self.size, _MIN_PACKETS * self._packet), limits.UTP_MAX_WINDOW)
