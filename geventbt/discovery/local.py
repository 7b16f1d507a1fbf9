"""Peers in the local network, found by multicast (BEP 14)."""

from __future__ import annotations

import logging
import random
import secrets
import socket as plain_socket
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from gevent import socket as gevent_socket
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.local_packets import pack_announce, parse_announce
from geventbt.net.addresses import Address
from geventbt.net.udp_socket import UdpSocket
from geventbt.rates.token_bucket import RateLimit

_log = logging.getLogger("geventbt")

NAME = "lsd"
GROUPS = ("239.192.152.143", "ff15::efc0:988f")
PORT = 6771


class LocalDiscovery:
    """Announces the torrents of one client on each interface, and hears those of others.

    It sends at most one announce a minute, with as many torrents as it has room for, and each torrent every five
    minutes.

    Args:
        peer_port: where we take connections.
        interfaces: names of the interfaces; None for all.
        port: of the multicast groups; a test takes another one.

    Raises:
        OSError: there is no interface that can be used.
    """

    def __init__(self, peer_port: int, *, interfaces: Iterable[str] | None = None, port: int = PORT) -> None:
        self._peer_port = peer_port
        self._port = port
        self._cookie = secrets.token_hex(4)
        self._sources: dict[bytes, LocalSource] = {}
        self._heard = RateLimit(limits.LSD_BYTES_PER_SECOND, monotonic())
        self._wake = Event()
        self._sent_at = float("-inf")
        self._links = self._open(interfaces)
        if not self._links:
            raise OSError("no interface takes multicast: peers of the local network are not found")
        self._greenlet = spawn("local discovery", self._run)

    # ------------------------------------------------------------------ torrents

    def add(self, source: LocalSource) -> None:
        """Announce a torrent soon, and hand it what is heard."""
        self._sources[source.info_hash] = source
        self._wake.set()

    def remove(self, source: LocalSource) -> None:
        """Announce it no more."""
        if self._sources.get(source.info_hash) is source:
            del self._sources[source.info_hash]

    def close(self) -> None:
        """Stop."""
        self._greenlet.kill()
        for link in self._links:
            link.close()
        self._sources.clear()

    # ------------------------------------------------------------------ sending

    def _run(self) -> None:
        while True:
            self._wake.clear()
            now = monotonic()
            due = sorted(self._sources.values(), key=lambda source: source.next_announce)
            due = [source for source in due if source.next_announce <= now][: limits.LSD_INFO_HASHES]
            may_send_at = self._sent_at + limits.LSD_MIN_INTERVAL
            if due and may_send_at <= now:
                self._send([source.info_hash for source in due])
                self._sent_at = now
                for source in due:
                    source.announced(now)
                continue
            next_due = min((source.next_announce for source in self._sources.values()), default=float("inf"))
            wait = max(next_due, may_send_at) - now
            self._wake.wait(None if wait == float("inf") else max(0.0, wait))

    def _send(self, info_hashes: list[bytes]) -> None:
        for link in self._links:
            link.send(pack_announce(link.group, self._peer_port, info_hashes, self._cookie))

    # ------------------------------------------------------------------ hearing

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram; see `geventbt.net.udp_socket.DatagramReceiver`."""
        if self._heard.take(len(data), monotonic()) < len(data):
            return
        announce = parse_announce(data)
        if announce is None or announce.cookie == self._cookie:
            return
        host = address[0]
        for info_hash in announce.info_hashes:
            source = self._sources.get(info_hash)
            if source is not None:
                source.heard((host, announce.port))

    def drained(self) -> None:
        """Nothing is to be done; see `geventbt.net.udp_socket.DatagramReceiver`."""

    def _open(self, interfaces: Iterable[str] | None) -> list[_Link]:
        wanted = None if interfaces is None else set(interfaces)
        indexes = [index for index, name in plain_socket.if_nameindex() if wanted is None or name in wanted]
        links = []
        for host in GROUPS:
            link = _Link((host, self._port), indexes, self)
            if link.is_open:
                links.append(link)
        return links


class _Link:
    """The socket of one multicast group, on all interfaces."""

    def __init__(self, group: Address, indexes: Iterable[int], receiver: LocalDiscovery) -> None:
        self.group = group
        self._is_ipv6 = ":" in group[0]
        self._indexes: list[int] = []
        self._socket: UdpSocket | None = None
        try:
            self._socket = UdpSocket(("::" if self._is_ipv6 else "", group[1]), receiver, shared=True)
        except OSError as error:
            _log.info("no local discovery by %s: %s", group[0], error)
            return
        for index in indexes:
            if self._join(index):
                self._indexes.append(index)
        if not self._indexes:
            self.close()

    @property
    def is_open(self) -> bool:
        return self._socket is not None

    def send(self, data: bytes) -> None:
        assert self._socket is not None
        for index in self._indexes:
            if self._is_ipv6:
                self._option(gevent_socket.IPPROTO_IPV6, gevent_socket.IPV6_MULTICAST_IF, struct.pack("@I", index))
            else:
                self._option(gevent_socket.IPPROTO_IP, gevent_socket.IP_MULTICAST_IF, _ip_mreqn("0.0.0.0", index))
            self._socket.send(data, self.group)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _join(self, index: int) -> bool:
        host = self.group[0]
        if self._is_ipv6:
            packed = gevent_socket.inet_pton(gevent_socket.AF_INET6, host) + struct.pack("@I", index)
            return self._option(gevent_socket.IPPROTO_IPV6, gevent_socket.IPV6_JOIN_GROUP, packed)
        return self._option(gevent_socket.IPPROTO_IP, gevent_socket.IP_ADD_MEMBERSHIP, _ip_mreqn(host, index))

    def _option(self, level: int, name: int, value: bytes) -> bool:
        assert self._socket is not None
        try:
            self._socket.set_option(level, name, value)
        except OSError:
            return False
        return True


def _ip_mreqn(group: str, index: int) -> bytes:
    """A group on an interface that is given by its index, as Linux and the BSDs take it."""
    return gevent_socket.inet_aton(group) + bytes(4) + struct.pack("@i", index)


@dataclass(frozen=True, slots=True)
class LocalSourceStatus:
    """How it goes with one torrent in the local network.

    Attributes:
        peers: how many have been heard.
        last_announce: on the clock of `time.monotonic`; None before the first.
        next_announce: likewise.
    """

    peers: int = 0
    last_announce: float | None = None
    next_announce: float | None = None


class LocalSource:
    """A `PeerSource`: the local network, for one torrent.

    Args:
        discovery: of the client.
        info_hash: of the torrent.
        on_peers: called with addresses, and the IP address of who announced them.

    Attributes:
        info_hash: of the torrent.
        next_announce: when it is to be announced, on the clock of `time.monotonic`.
    """

    allowed_for_private = False
    can_find_more = False

    def __init__(
        self, discovery: LocalDiscovery, info_hash: bytes, on_peers: Callable[[list[Address], str], Any]
    ) -> None:
        self.info_hash = info_hash
        self.next_announce = float("-inf")
        self._discovery = discovery
        self._on_peers = on_peers
        self._peers: set[Address] = set()
        self._announced_at: float | None = None

    @property
    def status(self) -> Mapping[str, LocalSourceStatus]:
        """How it goes, under its name."""
        is_announced = self._announced_at is not None
        return {
            NAME: LocalSourceStatus(len(self._peers), self._announced_at, self.next_announce if is_announced else None)
        }

    def start(self) -> None:
        """Announce the torrent, and hear of peers."""
        self._discovery.add(self)

    def need_more(self) -> None:
        """Nothing: others announce when it is their time."""

    def completed(self) -> None:
        """Nothing: an announce says nothing of it."""

    def stop(self, timeout: float) -> None:
        """Stop announcing it; BEP 14 has no message for leaving."""
        self._discovery.remove(self)

    def announced(self, now: float) -> None:
        """It has been announced."""
        self._announced_at = now
        self.next_announce = now + limits.LSD_INTERVAL * random.uniform(0.9, 1.1)

    def heard(self, address: Address) -> None:
        """A peer has announced it."""
        if len(self._peers) < limits.LSD_PEERS:
            self._peers.add(address)
        try:
            self._on_peers([address], address[0])
        except Exception:
            _log.exception("on_peers failed")
