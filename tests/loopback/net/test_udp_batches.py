"""Datagrams that are read many at a time are those that were sent, in order, whole, with their senders."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt.net import udp_offload
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


def read_all(reader: BatchReader, sock: socket.socket) -> list[tuple[bytes, tuple[str, int]]]:
    """Everything that has come, datagram by datagram, with its sender."""
    came = []
    while True:
        try:
            runs = reader.receive(sock)
        except BlockingIOError:
            return came
        for data, size, address in runs:
            assert len({bytes(data[at : at + 1]) for at in range(0, len(data), size or 1)}) <= 1 or not data
            came += [(bytes(data[at : at + size]), address) for at in range(0, len(data), size or 1)]


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
        assert read_all(make(), sockets.receiver) == [each for each in sent if each[0]]
    finally:
        sockets.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere datagrams are read one by one")
def test_datagrams_alike_lie_one_behind_the_other(sockets: Sockets) -> None:
    reader = batch_reader()

    def send() -> None:
        for number in range(40):
            sockets.send(0, numbered(number, 700))

    send()
    # From now on it expects more of the same size.
    read_all(reader, sockets.receiver)
    send()
    assert [(len(data), size) for data, size, _ in reader.receive(sockets.receiver)] == [(28000, 700)]


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
    lengths = [len(datagram) for datagram, _ in read_all(reader, sockets.receiver)]
    each = [size] * (total // size) + ([total % size] if total % size else [])
    assert lengths == [*each, size] * 3


@pytest.mark.parametrize("make", READERS)
def test_without_datagrams_it_does_not_block(make: Callable[[], BatchReader], sockets: Sockets) -> None:
    with pytest.raises(BlockingIOError):
        make().receive(sockets.receiver)
