"""Datagrams that are read many at a time are those that were sent, in order, whole, with their senders."""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt.net import udp_offload
from geventbt.net.datagrams import Run
from geventbt.net.udp_batches import BatchReader, SingleReader, batch_reader

READERS: list[Callable[[], BatchReader]] = [batch_reader, SingleReader]

sizes = st.one_of(st.integers(0, 40), st.integers(1398, 1402), st.sampled_from([1400, 9000, 65000]))
"""Bytes of a datagram, often those of the one before."""


class Sockets:
    """One that receives, and two that send to it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.receiver, *self.senders = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(3))
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        for sock in (self.receiver, *self.senders):
            sock.bind((host, 0))
        self.receiver.setblocking(False)
        self.joins = udp_offload.enable(self.receiver, is_ipv6=":" in host)

    def send(self, sender: int, data: bytes) -> None:
        self.senders[sender].sendto(data, self.receiver.getsockname())

    def close(self) -> None:
        for sock in (self.receiver, *self.senders):
            sock.close()


@pytest.fixture(params=["127.0.0.1", "::1"])
def sockets(request: pytest.FixtureRequest) -> Iterator[Sockets]:
    made = Sockets(request.param)
    yield made
    made.close()


def batches(reader: BatchReader, sock: socket.socket, total: int) -> Iterator[list[Run]]:
    """What is read at a time, until that many bytes have come, and nothing more has: where another processor delivers a
    datagram, it comes a while after it is sent."""
    while total > 0:
        assert select.select([sock], [], [], 10)[0], "it did not come in time"
        runs = reader.receive(sock)
        total -= sum(len(data) for data, _, _ in runs)
        yield runs
    with suppress(BlockingIOError):
        while True:
            yield reader.receive(sock)


def read_all(reader: BatchReader, sock: socket.socket, total: int) -> list[tuple[bytes, tuple[str, int]]]:
    """Everything that comes, datagram by datagram, with its sender."""
    came = []
    for runs in batches(reader, sock, total):
        for data, size, address in runs:
            assert len({bytes(data[at : at + 1]) for at in range(0, len(data), size or 1)}) <= 1 or not data
            came += [(bytes(data[at : at + size]), address) for at in range(0, len(data), size or 1)]
    return came


def numbered(number: int, size: int) -> bytes:
    """A datagram that is unlike the others, but for its first byte."""
    return (b"A" + number.to_bytes(4, "big") + bytes(size))[:size]


@pytest.mark.parametrize("make", READERS)
@settings(max_examples=40, deadline=None)
@given(plan=st.lists(st.tuples(st.integers(0, 1), sizes, st.integers(1, 20)), max_size=6))
def test_every_datagram_comes_whole_in_order_and_with_its_sender(
    make: Callable[[], BatchReader], plan: list[tuple[int, int, int]]
) -> None:
    sockets = Sockets()
    try:
        sent = []
        for sender, size, count in plan:
            for _ in range(count if size < 9000 else 1):
                data = numbered(len(sent), size)
                sockets.send(sender, data)
                sent.append((data, sockets.senders[sender].getsockname()[:2]))
        total = sum(len(data) for data, _ in sent)
        assert read_all(make(), sockets.receiver, total) == [each for each in sent if each[0]]
    finally:
        sockets.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere datagrams are read one by one")
def test_datagrams_alike_lie_one_behind_the_other(sockets: Sockets) -> None:
    reader = batch_reader()

    def sent() -> list[list[tuple[int, int]]]:
        """Send, and see what is read at a time."""
        for number in range(40):
            sockets.send(0, numbered(number, 700))
        return [[(len(data), size) for data, size, _ in runs] for runs in batches(reader, sockets.receiver, 40 * 700)]

    sent()
    # From now on it expects more of the same size. They may not come all at once.
    read = sent()
    assert [len(runs) for runs in read] == [1] * len(read)
    assert {size for [(_, size)] in read} == {700}


@pytest.mark.parametrize("make", READERS)
@pytest.mark.parametrize(("size", "total"), [(100, 1000), (100, 1050), (1400, 63000), (1400, 1400)])
def test_datagrams_that_the_system_joined_are_told_apart(
    make: Callable[[], BatchReader], sockets: Sockets, size: int, total: int
) -> None:
    if not sockets.joins:
        pytest.skip("this system does not send many datagrams at once")
    reader = make()
    data = b"A" * total
    for _ in range(3):
        sockets.senders[0].sendmsg([data], udp_offload.segments(size), 0, sockets.receiver.getsockname())
        sockets.senders[0].sendto(b"A" * size, sockets.receiver.getsockname())
    lengths = [len(datagram) for datagram, _ in read_all(reader, sockets.receiver, 3 * (total + size))]
    each = [size] * (total // size) + ([total % size] if total % size else [])
    assert lengths == [*each, size] * 3


@pytest.mark.parametrize("make", READERS)
def test_without_datagrams_it_does_not_block(make: Callable[[], BatchReader], sockets: Sockets) -> None:
    with pytest.raises(BlockingIOError):
        make().receive(sockets.receiver)
