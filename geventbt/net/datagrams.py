"""What sends datagrams and what gets them; and `Receivers`, by which several protocols share one socket."""

from __future__ import annotations

import errno
from collections.abc import Collection
from typing import Protocol, TypeAlias

from geventbt.net.addresses import Address
from geventbt.net.resolve import Endpoint

Run: TypeAlias = tuple[memoryview, int, Address]
"""Datagrams one behind the other, the size of each but the last, which may be smaller, and where they are from."""


class DatagramReceiver(Protocol):
    """What gets the datagrams. It is called by the hub and must not block. Subclass it to inherit the default."""

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram from an address."""

    def drained(self) -> None:
        """No more have come for the moment."""
        return


class BatchReceiver(Protocol):
    """Gets many datagrams at once. It is called by the hub and must not block."""

    def receive_batch(self, data: memoryview, size: int, address: Address) -> None:
        """Take datagrams from an address, which are valid during the call: all of one size, but for the last."""

    def drained(self) -> None:
        """No more have come for the moment."""

    def refused(self, data: bytes, address: Address) -> None:
        """A datagram of which this is the beginning has come back: nothing listens at the address."""

    def writable(self) -> None:
        """The system has room again, after `send_batch` has failed."""

    def moved(self) -> None:
        """We send from another address from now on, and nothing that is sent to the one before arrives."""


class DatagramSocket(Protocol):
    """Sends datagrams to any address: a socket, or a relay of a proxy. Several protocols may share one."""

    @property
    def address(self) -> Address:
        """The (host, port) that it is bound to; port 0 where others cannot send to it first."""

    @property
    def is_closed(self) -> bool:
        """Whether it is closed."""

    @property
    def buffer(self) -> int:
        """Bytes that the system holds for the receivers, with its own overhead."""

    def set_receiver(self, receiver: DatagramReceiver) -> None:
        """Give a receiver what is not taken away by `attach`. Raises: OSError, there is one already."""

    def attach(self, first_bytes: Collection[int], receiver: BatchReceiver) -> None:
        """Give the datagrams that begin with one of these bytes to a receiver that takes many at once.

        Raises:
            OSError: there is one already.
        """

    def leave(self, receiver: DatagramReceiver | BatchReceiver) -> None:
        """Give a receiver nothing any more, and close the socket after the last one."""

    def wait_open(self, timeout: float) -> None:
        """Block until datagrams can be sent.

        Raises:
            OSError: they cannot: the proxy does not relay them, or does not answer in time.
        """

    def send(self, data: bytes, address: Address) -> bool:
        """Send a datagram to an (IP address, port). Returns whether it was taken; it may be lost all the same."""

    def send_batch(self, data: bytes, size: int, address: Address) -> bool:
        """Send datagrams of one size, but for the last, which may be smaller.

        Args:
            data: the datagrams, one behind the other.
            size: bytes of the first.
            address: (IP address, port).

        Returns:
            Whether there was room; else `BatchReceiver.writable` is called as soon as there is.
        """


class DatagramConnection(Protocol):
    """Exchanges datagrams with one address, with the methods of a socket of gevent."""

    def send(self, data: bytes, /) -> int:
        """Send a datagram."""

    def recv(self, size: int, /) -> bytes:
        """Block for a datagram; TimeoutError if none comes in time."""

    def settimeout(self, seconds: float, /) -> None:
        """Set how long `recv` blocks."""

    def close(self) -> None:
        """Close it."""


class DatagramConnector(Protocol):
    """Opens connections for datagrams."""

    def connect_udp(self, endpoint: Endpoint, timeout: float) -> DatagramConnection:
        """A connection to an endpoint, which takes at most `timeout` seconds. Raises: OSError."""


class Receivers:
    """Who gets the datagrams of one socket, told apart by their first byte.

    Args:
        rest: gets what no other one takes, datagram by datagram; or None.
    """

    def __init__(self, rest: DatagramReceiver | None = None) -> None:
        self.rest = rest
        self._by_byte: dict[int, BatchReceiver] = {}
        self._batches: tuple[BatchReceiver, ...] = ()
        self._rest_has_some = False

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return self.rest is None and not self._batches

    def set_rest(self, receiver: DatagramReceiver) -> None:
        """Set who gets the rest. Raises: OSError, there is one already."""
        if self.rest is not None:
            raise _taken()
        self.rest = receiver

    def add(self, first_bytes: Collection[int], receiver: BatchReceiver) -> None:
        """Give a receiver what begins with one of these bytes. Raises: OSError, another has one of them."""
        if any(byte in self._by_byte for byte in first_bytes):
            raise _taken()
        self._by_byte.update(dict.fromkeys(first_bytes, receiver))
        self._batches += (receiver,)

    def remove(self, receiver: DatagramReceiver | BatchReceiver) -> None:
        """Give a receiver nothing any more."""
        if receiver is self.rest:
            self.rest = None
        self._by_byte = {byte: known for byte, known in self._by_byte.items() if known is not receiver}
        self._batches = tuple(known for known in self._batches if known is not receiver)

    def give(self, data: memoryview, size: int, address: Address) -> None:
        """Hand on datagrams of one sender, one size and one first byte; the last may be smaller."""
        if not data:
            return
        receiver = self._by_byte.get(data[0])
        if receiver is not None:
            receiver.receive_batch(data, size, address)
        elif self.rest is not None:
            self._rest_has_some = True
            for at in range(0, len(data), size):
                self.rest.receive(bytes(data[at : at + size]), address)

    def drained(self) -> None:
        """No more have come for the moment."""
        for receiver in self._batches:
            receiver.drained()
        if self._rest_has_some and self.rest is not None:
            self.rest.drained()
        self._rest_has_some = False

    def refused(self, data: bytes, address: Address) -> None:
        """A datagram has come back; see `BatchReceiver.refused`."""
        receiver = self._by_byte.get(data[0]) if data else None
        if receiver is not None:
            receiver.refused(data, address)

    def writable(self) -> None:
        """There is room to send again."""
        for receiver in self._batches:
            receiver.writable()

    def moved(self) -> None:
        """We send from another address; see `BatchReceiver.moved`."""
        for receiver in self._batches:
            receiver.moved()


def _taken() -> OSError:
    return OSError(errno.EADDRINUSE, "the port is in use by this program")
