"""A UDP socket on the hub: datagrams are handed to receivers as they come, without a greenlet."""

from __future__ import annotations

import _socket
import logging
import socket as stdlib_socket
import sys
from collections.abc import Collection
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from geventbt.concurrency.hubs import drop_socket_in_child
from geventbt.net import udp_offload
from geventbt.net.addresses import Address
from geventbt.net.datagrams import BatchReceiver, DatagramReceiver, Receivers
from geventbt.net.interface import Interface
from geventbt.net.udp_batches import BatchReader, batch_reader

_log = logging.getLogger("geventbt")

_READ, _WRITE = 1, 2
_MAX_DATAGRAM = 65536
_BUFFER = 1 << 20
"""Bytes that may wait in the system while the hub is busy; it gives as much of it as it may."""
_BATCH_BUFFER = 4 << 20
"""Likewise where streams come over it."""
_DRAIN = 32
"""Datagrams that are read before other greenlets have their turn."""
_BATCH_PACKETS = 2048
"""Datagrams of a batch. *Measured*: those that cost a receiver the most hold the hub up for 20 ms."""
_bound: WeakKeyDictionary[Any, dict[tuple[Address, Interface | None], UdpSocket]] = WeakKeyDictionary()
"""The sockets of `UdpSocket.at`, by hub, address and interface."""


class UdpSocket:
    """A bound UDP socket of one address family: a `DatagramSocket`.

    Args:
        address: (host, port) to bind to; the host is an IP address, "" for all of IPv4 or "::" for all of IPv6.
        receiver: gets what comes, except what `attach` takes away; None as long as there is none.
        shared: other programs may bind to the same port, as they do to that of a multicast group.
        interface: what to bind to; None for any device.

    Attributes:
        address: the (host, port) that it is bound to.

    Raises:
        OSError: it cannot be bound.
    """

    def __init__(
        self,
        address: Address,
        receiver: DatagramReceiver | None,
        *,
        shared: bool = False,
        interface: Interface | None = None,
    ) -> None:
        self._is_ipv6 = ":" in address[0]
        family = stdlib_socket.AF_INET6 if self._is_ipv6 else stdlib_socket.AF_INET
        self._receivers = Receivers(receiver)
        self._interface = interface
        # It never blocks; gevent's own class would add a tenth to each call.
        self._sock = _socket.socket(family, stdlib_socket.SOCK_DGRAM)
        try:
            if self._is_ipv6:
                # IPv4 has a socket of its own, or addresses would come in two forms.
                self._sock.setsockopt(stdlib_socket.IPPROTO_IPV6, stdlib_socket.IPV6_V6ONLY, 1)
            self._sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, _BUFFER)
            if shared:
                self._share()
            if interface is None:
                self._sock.bind(address)
            else:
                interface.bind(self._sock, address)
            self._sock.setblocking(False)
        except BaseException:
            self._sock.close()
            raise
        self.address: Address = self._sock.getsockname()[:2]
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._sock.fileno(), _READ)
        self._watcher.start(self._read)
        self._writer: Any = None
        self._reader: BatchReader | None = None
        self._sends_many = False
        self._reads_batches = False
        drop_socket_in_child(self)

    @classmethod
    def at(cls, address: Address, interface: Interface | None = None) -> UdpSocket:
        """The socket of this hub that is bound to an address, for one more protocol; a new one where there is none.

        Raises:
            OSError: it cannot be bound.
        """
        bound = _bound.setdefault(gevent.get_hub(), {})
        known = bound.get(((address[0] or "0.0.0.0", address[1]), interface))
        if known is not None and not known.is_closed:
            return known
        made = cls(address, None, interface=interface)
        bound[made.address, interface] = made
        return made

    def set_receiver(self, receiver: DatagramReceiver) -> None:
        self._receivers.set_rest(receiver)

    def attach(self, first_bytes: Collection[int], receiver: BatchReceiver) -> None:
        if not self._reads_batches:
            # From now on, also when no receiver takes them any more: the system may hand over many at once.
            self._reads_batches = True
            for option in (stdlib_socket.SO_RCVBUF, stdlib_socket.SO_SNDBUF):
                self._sock.setsockopt(stdlib_socket.SOL_SOCKET, option, _BATCH_BUFFER)
            self._sends_many = udp_offload.enable(self._sock, is_ipv6=self._is_ipv6)
            self._reader = batch_reader()
        self._receivers.add(first_bytes, receiver)

    def leave(self, receiver: DatagramReceiver | BatchReceiver) -> None:
        self._receivers.remove(receiver)
        if self._receivers.is_empty:
            self.close()

    def wait_open(self, timeout: float) -> None:
        """See `DatagramSocket`: it is open."""

    @property
    def buffer(self) -> int:
        """Bytes that the system holds for the receivers, with its own overhead."""
        return self._sock.getsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF)

    # ------------------------------------------------------------------ sending

    def send(self, data: bytes, address: Address) -> bool:
        """Send a datagram. Returns whether the system took it; where it does not, it is lost as others are on the way.

        Args:
            data: the datagram.
            address: (IP address, port).
        """
        try:
            self._send(data, (), address)
        except OSError:
            return False
        return True

    def send_batch(self, data: bytes, size: int, address: Address) -> bool:
        try:
            if len(data) <= size:
                self._send(data, (), address)
            elif self._sends_many:
                self._send(data, udp_offload.segments(size), address)
            else:
                for at in range(0, len(data), size):
                    self._send(data[at : at + size], (), address)
        except BlockingIOError:
            self._wait_writable()
            return False
        except OSError as error:
            if self._sends_many and len(data) > size and error.errno in udp_offload.NOT_SUPPORTED:
                self._sends_many = False
                return self.send_batch(data, size, address)
            # Else they are lost as others are on the way.
        return True

    def _send(self, data: bytes, ancillary: Any, address: Address) -> None:
        try:
            self._sock.sendmsg((data,), ancillary, 0, address)
        except ConnectionRefusedError:
            # Of an earlier datagram, perhaps to another address.
            self._sock.sendmsg((data,), ancillary, 0, address)

    def _wait_writable(self) -> None:
        if self._writer is None:
            self._writer = self._hub.loop.io(self._sock.fileno(), _WRITE)
        self._writer.start(self._on_writable)

    def _on_writable(self) -> None:
        self._writer.stop()
        self._receivers.writable()

    # ------------------------------------------------------------------ the socket

    def set_option(self, level: int, name: int, value: bytes | int) -> None:
        """Set an option of the socket.

        Raises:
            OSError: the system does not take it.
        """
        self._sock.setsockopt(level, name, value)

    def _share(self) -> None:
        self._sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
        if hasattr(stdlib_socket, "SO_REUSEPORT") and not sys.platform.startswith("linux"):
            # On Linux it would give each datagram to one of them only.
            self._sock.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEPORT, 1)

    def fileno(self) -> int:
        """The descriptor; -1 when it is closed."""
        return self._sock.fileno()

    @property
    def is_closed(self) -> bool:
        """Whether it is closed."""
        return self._sock.fileno() < 0

    def close(self) -> None:
        """Close it; what has come and was not read is lost."""
        key = self.address, self._interface
        if not self.is_closed and _bound.get(self._hub, {}).get(key) is self:
            del _bound[self._hub][key]
        self._watcher.close()
        if self._writer is not None:
            self._writer.close()
        self._sock.close()

    # ------------------------------------------------------------------ receiving

    def _read(self) -> None:
        try:
            if self._reads_batches:
                self._read_batches()
            else:
                self._read_singly()
        except Exception:
            # The hub would print it, and go on as well.
            _log.exception("a datagram could not be handled")

    def _read_singly(self) -> None:
        receiver = self._receivers.rest
        for _ in range(_DRAIN):
            try:
                data, address = self._sock.recvfrom(_MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:
                # Some systems report here that an earlier datagram of ours reached no socket.
                continue
            if receiver is not None:
                receiver.receive(data, address[:2])
        if receiver is not None:
            receiver.drained()

    def _read_batches(self) -> None:
        assert self._reader is not None
        receivers = self._receivers
        try:
            runs = self._reader.receive(self._sock)
        except OSError:
            runs = []
            for head, address in udp_offload.returned(self._sock):
                receivers.refused(head, address)
        packets = 0
        for data, size, address in runs:
            packets += len(data) // max(1, size)
            if packets > _BATCH_PACKETS:
                # Tiny ones that the system has joined, faster than an honest peer: they are lost as on the way.
                break
            receivers.give(data, size, address)
        receivers.drained()
