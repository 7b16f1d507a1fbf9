"""Asking a tracker over UDP (BEP 15): a connection id first, then the question, each sent again when nothing comes.

Packets from elsewhere than the tracker are left out by the connection, and transaction ids are random: only a host that
can read the request can answer it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from gevent.socket import AF_INET6
from gevent.socket import timeout as socket_timeout

from geventbt import limits
from geventbt.concurrency.turns import let_others_run
from geventbt.discovery.trackers import udp_packets as packets
from geventbt.discovery.trackers.announce import AnnounceRequest, AnnounceResponse, ScrapeResult
from geventbt.errors import TrackerError
from geventbt.net.addresses import IPV4_BYTES, IPV6_BYTES
from geventbt.net.datagrams import DatagramConnection, DatagramConnector
from geventbt.net.resolve import Endpoint

_PACKET = 65536


class ConnectionIds:
    """The connection ids that trackers have given us, for as long as they may be used (BEP 15).

    Each is for one way out: a tracker that saw it come from us and from our proxy would know that both are the same.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[DatagramConnector, Endpoint], tuple[int, float]] = {}

    def get(self, udp: DatagramConnector, endpoint: Endpoint, now: float) -> int | None:
        """The connection id for a tracker, or None where there is none that is still good at `now`."""
        connection_id, until = self._ids.get((udp, endpoint), (None, 0.0))
        return connection_id if now < until else None

    def put(self, udp: DatagramConnector, endpoint: Endpoint, connection_id: int, now: float) -> None:
        """Keep a connection id that came at `now`; the oldest goes where there are too many."""
        self.forget(udp, endpoint)
        if len(self._ids) >= limits.UDP_CONNECTION_IDS:
            del self._ids[next(iter(self._ids))]
        self._ids[udp, endpoint] = connection_id, now + limits.UDP_CONNECTION_ID

    def forget(self, udp: DatagramConnector, endpoint: Endpoint) -> None:
        """Get a new one next time."""
        self._ids.pop((udp, endpoint), None)


connection_ids = ConnectionIds()
"""Those of this process."""


class _NoAnswer(TrackerError):
    """Nothing has come from an address in its time, or it cannot be reached."""


def announce(
    endpoints: Sequence[Endpoint], request: AnnounceRequest, *, timeout: float, udp: DatagramConnector
) -> AnnounceResponse:
    """Announce to a tracker.

    Args:
        endpoints: its addresses, at least one and all of one family; each that does not answer in its share of the
            time is followed by the next.
        request: what to say.
        timeout: seconds for all of it.
        udp: opens the connections.

    Raises:
        TrackerError: it refuses, does not answer in time, or its answer is invalid.
    """

    def pack(connection_id: int, transaction_id: int) -> bytes:
        return packets.pack_announce(connection_id, transaction_id, request)

    endpoint, answer = _ask_any(endpoints, packets.ANNOUNCE, pack, timeout, udp)
    address_size = IPV6_BYTES if endpoint.family == AF_INET6 else IPV4_BYTES
    return replace(packets.parse_announce(answer, address_size), address=endpoint.host)


def scrape(
    endpoints: Sequence[Endpoint], info_hashes: Sequence[bytes], *, timeout: float, udp: DatagramConnector
) -> dict[bytes, ScrapeResult]:
    """Scrape a tracker for at most `limits.SCRAPE_HASHES` torrents; otherwise as `announce`."""

    def pack(connection_id: int, transaction_id: int) -> bytes:
        return packets.pack_scrape(connection_id, transaction_id, info_hashes)

    return packets.parse_scrape(_ask_any(endpoints, packets.SCRAPE, pack, timeout, udp)[1], info_hashes)


def _ask_any(
    endpoints: Sequence[Endpoint],
    action: int,
    pack: Callable[[int, int], bytes],
    timeout: float,
    udp: DatagramConnector,
) -> tuple[Endpoint, bytes]:
    """The first address that answers, and its packet."""
    ends = monotonic() + timeout
    for number, endpoint in enumerate(endpoints):
        share = (ends - monotonic()) / (len(endpoints) - number)
        try:
            return endpoint, _ask(endpoint, action, pack, share, udp)
        except _NoAnswer:
            if number == len(endpoints) - 1:
                raise
    raise AssertionError("there is always an endpoint")


def _ask(
    endpoint: Endpoint, action: int, pack: Callable[[int, int], bytes], timeout: float, udp: DatagramConnector
) -> bytes:
    """The packet that answers the one that `pack` makes of a connection id and a transaction id."""
    ends = monotonic() + timeout
    sock: DatagramConnection | None = None
    try:
        sock = udp.connect_udp(endpoint, timeout)
        return _Exchange(sock, udp, endpoint, ends).ask(action, pack)
    except OSError as error:
        raise _NoAnswer(f"{endpoint.host}: {error.strerror or error}") from None
    finally:
        if sock is not None:
            sock.close()


class _Exchange:
    """One question to one tracker.

    A packet that is not answered within 15 seconds is sent again, then after 30 more, and so on, doubling; where the
    connection id has expired by then, the next packet asks for a new one instead, whose arrival starts the count anew.
    A connection id that was given to an earlier question gets one try: the tracker may have been started anew.
    """

    def __init__(self, sock: DatagramConnection, udp: DatagramConnector, endpoint: Endpoint, ends: float) -> None:
        self._sock = sock
        self._udp = udp
        self._endpoint = endpoint
        self._ends = ends
        self._silences = 0
        self._connect_transaction = _random_id()
        self._is_connected = False

    def ask(self, action: int, pack: Callable[[int, int], bytes]) -> bytes:
        transaction_id = _random_id()
        while True:
            connection_id = connection_ids.get(self._udp, self._endpoint, monotonic())
            if connection_id is None:
                self._connect()
                continue
            try:
                answer = self._send_and_wait(pack(connection_id, transaction_id), action, transaction_id)
            except TrackerError:
                if self._is_connected:
                    raise
                answer = None
            if answer is not None:
                return answer
            if not self._is_connected:
                connection_ids.forget(self._udp, self._endpoint)

    def _connect(self) -> None:
        """Ask for a connection id, once."""
        packet = packets.pack_connect(self._connect_transaction)
        answer = self._send_and_wait(packet, packets.CONNECT, self._connect_transaction)
        if answer is not None:
            connection_ids.put(self._udp, self._endpoint, packets.parse_connect(answer), monotonic())
            self._connect_transaction = _random_id()
            self._is_connected = True
            self._silences = 0

    def _send_and_wait(self, packet: bytes, action: int, transaction_id: int) -> bytes | None:
        """Send a packet and wait for its answer; None when it is time to send again."""
        if monotonic() >= self._ends or self._silences > limits.UDP_RETRANSMISSIONS:
            raise _NoAnswer(f"{self._endpoint.host}: no answer in time over UDP")
        self._sock.send(packet)
        until = min(self._ends, monotonic() + limits.UDP_RETRANSMIT * 2**self._silences)
        while (now := monotonic()) < until:
            self._sock.settimeout(until - now)
            try:
                data = self._sock.recv(_PACKET)
            except socket_timeout:
                break
            header = packets.read_header(data)
            if header is not None and header[1] == transaction_id:
                return _checked(data, header[0], action)
            # A flood of wrong answers must not keep other greenlets from running.
            let_others_run()
        self._silences += 1
        return None


def _checked(data: bytes, action: int, expected: int) -> bytes:
    if action == packets.ERROR:
        raise packets.parse_error(data)
    if action != expected:
        raise TrackerError(f"an answer with action {action} to a question with action {expected}")
    return data


def _random_id() -> int:
    return secrets.randbits(32)
