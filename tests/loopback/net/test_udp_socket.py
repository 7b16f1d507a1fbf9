"""A UDP socket that several protocols share."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from time import process_time

import gevent
import pytest

from geventbt.net import udp_offload
from geventbt.net.udp_socket import UdpSocket
from tests.loopback.harness import eventually

SIZE = 100


class One:
    """Takes datagrams one by one."""

    def __init__(self) -> None:
        self.got: list[bytes] = []

    def receive(self, data: bytes, address: tuple[str, int]) -> None:
        self.got.append(data)

    def drained(self) -> None:
        pass


class Many:
    """Takes many at once."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.returned: list[bytes] = []

    def receive_batch(self, data: memoryview, size: int, address: tuple[str, int]) -> None:
        self.got += [bytes(data[at : at + size]) for at in range(0, len(data), size)]

    def drained(self) -> None:
        pass

    def refused(self, data: bytes, address: tuple[str, int]) -> None:
        self.returned.append(data)

    def writable(self) -> None:
        pass

    def moved(self) -> None:
        pass


@pytest.fixture
def shared() -> Iterator[UdpSocket]:
    made = UdpSocket.at(("127.0.0.1", 0))
    yield made
    made.close()


@pytest.fixture
def sender() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        yield sock


def send_together(sender: socket.socket, to: UdpSocket, packets: list[bytes]) -> None:
    """Send datagrams of one size in one call, where the system has that, so that they come in one as well."""
    try:
        sender.sendmsg([b"".join(packets)], udp_offload.segments(SIZE), 0, to.address)
    except OSError:
        for packet in packets:
            sender.sendto(packet, to.address)


def packets_of(byte: int) -> list[bytes]:
    return [bytes([byte, number]) + bytes(SIZE - 2) for number in range(10)]


def test_each_receiver_gets_what_begins_with_its_bytes_and_one_the_rest(shared, sender):
    rest, first, second = One(), Many(), Many()
    shared.set_receiver(rest)
    shared.attach((1, 2), first)
    shared.attach((3,), second)
    for byte in (1, 3, 4, 2):
        send_together(sender, shared, packets_of(byte))
    eventually(lambda: len(rest.got) == 10 and len(second.got) == 10 and len(first.got) == 20)
    assert rest.got == packets_of(4)
    assert first.got == packets_of(1) + packets_of(2)
    assert second.got == packets_of(3)


def test_a_byte_and_the_rest_belong_to_one_receiver_only(shared):
    shared.set_receiver(One())
    shared.attach((1, 2), Many())
    with pytest.raises(OSError, match="in use by this program"):
        shared.attach((2, 3), Many())
    with pytest.raises(OSError, match="in use by this program"):
        shared.set_receiver(One())


def test_what_comes_together_is_taken_apart_also_after_those_who_take_many_have_left(shared, sender):
    rest, other = One(), Many()
    shared.set_receiver(rest)
    shared.attach((1,), other)
    shared.leave(other)
    send_together(sender, shared, packets_of(4))
    eventually(lambda: len(rest.got) == 10)
    assert rest.got == packets_of(4)


def test_what_comes_back_is_told_and_does_not_keep_the_hub_busy(shared, sender):
    sender.bind(("127.0.0.1", 0))
    gone = sender.getsockname()
    sender.close()
    rest, other = One(), Many()
    shared.set_receiver(rest)
    shared.attach((1,), other)
    shared.send(b"\1first", gone)
    eventually(lambda: other.returned)
    shared.leave(other)
    shared.send(b"\1second", gone)
    gevent.sleep(0.05)
    before = process_time()
    gevent.sleep(0.2)
    assert process_time() - before < 0.1
    assert other.returned == [b"\1first"]


def test_it_is_closed_after_the_last_receiver(shared):
    rest, other = One(), Many()
    shared.set_receiver(rest)
    shared.attach((1,), other)
    assert UdpSocket.at(shared.address) is shared
    shared.leave(rest)
    assert not shared.is_closed
    shared.leave(other)
    assert shared.is_closed
