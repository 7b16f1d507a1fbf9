"""Hole punching of a swarm: the peer that asks, the one that is asked for, and the relay (BEP 55)."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from geventbt import Extensions, Handshake, Wire, limits
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.hole_puncher import HolePuncher
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.errors import WireTimeout
from geventbt.extensions.ut_pex import UtPex
from geventbt.net.addresses import Address
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.ut_holepunch import (
    CONNECT,
    ERROR,
    NO_SELF,
    NO_SUCH_PEER,
    NO_SUPPORT,
    NOT_CONNECTED,
    RENDEZVOUS,
    HolepunchMessage,
)
from geventbt.protocol.ut_pex import HOLEPUNCH, OUTGOING, UTP, PexMessage
from tests.recording_transport import RecordingTransport

A, B, RELAY = ("93.184.216.1", 6881), ("93.184.216.2", 6881), ("93.184.216.3", 6881)
OUR_HOLEPUNCH, OUR_PEX, THEIR_HOLEPUNCH = 1, 2, 7


class Peer:
    """A connected peer, in bytes."""

    def __init__(self, puncher: HolePuncher, remote: Address, listens_at: Address | None, name: str, has: bytes):
        self.transport = RecordingTransport()
        self.transport.remote_address = self.remote_address = remote
        self.transport.name = name
        self.address = listens_at
        self.wire = Wire(self.transport, incoming=False)
        puncher.attach(self.wire)
        self.wire.use(UtPex)
        shaking = gevent.spawn(self.wire.handshake, b"i" * 20, b"o" * 20)
        gevent.idle()
        theirs = Handshake(b"i" * 20, remote[0].encode().ljust(20), Extensions(extended=True)).to_bytes()
        self.transport.receive(theirs + m.pack_extended(c.EXTENDED_HANDSHAKE, b"d1:md" + has + b"ee"))
        shaking.get(timeout=5)
        gevent.idle()
        self.transport.buffers.clear()

    def says(self, kind: int, address: Address, error: int = 0) -> None:
        """Have a message of hole punching come from it."""
        payload = HolepunchMessage(kind, address, error).to_bytes()
        self.transport.receive(m.pack_extended(OUR_HOLEPUNCH, payload))
        gevent.idle()

    def knows(self, address: Address, flags: int) -> None:
        """Have it say that it is connected to another peer (BEP 11)."""
        self.transport.receive(m.pack_extended(OUR_PEX, PexMessage({address: flags}).to_bytes()))
        gevent.idle()

    @property
    def told(self) -> list[HolepunchMessage]:
        """The messages of hole punching that were sent to it."""
        gevent.idle()
        found, data = [], self.transport.sent
        while data:
            end = 4 + int.from_bytes(data[:4], "big")
            if data[4:6] == bytes([c.EXTENDED, THEIR_HOLEPUNCH]):
                found.append(HolepunchMessage.from_bytes(data[6:end]))
            data = data[end:]
        return found


class Swarm:
    """A hole puncher, with peers, and with uTP connections that fail as often as is said.

    Attributes:
        failures: how many connections fail, from now on.
        tried: the addresses that were connected to.
        introduced: the addresses that are to be connected to at once.
    """

    def __init__(self) -> None:
        self.context = ClientContext(ClientOptions())
        self.context.listens_for_utp = True
        self.context.utp = self
        self.known = KnownPeers()
        self.finder = Finder(self.known)
        self.table = PeerTable()
        self.failures = 0
        self.tried: list[Address] = []
        self.introduced: list[Address] = []
        self.puncher = HolePuncher(self.context, self.finder, self.known, self.table, self)

    def connect(self, address: Address, timeout: float) -> Any:
        self.tried.append(address)
        if len(self.tried) <= self.failures:
            raise WireTimeout("no answer")
        return "a connection"

    def on_introduced(self, address: Address) -> None:
        self.introduced.append(address)

    def peer(
        self,
        remote: Address,
        *,
        listens_at: Address | None = None,
        transport: str = "utp",
        has: bytes = b"12:ut_holepunchi7e6:ut_pexi8e",
    ) -> Peer:
        peer: Any = Peer(self.puncher, remote, listens_at, transport, has)
        self.table.add(peer)
        made: Peer = peer
        return made


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


# ---------------------------------------------------------------------- the relay


def test_a_relay_tells_both_peers_where_the_other_one_is(swarm: Swarm) -> None:
    asker, target = swarm.peer(A), swarm.peer(B)
    asker.says(RENDEZVOUS, B)
    assert asker.told == [HolepunchMessage(CONNECT, B)]
    assert target.told == [HolepunchMessage(CONNECT, A)]


def test_of_peers_connected_by_tcp_it_is_where_they_listen(swarm: Swarm) -> None:
    asker = swarm.peer((A[0], 50000), listens_at=A, transport="tcp")
    target = swarm.peer((B[0], 50000), listens_at=B, transport="tcp")
    asker.says(RENDEZVOUS, B)
    assert (asker.told, target.told) == ([HolepunchMessage(CONNECT, B)], [HolepunchMessage(CONNECT, A)])


def test_over_utp_it_is_where_the_packets_come_from(swarm: Swarm) -> None:
    # A router may have given another port than the one that the peer knows itself by.
    asker, target = swarm.peer(A), swarm.peer((B[0], 40000), listens_at=B)
    asker.says(RENDEZVOUS, B)
    assert (asker.told, target.told) == ([HolepunchMessage(CONNECT, (B[0], 40000))], [HolepunchMessage(CONNECT, A)])


def refused(code: int) -> list[HolepunchMessage]:
    return [HolepunchMessage(ERROR, B, code)]


def test_a_relay_says_that_it_is_not_connected_to_the_other_peer(swarm: Swarm) -> None:
    asker = swarm.peer(A)
    asker.says(RENDEZVOUS, B)
    assert asker.told == refused(NOT_CONNECTED)


def test_a_relay_says_that_the_other_peer_does_not_take_part(swarm: Swarm) -> None:
    asker, target = swarm.peer(A), swarm.peer(B, has=b"")
    asker.says(RENDEZVOUS, B)
    assert (asker.told, target.told) == (refused(NO_SUPPORT), [])


def test_a_relay_does_not_connect_a_peer_with_itself(swarm: Swarm) -> None:
    asker = swarm.peer(B)
    asker.says(RENDEZVOUS, B)
    assert asker.told == refused(NO_SELF)


def test_a_relay_is_not_asked_for_itself(swarm: Swarm) -> None:
    swarm.context.own_addresses.add(B)
    asker = swarm.peer(A)
    asker.says(RENDEZVOUS, B)
    assert asker.told == refused(NO_SELF)


@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", "2001:4860::1"], ids=["loopback", "private", "IPv6"])
def test_a_relay_leads_nobody_into_another_network(swarm: Swarm, host: str) -> None:
    asker, target = swarm.peer((host, 6881)), swarm.peer(B)
    asker.says(RENDEZVOUS, B)
    assert (asker.told, target.told) == (refused(NO_SUCH_PEER), [])
    target.says(RENDEZVOUS, (host, 6881))
    assert target.told == [HolepunchMessage(ERROR, (host, 6881), NO_SUCH_PEER)]
    assert asker.told == refused(NO_SUCH_PEER)


def test_a_peer_that_listens_nowhere_is_not_connected(swarm: Swarm) -> None:
    asker, target = swarm.peer((A[0], 50000), transport="tcp"), swarm.peer(B)
    asker.says(RENDEZVOUS, B)
    assert (asker.told, target.told) == (refused(NO_SUCH_PEER), [])


def test_many_peers_together_do_not_make_a_relay_flood_one(swarm: Swarm) -> None:
    target = swarm.peer(B)
    for number in range(10):
        asker = swarm.peer(("93.184.217.1", 1000 + number))
        for _ in range(10):
            asker.says(RENDEZVOUS, B)
    assert limits.HOLEPUNCH_BURST <= len(target.told) <= limits.HOLEPUNCH_BURST + 2


# ---------------------------------------------------------------------- the peer that is asked for


def test_a_peer_that_a_relay_names_is_connected_to_at_once(swarm: Swarm) -> None:
    swarm.peer(RELAY).says(CONNECT, B)
    assert swarm.introduced == [B]
    assert swarm.known.sources_of(B) == (Source.HOLEPUNCH,)


@pytest.mark.parametrize("address", [("127.0.0.1", 6881), ("10.0.0.1", 80)], ids=["loopback", "private"])
def test_a_relay_sends_nobody_into_a_nearer_network(swarm: Swarm, address: Address) -> None:
    swarm.peer(RELAY).says(CONNECT, address)
    assert swarm.introduced == []
    assert address not in swarm.known


def test_a_banned_peer_is_not_connected_to(swarm: Swarm) -> None:
    swarm.known.ban(B)
    swarm.peer(RELAY).says(CONNECT, B)
    assert swarm.introduced == []


@pytest.mark.parametrize("remote", [B, (B[0], 50000)], ids=["over uTP", "over TCP"])
def test_a_peer_that_is_connected_already_is_not_connected_to(swarm: Swarm, remote: Address) -> None:
    swarm.peer(remote, listens_at=B, transport="utp" if remote == B else "tcp")
    swarm.peer(RELAY).says(CONNECT, B)
    assert swarm.introduced == []


# ---------------------------------------------------------------------- the peer that asks


def test_without_a_relay_a_connection_is_as_it_would_be(swarm: Swarm) -> None:
    swarm.peer(RELAY)
    assert swarm.puncher.connect(B, 1.0) == "a connection"
    swarm.tried.clear()
    swarm.failures = 1
    with pytest.raises(WireTimeout):
        swarm.puncher.connect(B, 1.0)
    assert swarm.tried == [B]


def test_a_relay_is_asked_for_what_cannot_be_reached(swarm: Swarm) -> None:
    relay = swarm.peer(RELAY)
    relay.knows(B, UTP)
    swarm.failures = 1
    assert swarm.puncher.connect(B, 1.0) == "a connection"
    assert relay.told == [HolepunchMessage(RENDEZVOUS, B)]
    assert swarm.tried == [B, B]


@pytest.mark.parametrize("flags", [UTP, UTP | OUTGOING, UTP | HOLEPUNCH | OUTGOING])
def test_what_can_be_reached_is_reached_without_a_relay(swarm: Swarm, flags: int) -> None:
    relay = swarm.peer(RELAY)
    relay.knows(B, flags)
    assert swarm.puncher.connect(B, 1.0) == "a connection"
    assert relay.told == []


def test_a_relay_is_asked_at_once_for_what_it_does_not_say_can_be_reached(swarm: Swarm) -> None:
    relay = swarm.peer(RELAY)
    relay.knows(B, UTP | HOLEPUNCH)
    assert swarm.puncher.connect(B, 1.0) == "a connection"
    assert relay.told == [HolepunchMessage(RENDEZVOUS, B)]
    assert swarm.tried == [B]
    relay.says(CONNECT, B)
    assert swarm.finder.sources_of(B) == ("holepunch",)


def test_of_many_relays_some_are_asked(swarm: Swarm) -> None:
    relays = [swarm.peer((f"93.184.217.{number}", 1)) for number in range(5)]
    for relay in relays:
        relay.knows(B, UTP | HOLEPUNCH)
    swarm.puncher.connect(B, 1.0)
    assert sum(len(relay.told) for relay in relays) == limits.HOLEPUNCH_RELAYS


def test_peers_that_do_not_take_part_are_not_asked(swarm: Swarm) -> None:
    other = swarm.peer(RELAY, has=b"6:ut_pexi8e")
    other.knows(B, UTP | HOLEPUNCH)
    swarm.failures = 1
    with pytest.raises(WireTimeout):
        swarm.puncher.connect(B, 1.0)
    assert other.told == []


def test_a_relay_that_has_left_is_no_error(swarm: Swarm) -> None:
    relay = swarm.peer(RELAY)
    relay.knows(B, UTP | HOLEPUNCH)
    relay.wire.close()
    assert swarm.puncher.connect(B, 1.0) == "a connection"


def test_where_no_relay_helps_the_failure_is_that_of_the_connection(swarm: Swarm) -> None:
    relay = swarm.peer(RELAY)
    relay.knows(B, UTP)
    swarm.failures = 2
    with pytest.raises(WireTimeout):
        swarm.puncher.connect(B, 1.0)
    relay.says(ERROR, B, NO_SUPPORT)
    assert swarm.introduced == []


# ---------------------------------------------------------------------- where it is offered


def is_offered(swarm: Swarm) -> bool:
    return "ut_holepunch" in swarm.peer(A).wire.ext


def test_it_is_offered_where_others_can_open_utp_connections(swarm: Swarm) -> None:
    assert is_offered(swarm)
    swarm.context.listens_for_utp = False
    assert not is_offered(swarm)


def test_in_a_private_torrent_peers_tell_nothing_of_each_other(swarm: Swarm) -> None:
    swarm.finder.set_private(True)
    assert not is_offered(swarm)
