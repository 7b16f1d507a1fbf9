"""One uTP stream: its state, its timers, and what it has to send (BEP 29).

::

    CONNECTING --STATE--> OPEN --our FIN and theirs are acknowledged--> OVER
         |                  |
         +---- RESET, or no answer for too long ----> OVER, with an error

It is driven: packets and the time go in, by `receive`, `receive_run` and `wake`; bytes of the stream are written and
taken; and what is to be sent comes out of `transmit`, to be called after any of these.
"""

from __future__ import annotations

from enum import Enum
from math import ceil, inf

from geventbt import limits
from geventbt.protocol.messages import Buffer
from geventbt.protocol.utp import packets as p
from geventbt.protocol.utp.batches import Batch, fitting
from geventbt.protocol.utp.congestion import CongestionWindow
from geventbt.protocol.utp.delays import QueueMeter, RoundTrip
from geventbt.protocol.utp.inbox import Inbox
from geventbt.protocol.utp.outbox import Outbox, Sent
from geventbt.protocol.utp.pacer import Pacer

_NEVER = inf


class StreamState(Enum):
    """The state of a stream; see the diagram above."""

    CONNECTING = "connecting"
    OPEN = "open"
    OVER = "over"


class Failure(Enum):
    """Why a stream is over, if not because both sides have ended it."""

    REFUSED = "refused"
    RESET = "reset"
    SILENT = "silent"
    TOO_LARGE = "too large"
    """Its first large packets did not arrive, while smaller ones did."""
    ABORTED = "aborted"


class UtpStream:
    """A stream of bytes both ways. Made by a `Multiplexer`.

    Args:
        receive_id, send_id: the connection ids in packets to us, and from us.
        seq: the number of our first packet.
        expected: the number of the peer's first packet; None where we open the stream, and it is not known yet.
        datagram: bytes of our largest packets.
        room: bytes that are held for the reader at most.
        now: the time.

    Attributes:
        state, failure: see their classes; a failure is None unless it has failed.
        receive_id, send_id: see above.
        inbox: what has come.
    """

    def __init__(
        self, receive_id: int, send_id: int, seq: int, expected: int | None, *, datagram: int, room: int, now: float
    ) -> None:
        self.state = StreamState.CONNECTING if expected is None else StreamState.OPEN
        self.failure: Failure | None = None
        self.receive_id = receive_id
        self.send_id = send_id
        self.inbox = Inbox(expected or 0, room)
        self._payload = datagram - p.HEADER
        self._outbox = Outbox(seq)
        self._window = CongestionWindow(self._payload)
        self._pacer = Pacer(self._payload)
        self._round_trip = RoundTrip()
        self._queue = QueueMeter()
        self._peer_window = limits.UTP_FIRST_WINDOW
        self._difference = 0
        self._ack_due = False
        self._told_window = room
        self._timeouts = 0
        self._timeout_at = _NEVER
        self._paced_until = _NEVER
        self._may_probe = False
        self._sent_at = now
        self._fin: Sent | None = None
        self._is_finishing = False
        if expected is None:
            self._outbox.lost[seq] = self._outbox.number(p.SYN)

    # ------------------------------------------------------------------ the stream

    @property
    def unsent(self) -> int:
        """Bytes that were written and have not been sent."""
        return self._outbox.unsent

    @property
    def in_flight(self) -> int:
        """Bytes that were sent and are not acknowledged."""
        return self._outbox.in_flight

    @property
    def is_over(self) -> bool:
        """Whether nothing is to be sent or received any more."""
        return self.state is StreamState.OVER

    @property
    def queued(self) -> float | None:
        """Seconds that our packets wait in queues; None before one has been acknowledged."""
        return self._queue.queued if self._queue.is_known else None

    @property
    def window(self) -> float:
        """Bytes that may be on their way."""
        return self._window.size

    def write(self, data: Buffer) -> None:
        """Send bytes, which must not change any more."""
        self._outbox.write(data)

    def take(self, size: int) -> list[bytes]:
        """Bytes that have come, in order: at least `size`, or all that there are."""
        taken = self.inbox.take(size)
        window = self.inbox.window
        if self._told_window < self._payload * 2 <= window or window - self._told_window > window // 2:
            # The peer has stopped, or soon will.
            self._ack_due = True
        return taken

    def drop_unsent(self) -> None:
        """Forget what was written and has not been sent."""
        self._outbox.drop_unsent()

    def finish(self) -> None:
        """End our direction of the stream behind what was written."""
        self._is_finishing = True

    def abort(self) -> None:
        """End both directions at once."""
        self._fail(Failure.ABORTED)

    def refuse(self) -> None:
        """Note that the peer's machine has said that nothing listens there."""
        if self.state is StreamState.CONNECTING:
            self._fail(Failure.REFUSED)

    def cut(self) -> None:
        """End it as if the peer had reset it: our address has changed, by which the peer knows us."""
        self._fail(Failure.RESET)

    def reset_packet(self, now: float) -> bytes:
        """The packet that tells the peer that the stream is over."""
        return self._bare_packet(p.RESET, now)

    # ------------------------------------------------------------------ receiving

    def receive_run(self, run: p.Run, now: float) -> None:
        """Take several packets of a stream that is open."""
        if self._outbox.is_valid(run.ack):
            is_data = run.kind == p.DATA
            self._note_header(run.timestamp, run.difference, run.window, run.ack, None, now, is_data)
            if is_data:
                self.inbox.add_run(p.unwrap(run.seq, self.inbox.expected), run.payloads)
                self._ack_due = True
            self._note_end()

    def receive(self, packet: p.Packet, now: float) -> None:
        """Take a packet. One that does not fit is dropped."""
        if self.is_over or not self._outbox.is_valid(packet.ack):
            return
        if packet.kind == p.RESET:
            if self._outbox.is_current(packet.ack):
                self._fail(Failure.REFUSED if self.state is StreamState.CONNECTING else Failure.RESET)
            return
        if self.state is StreamState.CONNECTING:
            self._connect(packet, now)
        elif packet.kind in (p.DATA, p.FIN, p.STATE):
            is_data = packet.kind != p.STATE
            self._note_header(packet.timestamp, packet.difference, packet.window, packet.ack, packet.sack, now, is_data)
            if is_data:
                seq = p.unwrap(packet.seq, self.inbox.expected)
                if packet.kind == p.FIN:
                    self.inbox.finish(seq)
                else:
                    self.inbox.add(seq, packet.payload)
                self._ack_due = True
        self._note_end()

    def _connect(self, packet: p.Packet, now: float) -> None:
        """The acceptor's answer has the number of the first data packet that it will send."""
        if packet.kind == p.STATE and (packet.ack + 1) & 0xFFFF == self._outbox.next_seq & 0xFFFF:
            self.state = StreamState.OPEN
            self.inbox.expected = packet.seq
            self._note_header(
                packet.timestamp, packet.difference, packet.window, packet.ack, packet.sack, now, has_data=False
            )

    def _note_header(
        self, timestamp: int, difference: int, window: int, ack: int, sack: int | None, now: float, has_data: bool
    ) -> None:
        self._difference = (p.microseconds(now) - timestamp) & 0xFFFFFFFF
        self._peer_window = window
        self._timeouts = 0
        outbox = self._outbox
        was_full = outbox.in_flight + 2 * self._payload >= self._window.size
        settled = outbox.acknowledge(ack, sack, now, has_data=has_data)
        if settled.round_trip is not None:
            self._round_trip.add(settled.round_trip)
        if settled.packets:
            if difference:
                self._queue.add(difference, settled.round_trip, now)
            self._window.on_arrived(settled.acknowledged, settled.packets, self._queue.queued, was_full=was_full)
            self._timeout_at = now + self._round_trip.timeout
        if settled.lost:
            self._window.on_lost(settled.lost, self._queue.queued)
        if settled.packets:
            self._window.on_round(
                outbox.last_order, outbox.order, self._queue.queued, self._queue.least_round_trip, now
            )

    def _note_end(self) -> None:
        """It is over when both directions have ended, and are acknowledged."""
        is_sent = self._fin is not None and self._outbox.is_settled
        end = self.inbox.end
        if is_sent and end is not None and self.inbox.expected > end and not self._ack_due:
            self.state = StreamState.OVER

    def _fail(self, failure: Failure) -> None:
        if not self.is_over:
            self.state = StreamState.OVER
            self.failure = failure

    # ------------------------------------------------------------------ time

    def next_wake(self) -> float:
        """When `wake` and `transmit` are to be called if nothing happens before."""
        if self.is_over:
            return _NEVER
        return min(self._timeout_at, self._paced_until, self._sent_at + limits.UTP_KEEP_ALIVE)

    def wake(self, now: float) -> None:
        """Note the time."""
        if self.is_over:
            return
        self._paced_until = _NEVER if now >= self._paced_until else self._paced_until
        if now >= self._sent_at + limits.UTP_KEEP_ALIVE:
            self._ack_due = True
        if now < self._timeout_at:
            return
        self._timeout_at = _NEVER
        if not self._outbox.flight:
            self._may_probe = True
            return
        self._timeouts += 1
        allowed = limits.UTP_SYNS - 1 if self.state is StreamState.CONNECTING else limits.UTP_TIMEOUTS
        if self._timeouts > allowed:
            self._fail(Failure.SILENT)
            return
        if self._timeouts >= limits.UTP_LARGE_TIMEOUTS and self._sends_first_large():
            self._fail(Failure.TOO_LARGE)
            return
        self._round_trip.back_off()
        self._window.on_timeout()
        self._outbox.lose_all()

    def _sends_first_large(self) -> bool:
        """Whether the packet that does not arrive is larger than any that has arrived. It cannot be cut anew: nothing
        tells the peer that a number has come to stand for other bytes."""
        size = len(min(self._outbox.flight.values(), key=lambda packet: packet.seq).payload)
        return size > max(self._outbox.largest, limits.UTP_SIZES[-1])

    # ------------------------------------------------------------------ sending

    def transmit(self, now: float) -> list[Batch]:
        """What is to be sent now."""
        if self.is_over:
            return []
        batches: list[Batch] = []
        packets = self._due(now)
        at = 0
        while at < len(packets):
            count = fitting(packets, at)
            batches.append(self._batch(packets[at : at + count], now))
            at += count
        if self._ack_due and (not packets or self.inbox.has_gap) and self.state is StreamState.OPEN:
            batches.append(self._state_batch(now))
        if batches:
            self._ack_due = False
            self._sent_at = now
        self._arm(now)
        self._note_end()
        return batches

    def take_back(self, batch: Batch) -> None:
        """Note that a batch could not be sent: that says nothing of the network."""
        for packet in batch.packets:
            self._outbox.take_back(packet)

    def _due(self, now: float) -> list[Sent]:
        """The packets that may leave now, noted as sent."""
        outbox, window = self._outbox, self._window
        if not (outbox.lost or outbox.unsent or (self._is_finishing and self._fin is None)):
            return []
        paced = self._pacer.allowance(window.size, self._round_trip.smoothed, now, is_starting=window.is_starting)
        room = min(window.size, self._peer_window) - outbox.in_flight
        due: list[Sent] = []
        while (packet := outbox.next_lost()) is not None and self._may_send(len(packet.payload), room, paced):
            outbox.note_sent(packet, now)
            due.append(packet)
            room -= len(packet.payload)
            paced -= len(packet.payload)
        if self.state is StreamState.OPEN and packet is None:
            fresh = self._due_fresh(room, paced, now)
            paced -= sum(len(packet.payload) for packet in fresh)
            due += fresh
        self._pacer.spend(sum(len(packet.payload) for packet in due))
        if (outbox.lost or outbox.unsent) and paced <= 0 < room:
            self._paced_until = self._pacer.ready_at(now)
        return due

    def _may_send(self, size: int, room: float, paced: float) -> bool:
        """Whether a packet may leave: one at least, or a window smaller than a packet would end everything."""
        return (size <= room and paced > 0) or not self._outbox.flight

    def _due_fresh(self, room: float, paced: float, now: float) -> list[Sent]:
        """New packets that may leave now."""
        outbox = self._outbox
        count = self._fresh_count(room, paced)
        fresh = outbox.send_queued(self._payload, count, now) if count > 0 else []
        if self._is_finishing and self._fin is None and not outbox.unsent:
            self._fin = outbox.number(p.FIN)
            outbox.note_sent(self._fin, now)
            fresh.append(self._fin)
        return fresh

    def _fresh_count(self, room: float, paced: float) -> int:
        outbox, payload = self._outbox, self._payload
        if not outbox.unsent:
            return 0
        count = ceil(outbox.unsent / payload) if outbox.unsent <= room else int(room // payload)
        if paced != inf:
            count = min(count, ceil(max(0.0, paced) / payload))
        if count <= 0 and not outbox.flight and self._takes_probe(min(payload, outbox.unsent)):
            return 1
        return min(count, limits.UTP_PACKETS_IN_FLIGHT - outbox.span)

    def _takes_probe(self, size: int) -> bool:
        """Whether to send a packet into a window that is too small: one each timeout, as the packet that would have
        told of a larger one may be lost; and always where only our own window is too small."""
        if self._peer_window >= size or self._may_probe:
            self._may_probe = False
            return True
        return False

    def _arm(self, now: float) -> None:
        outbox = self._outbox
        if not (outbox.flight or outbox.unsent):
            self._timeout_at = _NEVER
        elif self._timeout_at == _NEVER:
            self._timeout_at = now + self._round_trip.timeout

    @property
    def _ack(self) -> int:
        return (self.inbox.expected - 1) & 0xFFFF

    def _batch(self, packets: list[Sent], now: float) -> Batch:
        self._told_window = window = self.inbox.window
        kind = packets[0].kind
        # A request to connect has the id that the answers are to have.
        connection_id = self.receive_id if kind == p.SYN else self.send_id
        parts: list[Buffer] = [b""] * (2 * len(packets))
        parts[::2] = p.pack_numbered(
            kind,
            connection_id,
            p.microseconds(now),
            self._difference,
            window,
            [packet.seq for packet in packets],
            self._ack,
        )
        parts[1::2] = [packet.payload for packet in packets]
        # *Measured*: one buffer takes the system 9 us, and a list of as many 12.
        return Batch(b"".join(parts), len(packets[0].payload) + p.HEADER, packets)

    def _state_batch(self, now: float) -> Batch:
        self._told_window = window = self.inbox.window
        packet = self._bare_packet(p.STATE, now, window, self.inbox.sack)
        return Batch(packet, len(packet), [])

    def _bare_packet(self, kind: int, now: float, window: int = 0, sack: int | None = None) -> bytes:
        """A packet without a number of its own."""
        seq = self._outbox.next_seq & 0xFFFF
        return p.Packet(
            kind, self.send_id, p.microseconds(now), self._difference, window, seq, self._ack, sack
        ).to_bytes()
