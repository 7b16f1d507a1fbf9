"""uTP's streams and multiplexer by bytes alone: beginnings and ends, resets, and what strangers may send."""

from __future__ import annotations

import random
import tracemalloc
from time import process_time

import pytest

from geventbt import limits
from geventbt.net.addresses import Address
from geventbt.protocol.utp import packets as p
from geventbt.protocol.utp.multiplexer import Multiplexer
from geventbt.protocol.utp.stream import Failure, StreamState, UtpStream

NEAR, FAR = ("192.0.2.1", 1), ("192.0.2.2", 2)


class Ends:
    """Two multiplexers, and a clock that stands still."""

    def __init__(self) -> None:
        self.now = 100.0
        self.near = Multiplexer(b"n" * 16, random.Random(1), listens=False)
        self.far = Multiplexer(b"f" * 16, random.Random(2), listens=True)

    def packets(self, stream: UtpStream) -> list[p.Packet]:
        found = []
        for batch in stream.transmit(self.now):
            for at in range(0, len(batch.data), batch.size):
                packet = p.parse(batch.data[at : at + batch.size])
                assert packet is not None
                found.append(packet)
        return found

    def give(self, to: Multiplexer, source: Address, *packets: p.Packet) -> list[p.Packet]:
        """Have packets arrive. Returns what is answered beside the streams."""
        for packet in packets:
            data = packet.to_bytes()
            to.receive(memoryview(data), len(data), source, self.now)
        return [packet for data, _ in to.take_outgoing() if (packet := p.parse(data)) is not None]

    def open(self) -> tuple[UtpStream, UtpStream]:
        near = self.near.connect(FAR, self.now)
        (answer,) = self.give(self.far, NEAR, *self.packets(near))
        self.give(self.near, FAR, answer)
        near.write(b"hello")
        self.give(self.far, NEAR, *self.packets(near))
        ((far, address),) = self.far.take_opened()
        assert address == NEAR
        assert far.take(100) == [b"hello"]
        self.give(self.near, FAR, *self.packets(far))
        return near, far


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_the_time_in_queues_is_known_from_the_first_acknowledgement_on(ends):
    near = ends.near.connect(FAR, ends.now)
    (syn,) = ends.packets(near)
    assert near.queued is None
    ends.now += 0.05
    (answer,) = ends.give(ends.far, NEAR, syn)
    ends.now += 0.05
    ends.give(ends.near, FAR, answer)
    assert near.queued == 0


def test_a_stream_opens_and_the_ids_and_numbers_are_those_of_bep_29(ends):
    near = ends.near.connect(FAR, ends.now)
    (syn,) = ends.packets(near)
    assert (syn.kind, syn.connection_id) == (p.SYN, near.receive_id)
    (answer,) = ends.give(ends.far, NEAR, syn)
    assert (answer.kind, answer.connection_id, answer.ack) == (p.STATE, syn.connection_id, syn.seq)
    assert ends.far.take_opened() == []
    ends.give(ends.near, FAR, answer)
    assert near.state is StreamState.OPEN
    near.write(b"hello")
    (data,) = ends.packets(near)
    assert (data.connection_id, data.seq, data.ack) == (
        (syn.connection_id + 1) & 0xFFFF,
        (syn.seq + 1) & 0xFFFF,
        (answer.seq - 1) & 0xFFFF,
    )
    ends.give(ends.far, NEAR, data)
    ((far, _),) = ends.far.take_opened()
    far.write(b"hi")
    (reply,) = ends.packets(far)
    assert (reply.connection_id, reply.seq, reply.ack) == (syn.connection_id, answer.seq, data.seq)
    ends.give(ends.near, FAR, reply)
    assert near.take(100) == [b"hi"]


def test_the_first_packets_of_a_stream_may_come_in_any_order(ends):
    near = ends.near.connect(FAR, ends.now)
    (answer,) = ends.give(ends.far, NEAR, *ends.packets(near))
    ends.give(ends.near, FAR, answer)
    sent = []
    for word in (b"one ", b"two ", b"three"):
        near.write(word)
        sent += ends.packets(near)
    ends.give(ends.far, NEAR, *reversed(sent))
    ((far, _),) = ends.far.take_opened()
    assert b"".join(far.take(100)) == b"one two three"


def test_two_that_ask_each_other_at_the_same_time_get_a_stream_each(ends):
    ends.near = Multiplexer(b"n" * 16, random.Random(1), listens=True)
    near, far = ends.near.connect(FAR, ends.now), ends.far.connect(NEAR, ends.now)
    (near_syn,), (far_syn,) = ends.packets(near), ends.packets(far)
    (to_near,), (to_far,) = ends.give(ends.far, NEAR, near_syn), ends.give(ends.near, FAR, far_syn)
    ends.give(ends.near, FAR, to_near)
    ends.give(ends.far, NEAR, to_far)
    assert (near.state, far.state) == (StreamState.OPEN, StreamState.OPEN)
    near.write(b"from near")
    far.write(b"from far")
    ends.give(ends.far, NEAR, *ends.packets(near))
    ends.give(ends.near, FAR, *ends.packets(far))
    ((accepted_far, _),), ((accepted_near, _),) = ends.far.take_opened(), ends.near.take_opened()
    assert (accepted_far.take(100), accepted_near.take(100)) == ([b"from near"], [b"from far"])
    # One of them is given up, and the other one goes on.
    far.abort()
    reset = p.parse(far.reset_packet(ends.now))
    assert reset is not None
    ends.give(ends.near, FAR, reset)
    assert (accepted_near.failure, near.state) == (Failure.RESET, StreamState.OPEN)
    near.write(b"more")
    ends.give(ends.far, NEAR, *ends.packets(near))
    assert accepted_far.take(100) == [b"more"]


def test_a_request_to_connect_is_answered_the_same_way_again(ends):
    near = ends.near.connect(FAR, ends.now)
    (syn,) = ends.packets(near)
    assert ends.give(ends.far, NEAR, syn)[0].seq == ends.give(ends.far, NEAR, syn)[0].seq


def test_a_stream_that_did_not_get_our_answer_cannot_be_opened(ends):
    for guess in range(200):
        data = p.Packet(p.DATA, 5, 0, 0, 0, 10, guess, None, b"hello")
        ends.give(ends.far, NEAR, data)
    assert ends.far.take_opened() == []
    assert not ends.far.streams


def test_peers_ask_again_while_there_is_no_room(ends):
    near = ends.near.connect(FAR, ends.now)
    (answer,) = ends.give(ends.far, NEAR, *ends.packets(near))
    ends.give(ends.near, FAR, answer)
    near.write(b"hello")
    (data,) = ends.packets(near)
    ends.far.accepts = False
    assert ends.give(ends.far, NEAR, data) == []
    assert not ends.far.streams
    ends.far.accepts = True
    ends.now = near.next_wake()
    near.wake(ends.now)
    ends.give(ends.far, NEAR, *ends.packets(near))
    assert len(ends.far.take_opened()) == 1


def test_forged_requests_to_connect_cost_nothing_and_are_not_amplified(ends):
    tracemalloc.start()
    began = process_time()
    answered = sent = 0
    for number in range(10_000):
        source = f"198.51.{number >> 8}.{number & 0xFF}", 1 + number
        data = p.pack(p.SYN, number & 0xFFFF, 0, 0, 0, number & 0xFFFF, 0)
        sent += len(data)
        ends.far.receive(memoryview(data), len(data), source, ends.now)
        answered += sum(len(answer) for answer, _ in ends.far.take_outgoing())
    seconds, (held, _) = process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not ends.far.streams
    assert answered <= sent
    assert held < 1 << 20
    # A tenth of it without tracemalloc, on the machine of the time.
    assert seconds < 10


def test_packets_of_no_stream_are_answered_with_few_resets(ends):
    stray = p.Packet(p.DATA, 5, 0, 0, 0, 10, 20, None, b"x")
    (reset,) = ends.give(ends.far, NEAR, stray)
    assert (reset.kind, reset.connection_id, reset.ack) == (p.RESET, 5, 10)
    assert ends.give(ends.far, NEAR, stray, stray) == []
    ends.now += limits.UTP_RESET_INTERVAL
    assert len(ends.give(ends.far, NEAR, stray)) == 1
    ends.now += 1
    answers = [answer for n in range(1000) for answer in ends.give(ends.far, (f"203.0.113.{n % 250}", n + 1), stray)]
    assert len(answers) == limits.UTP_RESETS_PER_SECOND


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_reset_ends_a_stream_if_it_names_a_packet_that_was_sent(ends, shift):
    near, _ = ends.open()
    near.write(b"more")
    (data,) = ends.packets(near)
    reset = p.Packet(p.RESET, near.receive_id, 0, 0, 0, 0, data.seq)
    ends.give(ends.near, FAR, reset._replace(ack=(data.seq + 100) & 0xFFFF))
    ends.give(ends.near, FAR, reset._replace(ack=(data.seq - 100) & 0xFFFF))
    ends.give(ends.near, ("192.0.2.9", 2), reset)
    assert near.failure is None
    ends.give(ends.near, FAR, reset._replace(connection_id=(near.receive_id + shift) & 0xFFFF))
    assert (near.failure is Failure.RESET) == (shift >= 0)


def test_nobody_else_acknowledges_or_adds_to_a_stream(ends):
    near, far = ends.open()
    forged = p.Packet(p.DATA, far.receive_id, 0, 0, 0, 1, 1, None, b"forged")
    ends.give(ends.far, NEAR, *(forged._replace(ack=ack, seq=ack) for ack in range(0, 0x10000, 97)))
    ends.give(ends.far, ("192.0.2.9", 1), forged)
    near.write(b"honest")
    ends.give(ends.far, NEAR, *ends.packets(near))
    assert b"honest" in b"".join(far.take(1 << 20))


def test_an_address_where_nothing_listens_refuses_at_once(ends):
    near = ends.near.connect(FAR, ends.now)
    (syn,) = ends.packets(near)
    ends.near.refused(syn.to_bytes(), ("192.0.2.9", 2))
    ends.near.refused(b"\x00" * 20, FAR)
    assert near.state is StreamState.CONNECTING
    ends.near.refused(syn.to_bytes(), FAR)
    assert near.failure is Failure.REFUSED


def test_a_peer_that_does_not_answer_is_given_up(ends):
    near = ends.near.connect(FAR, ends.now)
    asked = 0
    began = ends.now
    while not near.is_over:
        asked += len(ends.packets(near))
        ends.now = min(near.next_wake(), ends.now + 60)
        near.wake(ends.now)
    assert (near.failure, asked) == (Failure.SILENT, limits.UTP_SYNS)
    assert ends.now - began < limits.CONNECT_TIMEOUT


def test_both_ends_end_a_stream_and_it_is_over_when_each_knows(ends):
    near, far = ends.open()
    near.write(b"last")
    near.finish()
    ends.give(ends.far, NEAR, *ends.packets(near))
    assert far.take(100) == [b"last"]
    assert far.inbox.at_end
    far.finish()
    ends.give(ends.near, FAR, *ends.packets(far))
    ends.give(ends.far, NEAR, *ends.packets(near))
    assert (near.state, far.state) == (StreamState.OVER, StreamState.OVER)
    assert (near.failure, far.failure) == (None, None)


def test_packets_of_a_stream_that_is_over_are_not_answered(ends):
    near, far = ends.open()
    near.write(b"more")
    packets = ends.packets(near)
    ends.far.remove(far, NEAR)
    assert ends.give(ends.far, NEAR, *packets) == []
    assert not ends.far.streams


def test_a_window_that_was_closed_is_asked_for_until_it_opens(ends):
    near, far = ends.open()
    state = p.Packet(p.STATE, near.receive_id, 0, 0, 0, (far.receive_id) & 0xFFFF, 0)
    ack = near.reset_packet(0.0)
    closed = p.parse(ack)
    assert closed is not None
    ends.give(ends.near, FAR, state._replace(ack=(closed.seq - 1) & 0xFFFF, window=0))
    near.write(b"waiting")
    assert ends.packets(near) == []
    ends.now = near.next_wake()
    near.wake(ends.now)
    (probe,) = ends.packets(near)
    assert probe.payload == b"waiting"


def test_large_packets_that_never_arrive_make_the_next_stream_send_smaller_ones(ends):
    near, far = ends.open()
    assert ends.near.datagram_to(FAR[0]) == limits.UTP_SIZES[0]
    near.write(bytes(10_000))
    while not near.is_over:
        small = [packet for packet in ends.packets(near) if len(packet.payload) < 1000]
        ends.give(ends.far, NEAR, *small)
        ends.give(ends.near, FAR, *ends.packets(far))
        ends.now = near.next_wake()
        near.wake(ends.now)
    assert near.failure is Failure.TOO_LARGE
    ends.near.remove(near, FAR)
    assert ends.near.datagram_to(FAR[0]) == limits.UTP_SIZES[1]
    assert ends.near.datagram_to("192.0.2.3") == limits.UTP_SIZES[0]


def test_an_idle_stream_keeps_the_routers_tables(ends):
    near, _ = ends.open()
    ends.packets(near)
    assert near.next_wake() - ends.now == pytest.approx(limits.UTP_KEEP_ALIVE)
    ends.now = near.next_wake()
    near.wake(ends.now)
    assert [packet.kind for packet in ends.packets(near)] == [p.STATE]
