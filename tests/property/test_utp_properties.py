"""uTP between two ends over any network: what was written arrives, once and in order, and nothing breaks a stream."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt.protocol.utp import packets as p
from geventbt.protocol.utp.batches import Batch
from geventbt.protocol.utp.inbox import Inbox
from geventbt.protocol.utp.multiplexer import Multiplexer
from geventbt.protocol.utp.stream import StreamState, UtpStream

NEAR, FAR = ("192.0.2.1", 1), ("192.0.2.2", 2)
FATES = st.lists(st.sampled_from(["arrives", "arrives", "arrives", "lost", "twice", "late"]), max_size=200)


class Script:
    """Carries packets between two ends as a script says, and the rest in order, with no loss.

    Args:
        fates: what becomes of each packet.
        seq: the number of the first packet, so that numbers wrap.
    """

    def __init__(self, fates: list[str], seed: int) -> None:
        self.now = 0.0
        rng = random.Random(seed)
        self._fates = iter(fates)
        self.near = Multiplexer(b"n" * 16, rng, listens=True)
        self.far = Multiplexer(b"f" * 16, rng, listens=True)
        self._late: list[tuple[Multiplexer, bytes, Any]] = []
        self.stream = self.near.connect(FAR, 0.0)
        self.other: UtpStream | None = None
        self.got = bytearray()
        self.got_back = bytearray()

    def _carry(self, to: Multiplexer, batches: list[Batch], source: Any) -> None:
        for batch in batches:
            for at in range(0, len(batch.data), batch.size):
                self._carry_one(to, batch.data[at : at + batch.size], source)

    def _carry_one(self, to: Multiplexer, data: bytes, source: Any) -> None:
        fate = next(self._fates, "arrives")
        if fate == "late":
            self._late.append((to, data, source))
            return
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            to.receive(memoryview(data), len(data), source, self.now)

    def step(self) -> None:
        """Let everything happen that is due, and the next timer fire if nothing is."""
        self.now += 0.01
        late, self._late = self._late, []
        for to, data, source in late:
            to.receive(memoryview(data), len(data), source, self.now)
        self._carry(self.far, self.stream.transmit(self.now), NEAR)
        for data, _ in self.far.take_outgoing():
            self._carry_one(self.near, data, FAR)
        for stream, _ in self.far.take_opened():
            self.other = stream
        self.got_back += b"".join(self.stream.take(1000))
        if self.other is not None:
            self.got += b"".join(self.other.take(1000))
            self._carry(self.near, self.other.transmit(self.now), FAR)
        for stream in (self.stream, self.other):
            if stream is not None:
                stream.wake(self.now)

    def run(self, steps: int = 20_000) -> None:
        for _ in range(steps):
            if self.stream.is_over and self.other is not None and self.other.is_over:
                return
            self.step()


@settings(max_examples=60, deadline=None)
@given(FATES, st.integers(0, 1 << 30), st.lists(st.binary(min_size=1, max_size=4000), min_size=1, max_size=8))
def test_both_ends_get_all_that_was_written_whatever_the_network_does(fates, seed, writes):
    script = Script(fates, seed)
    sent = b"".join(writes)
    for data in writes:
        script.stream.write(data)
    script.stream.finish()
    answered = False
    for _ in range(20_000):
        if script.stream.state is StreamState.OVER or (script.other is not None and script.other.is_over):
            break
        script.step()
        if not answered and script.other is not None and len(script.got) == len(sent):
            answered = True
            script.other.write(sent[::-1])
            script.other.finish()
    if script.stream.failure is None:
        assert bytes(script.got) == sent
        assert sent[::-1].startswith(bytes(script.got_back))
    else:
        # The request to connect, or all copies of a packet, were lost.
        assert "lost" in fates or "late" in fates


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.builds(
            p.Packet,
            kind=st.integers(0, 4),
            connection_id=st.integers(0, 3).map(lambda shift: shift),
            timestamp=st.integers(0, 0xFFFFFFFF),
            difference=st.integers(0, 0xFFFFFFFF),
            window=st.integers(0, 0xFFFFFFFF),
            seq=st.integers(-3, 30).map(lambda shift: shift & 0xFFFF),
            ack=st.integers(-3, 30).map(lambda shift: shift & 0xFFFF),
            sack=st.one_of(st.none(), st.integers(1, 1 << 2000)),
            payload=st.binary(max_size=10),
        ),
        max_size=30,
    ),
    st.integers(0, 1 << 16),
)
def test_no_packet_breaks_a_stream_or_adds_more_than_was_sent(packets, seed):
    stream = UtpStream(1, 2, seed, seed, datagram=100, room=1000, now=0.0)
    stream.write(bytes(5000))
    now = 0.0
    for packet in packets:
        now += 0.1
        moved = packet._replace(seq=(packet.seq + seed) & 0xFFFF, ack=(packet.ack + seed) & 0xFFFF, connection_id=1)
        parsed = p.parse(moved.to_bytes())
        assert parsed is not None
        stream.receive(parsed, now)
        stream.wake(now)
        stream.transmit(now)
        assert 0 <= stream.in_flight <= 5000
        assert 0 <= stream.unsent <= 5000
        assert stream.inbox.ready <= 1000
        assert stream.window > 0
        if stream.is_over:
            return
        assert stream.next_wake() > 0


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=100), st.integers(1, 60))
def test_any_bytes_are_packets_or_nothing(data, size):
    p.parse(data)
    whole = len(data) - len(data) % size
    if whole:
        p.parse_run(memoryview(data)[:whole], size)
    multiplexer = Multiplexer(b"n" * 16, random.Random(1), listens=True)
    if data:
        multiplexer.receive(memoryview(data), size, NEAR, 1.0)
        assert sum(len(answer) for answer, _ in multiplexer.take_outgoing()) <= max(20, len(data))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 40), st.integers(1, 5)), max_size=60))
def test_an_inbox_gives_each_packet_once_and_in_order(arrivals):
    inbox = Inbox(0, 1 << 20)
    have: set[int] = set()
    for first, count in arrivals:
        inbox.add_run(first, [bytes([seq & 0xFF]) for seq in range(first, first + count)])
        have |= {seq for seq in range(first, first + count) if seq >= 0}
    expected = next(seq for seq in range(100) if seq not in have)
    assert inbox.expected == expected
    assert b"".join(inbox.take(1 << 20)) == bytes(range(expected))
    sack = sum(1 << (seq - expected - 1) for seq in have if seq > expected)
    assert (inbox.sack or 0) == sack
