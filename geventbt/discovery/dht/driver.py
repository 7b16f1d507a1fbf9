"""Runs one node of the DHT on the hub: one UDP socket, one timer, no greenlet."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

import gevent

from geventbt.concurrency.timers import delay_until
from geventbt.discovery.dht.node import Node
from geventbt.discovery.dht.search import Search
from geventbt.net.addresses import Address
from geventbt.net.datagrams import DatagramSocket
from geventbt.net.network import DIRECT, Network

_log = logging.getLogger("geventbt")


class NodeDriver:
    """Gives a node its datagrams and the time, and sends what it has to send.

    Args:
        node: the node.
        socket: sends its datagrams; is left when it is closed.
        network: hosts that its filter blocks are neither asked nor heard.

    Raises:
        OSError: another node uses the socket.
    """

    def __init__(self, node: Node, socket: DatagramSocket, network: Network = DIRECT) -> None:
        self.node = node
        self._loop = gevent.get_hub().loop
        self._timer: Any = None
        self._fires_at = float("inf")
        self._is_closed = False
        self._network = network
        self._socket = socket
        socket.set_receiver(self)

    @property
    def port(self) -> int:
        """The port it is bound to."""
        return self._socket.address[1]

    @property
    def is_closed(self) -> bool:
        """Whether it runs no more."""
        return self._is_closed

    def move(self, socket: DatagramSocket) -> None:
        """Go on over another socket.

        Raises:
            OSError: another node uses it.
        """
        socket.set_receiver(self)
        self._socket.leave(self)
        self._socket = socket

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram; see `geventbt.net.datagrams.DatagramReceiver`."""
        if not self._network.blocks(address[0]):
            self.node.receive(data, address, monotonic())

    def drained(self) -> None:
        """Send the answers to the datagrams, and set the timer."""
        self.flush()

    def start(self, search: Search) -> None:
        """Begin a search."""
        self.node.start(search, monotonic())
        self.flush()

    def flush(self) -> None:
        """Send what the node has to send, and set the timer; to be called after whatever was done to the node."""
        if self.is_closed:
            return
        for data, address in self.node.take_outgoing():
            if not self._network.blocks(address[0]):
                self._socket.send(data, address)
        now = monotonic()
        wakes_at = self.node.next_wake(now)
        if wakes_at < self._fires_at or self._timer is None:
            self._set_timer(wakes_at, now)

    def close(self) -> None:
        """Stop."""
        if self._timer is not None:
            self._timer.close()
            self._timer = None
        self._is_closed = True
        self._socket.leave(self)

    def _set_timer(self, when: float, now: float) -> None:
        if self._timer is not None:
            self._timer.close()
        self._fires_at = when
        self._timer = self._loop.timer(delay_until(when, now))
        self._timer.start(self._wake)

    def _wake(self) -> None:
        self._fires_at = float("inf")
        try:
            self.node.wake(monotonic())
            self.flush()
        except Exception:
            # The hub would print it, and there would be no timer any more.
            _log.exception("the DHT could not do what was due")
            now = monotonic()
            self._set_timer(now + 1.0, now)
