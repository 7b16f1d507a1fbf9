"""Datagrams through a SOCKS5 proxy (UDP ASSOCIATE): they flow as long as a TCP connection to the proxy stays open."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import gevent

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.net.addresses import Address, normalise
from geventbt.net.opener import DatagramConnection
from geventbt.net.proxy.socks import pack_datagram, unpack_datagram
from geventbt.net.udp_socket import DatagramReceiver

_log = logging.getLogger("geventbt")

_MAX_DATAGRAM = 65536


class Relay:
    """An association with a proxy.

    Args:
        control: the TCP connection that keeps it open.
        socket: the UDP socket, connected to the relay.
    """

    def __init__(self, control: Any, socket: DatagramConnection) -> None:
        self.control = control
        self.socket = socket

    def close(self) -> None:
        """End it."""
        self.socket.close()
        self.control.close()


class RelayConnection:
    """Exchanges datagrams with one address by way of a relay: a `DatagramConnection`.

    Args:
        relay: is closed with it.
        target: (IP address or name, port).
    """

    def __init__(self, relay: Relay, target: Address) -> None:
        self._relay = relay
        self._target = target
        self._known = normalise(target)

    def send(self, data: bytes, /) -> int:
        """See `DatagramConnection`."""
        self._relay.socket.send(pack_datagram(data, self._target))
        return len(data)

    def recv(self, size: int, /) -> bytes:
        """See `DatagramConnection`. What comes from another address is left out, where the target is one."""
        while True:
            found = unpack_datagram(self._relay.socket.recv(size))
            if found is not None and (self._known is None or normalise(found[1]) == self._known):
                return found[0]
            # A flood of such must not keep other greenlets from running.
            gevent.sleep(0)

    def settimeout(self, seconds: float, /) -> None:
        """See `DatagramConnection`."""
        self._relay.socket.settimeout(seconds)

    def close(self) -> None:
        """See `DatagramConnection`."""
        self._relay.close()


class RelaySocket:
    """Sends datagrams to any address by way of a relay: a `DatagramSocket`.

    The association is made when the first datagram is sent, and again, after a pause, where it has ended; of what is
    sent until then the last few datagrams are kept.

    Args:
        associate: makes an association; blocks, and raises OSError.
        receiver: gets what comes.
    """

    address: Address = ("0.0.0.0", 0)

    def __init__(self, associate: Callable[[], Relay], receiver: DatagramReceiver) -> None:
        self._associate = associate
        self._receiver = receiver
        self._relay: Relay | None = None
        self._waiting: deque[bytes] = deque(maxlen=limits.PROXY_WAITING)
        self._greenlet: gevent.Greenlet | None = None
        self._retry_at = float("-inf")
        self._pause = limits.PROXY_RETRY
        self.is_closed = False

    def send(self, data: bytes, address: Address) -> bool:
        """See `DatagramSocket`."""
        packet = pack_datagram(data, address)
        if self._relay is None:
            self._waiting.append(packet)
            self._start()
            return False
        try:
            self._relay.socket.send(packet)
        except OSError:
            return False
        return True

    def leave(self, receiver: DatagramReceiver) -> None:
        """See `DatagramSocket`."""
        self.is_closed = True
        if self._greenlet is not None:
            self._greenlet.kill(block=False)
        self._end()

    def _start(self) -> None:
        if self._greenlet is None and not self.is_closed and monotonic() >= self._retry_at:
            self._greenlet = spawn("datagrams through the proxy", self._run)

    def _run(self) -> None:
        try:
            with gevent.Timeout(limits.PROXY_TIMEOUT, TimeoutError("no answer of the proxy in time")):
                relay = self._relay = self._associate()
            self._pause = limits.PROXY_RETRY
            relay.socket.settimeout(limits.PROXY_LOOK)
            while self._waiting:
                relay.socket.send(self._waiting.popleft())
            while not self.is_closed:
                self._receive(relay)
        except OSError as error:
            _log.info("no datagrams through the proxy: %s", error)
        finally:
            self._end()
            self._greenlet = None
            self._retry_at = monotonic() + self._pause
            self._pause = min(2 * self._pause, limits.MAX_PROXY_RETRY)

    def _receive(self, relay: Relay) -> None:
        try:
            packet = relay.socket.recv(_MAX_DATAGRAM)
        except TimeoutError:
            _check_open(relay.control)
            return
        found = unpack_datagram(packet)
        if found is not None:
            self._hand_on(*found)
        gevent.sleep(0)

    def _hand_on(self, data: bytes, address: Address) -> None:
        try:
            self._receiver.receive(data, address)
            self._receiver.drained()
        except Exception:
            _log.exception("a datagram could not be handled")

    def _end(self) -> None:
        relay, self._relay = self._relay, None
        if relay is not None:
            relay.close()


def _check_open(control: Any) -> None:
    """See whether the proxy has closed the connection, which ends the association.

    Raises:
        OSError: it has.
    """
    control.settimeout(0)
    try:
        if not control.recv(1):
            raise ConnectionError("the proxy has ended the association")
    except BlockingIOError:
        pass
