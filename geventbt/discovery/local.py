"""Peers in the local network, found by multicast (BEP 14)."""

from __future__ import annotations

import logging
import os
import random
import secrets
import socket as plain_socket
import struct
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

from gevent import socket as gevent_socket
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.local_packets import pack_announce, parse_announce
from geventbt.discovery.periodic import AskAgain
from geventbt.net.addresses import Address, Ports
from geventbt.net.datagrams import DatagramReceiver
from geventbt.net.udp_socket import UdpSocket
from geventbt.rates.token_bucket import RateLimit

_log = logging.getLogger("geventbt")

NAME = "lsd"
GROUPS = ("239.192.152.143", "ff15::efc0:988f")
PORT = 6771
INTERFACES_VARIABLE = "GEVENTBT_LSD_INTERFACES"
"""The environment variable that names the interfaces to use, with spaces between them; none when it is empty."""


class LocalDiscovery(DatagramReceiver):
    """Announces the torrents of one client on each interface, and receives the announces of others.

    It sends at most one announce a minute, with as many torrents as it has room for, and each torrent every five
    minutes, or earlier while it needs peers: those that receive an announce connect to us.

    Args:
        ports: where we listen: it announces over these families only; see below.
        host: the IP address that we listen on, whose family and interface are used; "" for all.
        interfaces: names of the interfaces; None for all, or those that the environment variable
            GEVENTBT_LSD_INTERFACES names.
        port: of the multicast groups; a test takes another one.

    Attributes:
        ports: where we listen; may be set to others of the same families.
        rng: varies the intervals of its torrents.

    Raises:
        OSError: there is no interface that can be used.
    """

    def __init__(
        self, ports: Ports, host: str = "", *, interfaces: Iterable[str] | None = None, port: int = PORT
    ) -> None:
        self.ports = ports
        self._host = host
        self._port = port
        self._cookie = secrets.token_hex(4)
        self.rng = random.Random()
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
        """Announce a torrent soon, and hand it what is received."""
        self._sources[source.info_hash] = source
        self.wake()

    def remove(self, source: LocalSource) -> None:
        """Announce it no more."""
        if self._sources.get(source.info_hash) is source:
            del self._sources[source.info_hash]

    def wake(self) -> None:
        """Look again which torrents are to be announced."""
        self._wake.set()

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
            peer_port = self.ports.over(link.group[0])
            assert peer_port is not None
            link.send(pack_announce(link.group, peer_port, info_hashes, self._cookie))

    # ------------------------------------------------------------------ receiving

    def receive(self, data: bytes, address: Address) -> None:
        """Take a datagram; see `geventbt.net.datagrams.DatagramReceiver`."""
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

    def _open(self, interfaces: Iterable[str] | None) -> list[_Link]:
        wanted = _usual_interfaces() if interfaces is None else set(interfaces)
        indexes = [index for index, name in plain_socket.if_nameindex() if wanted is None or name in wanted]
        groups = [group for group in GROUPS if not self._host or (":" in group) == (":" in self._host)]
        groups = [group for group in groups if self.ports.over(group) is not None]
        links = [_Link((group, self._port), indexes, self._host, self) for group in groups]
        return [link for link in links if link.is_open]


class _Link:
    """The socket of one multicast group, on all interfaces, or on that of a host."""

    def __init__(self, group: Address, indexes: list[int], host: str, receiver: LocalDiscovery) -> None:
        self.group = group
        self._is_ipv6 = ":" in group[0]
        self._host = "" if self._is_ipv6 or host == "0.0.0.0" else host
        self._indexes: list[int] = []
        self._socket: UdpSocket | None = None
        try:
            self._socket = UdpSocket(_listening_address(group), receiver, shared=True)
        except OSError as error:
            _log.info("no local discovery by %s: %s", group[0], error)
            return
        for index in [0] if self._host and indexes else indexes:
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
                self._option(gevent_socket.IPPROTO_IP, gevent_socket.IP_MULTICAST_IF, self._ip_mreqn("0.0.0.0", index))
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
        return self._option(gevent_socket.IPPROTO_IP, gevent_socket.IP_ADD_MEMBERSHIP, self._ip_mreqn(host, index))

    def _ip_mreqn(self, group: str, index: int) -> bytes:
        """A group on an interface, as Linux and the BSDs take it: by its index, or where that is 0 by its address."""
        own = gevent_socket.inet_aton(self._host or "0.0.0.0")
        return gevent_socket.inet_aton(group) + own + struct.pack("@i", index)

    def _option(self, level: int, name: int, value: bytes) -> bool:
        assert self._socket is not None
        try:
            self._socket.set_option(level, name, value)
        except OSError:
            return False
        return True


def _listening_address(group: Address) -> Address:
    """Where the announces of a group are received, and where the system can do that nothing else: any host of the
    internet could send to an address of ours, in the name of any other."""
    if sys.platform == "win32":
        return ("::" if ":" in group[0] else ""), group[1]
    return group


def _usual_interfaces() -> set[str] | None:
    named = os.environ.get(INTERFACES_VARIABLE)
    return None if named is None else set(named.split())


@dataclass(frozen=True, slots=True)
class LocalSourceStatus:
    """A `SourceStatus`: the announces of one torrent in the local network.

    Attributes:
        peers: those that have announced it.
        last_announce: of ours, on the clock of `time.monotonic`; None before the first.
        next_announce: of ours, likewise.
    """

    peers: int = 0
    last_announce: float | None = None
    next_announce: float | None = None
    error: str | None = None


class LocalSource:
    """A `PeerSource`: the local network, for one torrent.

    Args:
        discovery: of the client.
        info_hash: of the torrent.
        on_peers: called with addresses, and the IP address of the peer that announced them.

    Attributes:
        info_hash: of the torrent.
    """

    allowed_for_private = False

    def __init__(
        self, discovery: LocalDiscovery, info_hash: bytes, on_peers: Callable[[list[Address], str], Any]
    ) -> None:
        self.info_hash = info_hash
        self._again = AskAgain(limits.LSD_INTERVAL, limits.LSD_MIN_INTERVAL, discovery.rng)
        self._peers_before = 0
        self._discovery = discovery
        self._on_peers = on_peers
        self._peers: set[Address] = set()
        self._announced_at: float | None = None

    @property
    def can_find_more(self) -> bool:
        """Whether it may find the first peers: those that receive our first announce connect to us at once."""
        return self._announced_at is None or monotonic() - self._announced_at < limits.LSD_PATIENCE

    @property
    def status(self) -> Mapping[str, LocalSourceStatus]:
        """The status, under its name."""
        next_announce = None if self._announced_at is None else self._again.planned
        return {NAME: LocalSourceStatus(len(self._peers), self._announced_at, next_announce)}

    @property
    def next_announce(self) -> float:
        """When it is to be announced, on the clock of `time.monotonic`."""
        return self._again.due

    def start(self) -> None:
        """Announce the torrent, and take the announces of others."""
        self._discovery.add(self)

    def need_more(self) -> None:
        """Announce it again as soon as that is allowed."""
        if self._again.need_more():
            self._discovery.wake()

    def completed(self) -> None:
        """Nothing: an announce says nothing of it."""

    def moved(self) -> None:
        """Nothing: the local network reaches us where it did."""

    def stop(self, timeout: float) -> None:
        """Stop announcing it; BEP 14 has no message for leaving."""
        self._discovery.remove(self)

    def announced(self, now: float) -> None:
        """Note that it has been announced."""
        self._announced_at = now
        self._again.asked(now, found=len(self._peers) > self._peers_before)
        self._peers_before = len(self._peers)

    def heard(self, address: Address) -> None:
        """Take the address of a peer that has announced it."""
        if len(self._peers) < limits.LSD_PEERS:
            self._peers.add(address)
        try:
            self._on_peers([address], address[0])
        except Exception:
            _log.exception("on_peers failed")
