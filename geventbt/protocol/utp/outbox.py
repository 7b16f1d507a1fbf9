"""The sending half of a uTP stream: what is queued, on its way, lost, and acknowledged.

Packets keep number and payload for ever, so that it does not matter which of several copies arrives (BEP 29). Losses
are found by the order in which packets were sent, as in QUIC (RFC 9002): one is lost when three that were sent after it
have arrived, also where it is a copy itself.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from geventbt.protocol.messages import Buffer
from geventbt.protocol.utp.packets import DATA, unwrap

_REORDERED = 3
"""Packets that may overtake another."""


class Sent:
    """A packet that has a number.

    Attributes:
        seq: the number.
        kind: `DATA`, `FIN` or `SYN`.
        payload: of a `DATA` packet.
        order: counts what has been sent; of the last copy.
        sent_at: the time of the last copy.
        copies: how many have been sent.
    """

    __slots__ = ("copies", "kind", "order", "payload", "sent_at", "seq")

    def __init__(self, seq: int, kind: int, payload: Buffer, order: int, sent_at: float) -> None:
        self.seq = seq
        self.kind = kind
        self.payload = payload
        self.order = order
        self.sent_at = sent_at
        self.copies = 1


class Settled(NamedTuple):
    """What an acknowledgement has settled.

    Attributes:
        acknowledged: bytes that have arrived.
        packets: how many.
        round_trip: seconds; None where none of them was sent only once.
        lost: packets that are lost.
    """

    acknowledged: int
    packets: int
    round_trip: float | None
    lost: int


class Outbox:
    """What a stream has to send.

    Args:
        seq: the number of the first packet.

    Attributes:
        unsent: bytes that have not been sent yet.
        in_flight: bytes on their way.
        flight: the packets on their way, in the order in which they were sent.
        lost: the packets to be sent again.
        order: the count of the next packet that is sent.
        last_order: the count of the latest sent packet that has arrived; -1 before the first.
        largest: bytes of the largest payload that has arrived.
    """

    __slots__ = (
        "_acknowledged", "_chunks", "_next", "_repeats", "_sacked", "flight", "in_flight", "largest", "last_order",
        "lost", "order", "unsent",
    )  # fmt: skip

    def __init__(self, seq: int) -> None:
        self._next = seq
        # All below has arrived.
        self._acknowledged = seq
        # Bit i: the packet `_acknowledged` + 1 + i has arrived.
        self._sacked = 0
        self._repeats = 0
        self._chunks: deque[memoryview] = deque()
        self.unsent = 0
        self.in_flight = 0
        self.flight: dict[int, Sent] = {}
        self.lost: dict[int, Sent] = {}
        self.order = 0
        self.last_order = -1
        self.largest = 0

    @property
    def is_settled(self) -> bool:
        """Whether all that has been sent has arrived."""
        return not self.flight and not self.lost

    @property
    def next_seq(self) -> int:
        """The number of the next packet."""
        return self._next

    @property
    def span(self) -> int:
        """From the first packet that has not arrived to the last that has been sent."""
        return self._next - self._acknowledged

    def write(self, data: Buffer) -> None:
        """Queue bytes, which must not change any more."""
        if len(data):
            self._chunks.append(memoryview(data))
            self.unsent += len(data)

    def drop_unsent(self) -> None:
        """Forget what is queued."""
        self._chunks.clear()
        self.unsent = 0

    def send_queued(self, size: int, count: int, now: float) -> list[Sent]:
        """Make packets from what is queued, and note them as sent.

        Args:
            size: bytes of each payload but the last.
            count: how many packets at most.
            now: the time.
        """
        # The hottest loop of a seeder: *measured*, 0.5 us a packet, and three times that in a function a step.
        made: list[Sent] = []
        seq, order, flight = self._next, self.order, self.flight
        sent = 0
        while len(made) < count and self._chunks:
            head = self._chunks[0]
            whole = min(count - len(made), len(head) // size)
            for at in range(0, whole * size, size):
                packet = flight[seq] = Sent(seq, DATA, head[at : at + size], order, now)
                made.append(packet)
                seq += 1
                order += 1
            sent += whole * size
            if whole:
                self._chunks[0] = head[whole * size :]
            if len(self._chunks[0]) < size and len(made) < count:
                payload = self._join(size)
                if len(payload):
                    packet = flight[seq] = Sent(seq, DATA, payload, order, now)
                    made.append(packet)
                    seq += 1
                    order += 1
                    sent += len(payload)
        self._next, self.order = seq, order
        self.unsent -= sent
        self.in_flight += sent
        return made

    def _join(self, size: int) -> bytes:
        """A payload from the ends of several writes."""
        parts: list[memoryview] = []
        missing = size
        while missing and self._chunks:
            head = self._chunks.popleft()
            if len(head) > missing:
                self._chunks.appendleft(head[missing:])
                head = head[:missing]
            parts.append(head)
            missing -= len(head)
        return b"".join(parts)

    def number(self, kind: int) -> Sent:
        """Make the next packet, without data."""
        packet = Sent(self._next, kind, b"", 0, 0.0)
        packet.copies = 0
        self._next += 1
        return packet

    def note_sent(self, packet: Sent, now: float) -> None:
        """Note that a packet that has a number, or one more copy of it, is on its way."""
        self.lost.pop(packet.seq, None)
        packet.order = self.order
        packet.sent_at = now
        packet.copies += 1
        self.order += 1
        self.flight[packet.seq] = packet
        self.in_flight += len(packet.payload)

    def take_back(self, packet: Sent) -> None:
        """Note that a packet has not left this machine after all."""
        if self.flight.pop(packet.seq, None) is not None:
            self.in_flight -= len(packet.payload)
            packet.copies -= 1
            self.lost[packet.seq] = packet

    def next_lost(self) -> Sent | None:
        """The packet that is to be sent again first."""
        return next(iter(self.lost.values()), None)

    def is_current(self, ack: int) -> bool:
        """Whether it is of a packet that is on its way or lost, or of the one before the first of those."""
        return (ack + 1 - self._acknowledged) & 0xFFFF <= self.span

    def is_valid(self, ack: int) -> bool:
        """Whether the 16 bits of an acknowledgement are of a packet that was sent; it may have been overtaken by
        others."""
        return (ack + 1 - self._acknowledged) & 0xFFFF <= self.span or (self._acknowledged - 1 - ack) & 0xFFFF < 0x4000

    def acknowledge(self, ack: int, sack: int | None, now: float, *, has_data: bool) -> Settled:
        """Take an acknowledgement that `is_valid`.

        Args:
            ack, sack: see `Packet`.
            now: the time.
            has_data: whether it came with data, and repeats itself for that reason.
        """
        upto = unwrap(ack, self._acknowledged) + 1
        if upto < self._acknowledged:
            return Settled(0, 0, None, 0)
        arrived: list[Sent] = []
        if upto > self._acknowledged:
            self._repeats = 0
            pop = self.flight.pop
            for seq in range(self._acknowledged, upto):
                packet = pop(seq, None)
                if packet is None:
                    packet = self._settle_lost(seq)
                if packet is not None:
                    arrived.append(packet)
            self._sacked >>= upto - self._acknowledged
            self._acknowledged = upto
        elif self.flight and not has_data and sack is None:
            self._repeats += 1
        if sack:
            self._settle_sacked(sack, arrived)
        return self._outcome(arrived, now)

    def _settle_sacked(self, sack: int, arrived: list[Sent]) -> None:
        fresh = sack & ~self._sacked & ((1 << max(0, self.span - 1)) - 1)
        self._sacked |= fresh
        first = self._acknowledged + 1
        while fresh:
            lowest = fresh & -fresh
            seq = first + lowest.bit_length() - 1
            packet = self.flight.pop(seq, None) or self._settle_lost(seq)
            if packet is not None:
                arrived.append(packet)
            fresh ^= lowest

    def _settle_lost(self, seq: int) -> Sent | None:
        """The packet, if it was taken for lost and has arrived all the same."""
        packet = self.lost.pop(seq, None)
        if packet is not None:
            self.in_flight += len(packet.payload)
        return packet

    def _outcome(self, arrived: list[Sent], now: float) -> Settled:
        round_trip: float | None = None
        acknowledged = 0
        for packet in arrived:
            size = len(packet.payload)
            acknowledged += size
            if size > self.largest:
                self.largest = size
            if packet.order > self.last_order:
                self.last_order = packet.order
                # Of one that was sent twice it is not known which copy has arrived (Karn).
                round_trip = now - packet.sent_at if packet.copies == 1 else None
        self.in_flight -= acknowledged
        return Settled(acknowledged, len(arrived), round_trip, self._find_lost())

    def _find_lost(self) -> int:
        latest = self.last_order - _REORDERED
        overtaken: list[Sent] = []
        for packet in self.flight.values():
            if packet.order > latest:
                break
            overtaken.append(packet)
        if self._repeats >= _REORDERED and not overtaken and self._acknowledged in self.flight:
            # From a peer without selective acknowledgements.
            self._repeats = 0
            overtaken.append(self.flight[self._acknowledged])
        for packet in overtaken:
            self._lose(packet)
        return len(overtaken)

    def lose_all(self) -> None:
        """Send again all that is on its way: nothing has arrived for too long."""
        for packet in list(self.flight.values()):
            self._lose(packet)
        self.lost = dict(sorted(self.lost.items()))

    def _lose(self, packet: Sent) -> None:
        del self.flight[packet.seq]
        self.in_flight -= len(packet.payload)
        self.lost[packet.seq] = packet
