"""`TrackerPort`: asks UDP trackers from a port that other protocols use as well."""

from __future__ import annotations

import errno
from time import monotonic

from gevent.queue import Empty, Full, Queue
from gevent.socket import AF_INET6

from geventbt import limits
from geventbt.discovery.trackers.udp_packets import ANSWER_FIRST_BYTES, answer_id, request_id
from geventbt.net.addresses import Address, normalise
from geventbt.net.datagrams import DatagramConnection, DatagramSocket
from geventbt.net.resolve import Endpoint
from geventbt.net.udp_port import UdpPort


class TrackerPort:
    """Asks trackers over the sockets of a port: a `DatagramConnector`, and a `BatchReceiver` of those sockets.

    An answer goes to the question with its transaction id (BEP 15), if it comes from the address that was asked. Where
    the port has no socket of the tracker's family, or is not to be had, the question gets a socket of its own.

    Args:
        port: the port.
    """

    def __init__(self, port: UdpPort) -> None:
        self._port = port
        self._questions: dict[bytes, _Question] = {}
        self._open: dict[DatagramSocket, int] = {}

    def move(self, port: UdpPort) -> None:
        """Ask from another port from now on."""
        self._port = port

    def connect_udp(self, endpoint: Endpoint, timeout: float) -> DatagramConnection:
        network = self._port.network
        network.check(endpoint)
        ends = monotonic() + timeout
        if not network.is_proxied:
            # An error now, where there is no route: datagrams are just lost.
            network.source_host(endpoint)
        try:
            socket = self._port.open(is_ipv6=endpoint.family == AF_INET6)
            question = _Question(self, socket, endpoint)
        except OSError:
            return network.connect_udp(endpoint, timeout)
        try:
            socket.wait_open(ends - monotonic())
        except BaseException:
            question.close()
            raise
        return question

    def enter(self, socket: DatagramSocket) -> None:
        """One more question uses a socket."""
        if socket not in self._open:
            socket.attach(ANSWER_FIRST_BYTES, self)
        self._open[socket] = self._open.get(socket, 0) + 1

    def leave(self, socket: DatagramSocket) -> None:
        """One question uses it no more."""
        self._open[socket] -= 1
        if not self._open[socket]:
            del self._open[socket]
            socket.leave(self)

    def expect(self, transaction_id: bytes, question: _Question) -> None:
        """Give an answer with this id to a question."""
        self._questions[transaction_id] = question

    def forget(self, transaction_id: bytes) -> None:
        """Leave such an answer out."""
        self._questions.pop(transaction_id, None)

    def receive_batch(self, data: memoryview, size: int, address: Address) -> None:
        """Take answers; see `BatchReceiver`."""
        for at in range(0, len(data), size):
            packet = bytes(data[at : at + size])
            question = self._questions.get(answer_id(packet))
            if question is not None and question.is_from_tracker(address):
                question.put(packet)

    def refused(self, data: bytes, address: Address) -> None:
        """A request has come back; see `BatchReceiver`."""
        question = self._questions.get(request_id(data))
        if question is not None:
            question.put(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))

    def drained(self) -> None:
        """Nothing is to be done; see `BatchReceiver`."""

    def writable(self) -> None:
        """Nothing is to be done: what is lost is sent again; see `BatchReceiver`."""

    def moved(self) -> None:
        """Nothing is to be done: the same; see `BatchReceiver`."""


class _Question:
    """Exchanges datagrams with one tracker: a `DatagramConnection`."""

    def __init__(self, port: TrackerPort, socket: DatagramSocket, endpoint: Endpoint) -> None:
        self._port = port
        self._socket = socket
        self._address = endpoint.address
        # None for a name that a proxy looks up.
        self._known = normalise(endpoint.address)
        self._ids: set[bytes] = set()
        self._answers: Queue = Queue(limits.UDP_ANSWERS)
        self._timeout = 0.0
        port.enter(socket)

    def is_from_tracker(self, address: Address) -> bool:
        """Whether it may be the tracker's address."""
        return self._known is None or normalise(address) == self._known

    def put(self, outcome: bytes | OSError) -> None:
        """Take an answer, or the news that none will come."""
        try:
            self._answers.put_nowait(outcome)
        except Full:
            return

    def send(self, data: bytes, /) -> int:
        transaction_id = request_id(data)
        self._ids.add(transaction_id)
        self._port.expect(transaction_id, self)
        self._socket.send(data, self._address)
        return len(data)

    def recv(self, size: int, /) -> bytes:
        try:
            outcome: bytes | OSError = self._answers.get(timeout=self._timeout)
        except Empty:
            raise TimeoutError("no answer in time") from None
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def settimeout(self, seconds: float, /) -> None:
        self._timeout = seconds

    def close(self) -> None:
        for transaction_id in self._ids:
            self._port.forget(transaction_id)
        self._port.leave(self._socket)
