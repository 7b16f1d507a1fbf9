"""A UDP socket with uTP streams: those that peers open, and those that we open."""

from __future__ import annotations

import logging
import random
import secrets
from time import monotonic
from typing import Protocol

from geventbt import limits
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramSocket
from geventbt.protocol.utp.batches import Batch
from geventbt.protocol.utp.multiplexer import Multiplexer
from geventbt.protocol.utp.packets import FIRST_BYTES
from geventbt.protocol.utp.stream import UtpStream
from geventbt.wire.transports.utp import UtpTransport

_log = logging.getLogger("geventbt")

_SHARING = 1.0
"""Seconds between two looks at how many streams are in use."""


class UtpAcceptor(Protocol):
    """Takes the connections that peers open."""

    def has_room(self) -> bool:
        """Whether one may come now; else the peer asks again later."""

    def accept(self, transport: UtpTransport) -> None:
        """Take a connection. Must not block."""


class UtpEndpoint:
    """The uTP streams of one UDP socket, of one address family.

    Args:
        socket: the socket, which is left when it is closed.
        acceptor: takes the connections that peers open; None takes none.
        closes_when_idle: whether it is closed with the last connection.

    Attributes:
        address: the (host, port) that the socket is bound to.

    Raises:
        OSError: another endpoint uses the socket.
    """

    def __init__(
        self, socket: DatagramSocket, acceptor: UtpAcceptor | None = None, *, closes_when_idle: bool = False
    ) -> None:
        self._socket = socket
        self.address = socket.address
        self._is_closed = False
        self._acceptor = acceptor
        self._closes_when_idle = closes_when_idle
        self._transports: dict[UtpStream, UtpTransport] = {}
        self._multiplexer = Multiplexer(secrets.token_bytes(16), random.SystemRandom(), listens=acceptor is not None)
        self._in_use: set[UtpStream] = set()
        self._shared_at = 0.0
        self._socket.attach(FIRST_BYTES, self)
        self._share(monotonic())

    def connect(self, address: Address, timeout: float) -> UtpTransport:
        """Open a connection; blocks. Raises: see `UtpTransport.connect`.

        Args:
            address: (IP address, port) of the peer.
            timeout: seconds.
        """
        started = monotonic()
        try:
            self._socket.wait_open(timeout)
        except BaseException:
            self._leave_if_idle()
            raise
        stream = self._multiplexer.connect(address, monotonic())
        transport = self._transports[stream] = UtpTransport(self, stream, address)
        transport.connect(timeout - (monotonic() - started))
        return transport

    def close(self) -> None:
        """End all connections, and close the socket."""
        for transport in list(self._transports.values()):
            transport.abort()
        self._leave()

    def _leave(self) -> None:
        self._is_closed = True
        self._socket.leave(self)

    def send(self, batch: Batch, address: Address) -> bool:
        """Send packets; see `PacketSender`."""
        return self._is_closed or self._socket.send_batch(batch.data, batch.size, address)

    def forget(self, transport: UtpTransport) -> None:
        """A transport is closed for good; see `PacketSender`."""
        self._transports.pop(transport.stream, None)
        self._in_use.discard(transport.stream)
        self._multiplexer.remove(transport.stream, transport.remote_address)
        self._leave_if_idle()

    def _leave_if_idle(self) -> None:
        if self._closes_when_idle and not self._transports:
            self._leave()

    def receive_batch(self, data: memoryview, size: int, address: Address) -> None:
        """Take packets; see `BatchReceiver`."""
        self._multiplexer.receive(data, size, address, monotonic())

    def refused(self, data: bytes, address: Address) -> None:
        """A packet has come back; see `BatchReceiver`."""
        self._multiplexer.refused(data, address)

    def drained(self) -> None:
        """Have the streams do what follows from the packets; see `BatchReceiver`."""
        multiplexer = self._multiplexer
        for packet, address in multiplexer.take_outgoing():
            self._socket.send(packet, address)
        for stream, address in multiplexer.take_opened():
            transport = self._transports[stream] = UtpTransport(self, stream, address)
            if self._acceptor is not None:
                self._acceptor.accept(transport)
        touched = multiplexer.take_touched()
        # Before those that end with these packets are forgotten.
        self._in_use.update(touched)
        for stream in touched:
            if stream in self._transports:
                self._transports[stream].on_packets()
        if self._is_closed:
            # The last connection of an endpoint that only served that one.
            return
        now = monotonic()
        if now >= self._shared_at + _SHARING:
            self._share(now)
        multiplexer.accepts = self._acceptor is not None and self._acceptor.has_room()

    def writable(self) -> None:
        """There is room for packets again; see `BatchReceiver`."""
        for transport in list(self._transports.values()):
            transport.on_room()

    def moved(self) -> None:
        """Nothing of the peers arrives any more; see `BatchReceiver`."""
        for stream, transport in list(self._transports.items()):
            stream.cut()
            transport.on_packets()

    def _share(self, now: float) -> None:
        """Divide the room between the streams that are in use: half of what the system holds for all of them, and no
        more than is left to be held here."""
        self._shared_at = now
        held = sum(stream.inbox.held for stream in self._transports)
        in_use = [stream for stream in self._transports if stream in self._in_use or stream.inbox.held]
        self._in_use.clear()
        room = min(self._socket.buffer // 2, limits.UTP_HELD - held) // max(1, len(in_use))
        room = self._multiplexer.room = max(limits.UTP_MIN_ROOM, min(limits.UTP_ROOM, room))
        for stream in in_use:
            stream.inbox.room = room
