"""Datagrams through a SOCKS5 proxy (UDP ASSOCIATE): they flow as long as a TCP connection to the proxy stays open."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Collection
from time import monotonic
from typing import Any, NamedTuple

import gevent
from gevent import socket as gevent_socket
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.turns import let_others_run
from geventbt.net.addresses import Address, normalise
from geventbt.net.datagrams import BatchReceiver, DatagramConnection, DatagramReceiver, DatagramSocket, Receivers
from geventbt.net.opener import DirectOpener
from geventbt.net.proxy.socks import pack_datagram, unpack_datagram
from geventbt.net.resolve import Endpoint

_log = logging.getLogger("geventbt")

_FIRST_BYTES = (0,)
"""What each datagram of a relay begins with (RFC 1928: reserved)."""
_MAX_BATCH = 65_000
"""Bytes of one call, with what is put before each datagram."""


class Association(NamedTuple):
    """What a proxy has agreed to.

    Attributes:
        control: the TCP connection that keeps it open.
        relay: where datagrams are sent to.
    """

    control: Any
    relay: Endpoint

    def close(self) -> None:
        """End it."""
        self.control.close()


class RelayConnection:
    """Exchanges datagrams with one address by way of a relay: a `DatagramConnection`.

    Args:
        association: is ended with it.
        socket: connected to the relay.
        target: (IP address or name, port).
    """

    def __init__(self, association: Association, socket: DatagramConnection, target: Address) -> None:
        self._association = association
        self._socket = socket
        self._target = target
        self._known = normalise(target)

    def send(self, data: bytes, /) -> int:
        self._socket.send(pack_datagram(data, self._target))
        return len(data)

    def recv(self, size: int, /) -> bytes:
        """See `DatagramConnection`. What comes from another address is left out, where the target is one."""
        while True:
            found = unpack_datagram(self._socket.recv(size))
            if found is not None and (self._known is None or normalise(found[1]) == self._known):
                return found[0]
            # A flood of such must not keep other greenlets from running.
            let_others_run()

    def settimeout(self, seconds: float, /) -> None:
        self._socket.settimeout(seconds)

    def close(self) -> None:
        self._socket.close()
        self._association.close()


class RelaySocket:
    """Sends datagrams to any address of one family by way of a relay: a `DatagramSocket`.

    The proxy is asked for an association when the first datagram is sent, and for another one where it has ended: at
    once if it has lasted, after a pause if not. Of what is sent until then the last few datagrams are kept.

    Args:
        associate: asks the proxy, and blocks until it relays. Raises: OSError, it does not.
        direct: opens the socket that sends to the relay.
        is_ipv6: the family.
    """

    def __init__(self, associate: Callable[[], Association], direct: DirectOpener, *, is_ipv6: bool) -> None:
        self.address: Address = ("::" if is_ipv6 else "0.0.0.0", 0)
        self.is_closed = False
        self._is_ipv6 = is_ipv6
        self._associate = associate
        self._direct = direct
        self._receivers = Receivers()
        self._association: Association | None = None
        self._socket: DatagramSocket | None = None
        self._waiting: deque[tuple[bytes, Address]] = deque(maxlen=limits.PROXY_WAITING)
        self._greenlet: gevent.Greenlet | None = None
        self._answered = Event()
        self._failure: OSError = ConnectionError("the proxy has not been asked yet")
        self._said = ""
        self._retry_at = float("-inf")
        self._pause = limits.PROXY_RETRY

    @property
    def buffer(self) -> int:
        return self._socket.buffer if self._socket is not None else 2 * limits.UTP_MIN_ROOM

    def set_receiver(self, receiver: DatagramReceiver) -> None:
        self._receivers.set_rest(receiver)

    def attach(self, first_bytes: Collection[int], receiver: BatchReceiver) -> None:
        self._receivers.add(first_bytes, receiver)

    def leave(self, receiver: DatagramReceiver | BatchReceiver) -> None:
        self._receivers.remove(receiver)
        if self._receivers.is_empty:
            self.is_closed = True
            if self._greenlet is not None:
                self._greenlet.kill(block=False)
            self._end()

    # ------------------------------------------------------------------ sending

    def wait_open(self, timeout: float) -> None:
        if self._socket is None:
            self._start()
            if not self._answered.wait(timeout):
                raise TimeoutError("no datagrams through the proxy in time")
            if self._socket is None:
                raise self._failure

    def send(self, data: bytes, address: Address) -> bool:
        if self._socket is None or self._association is None:
            self._waiting.append((data, address))
            self._start()
            return False
        return self._socket.send(pack_datagram(data, address), self._association.relay.address)

    def send_batch(self, data: bytes, size: int, address: Address) -> bool:
        packets = [data[at : at + size] for at in range(0, len(data), size)]
        if self._socket is None or self._association is None:
            for packet in packets:
                self.send(packet, address)
            return True
        head = pack_datagram(b"", address)
        whole = len(head) + size
        count = max(1, _MAX_BATCH // whole)
        batches = [head + head.join(packets[at : at + count]) for at in range(0, len(packets), count)]
        relay = self._association.relay.address
        return all(self._socket.send_batch(batch, whole, relay) for batch in batches)

    # ------------------------------------------------------------------ what comes from the relay

    def receive_batch(self, data: memoryview, size: int, address: Address) -> None:
        """Hand on what is in datagrams of the relay; see `BatchReceiver`."""
        if self._association is None or address != self._association.relay.address:
            return
        for at in range(0, len(data), size):
            found = unpack_datagram(data[at : at + size])
            if found is not None and found[0] and (":" in found[1][0]) == self._is_ipv6:
                self._receivers.give(found[0], len(found[0]), found[1])

    def drained(self) -> None:
        self._receivers.drained()

    def refused(self, data: bytes, address: Address) -> None:
        """The proxy relays no more, although it has not said so; see `BatchReceiver`."""
        if self._association is not None:
            self._association.close()

    def writable(self) -> None:
        self._receivers.writable()

    def moved(self) -> None:
        """Nothing is to be done: the proxy knows us by what it gets; see `BatchReceiver`."""

    # ------------------------------------------------------------------ the association

    def _start(self) -> None:
        if self._greenlet is None and not self.is_closed and monotonic() >= self._retry_at:
            self._answered.clear()
            self._greenlet = spawn("datagrams through the proxy", self._run)

    def _run(self) -> None:
        began = monotonic()
        try:
            with gevent.Timeout(limits.PROXY_TIMEOUT, TimeoutError("no answer of the proxy in time")):
                association = self._associate()
            began = monotonic()
            self._begin(association)
            _wait_for_end(association.control)
            self._note_failure(ConnectionError("the proxy has ended the association"))
        except OSError as error:
            self._note_failure(error)
        finally:
            was_open = self._association is not None
            self._end()
            self._greenlet = None
            self._set_pause(monotonic() - began if was_open else 0.0)
            self._answered.set()
            if was_open:
                self._receivers.moved()

    def _begin(self, association: Association) -> None:
        self._association = association
        self._socket = self._direct.open_udp(("::" if ":" in association.relay.host else "0.0.0.0", 0))
        self._socket.attach(_FIRST_BYTES, self)
        self._said = ""
        self._answered.set()
        while self._waiting:
            self.send(*self._waiting.popleft())

    def _end(self) -> None:
        association, self._association = self._association, None
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.leave(self)
        if association is not None:
            association.close()

    def _set_pause(self, lasted: float) -> None:
        """Set when the proxy may be asked again, after an association that has lasted for some seconds."""
        if lasted >= limits.PROXY_RETRY:
            self._pause = limits.PROXY_RETRY
            return
        self._retry_at = monotonic() + self._pause
        self._pause = min(2 * self._pause, limits.MAX_PROXY_RETRY)

    def _note_failure(self, error: OSError) -> None:
        self._failure = error
        # Once: the next tries will not be different.
        if str(error) != self._said and not self.is_closed:
            self._said = str(error)
            _log.info("no datagrams through the proxy: %s", error)


def _wait_for_end(control: Any) -> None:
    """Block until the proxy ends an association, which it does by closing the connection. Raises: OSError."""
    # So that a proxy that is gone without a word is noticed, and routers in between keep the connection.
    control.setsockopt(gevent_socket.SOL_SOCKET, gevent_socket.SO_KEEPALIVE, 1)
    if hasattr(gevent_socket, "TCP_KEEPIDLE"):
        control.setsockopt(gevent_socket.IPPROTO_TCP, gevent_socket.TCP_KEEPIDLE, limits.PROXY_KEEP_ALIVE)
    control.recv(1)
