"""How many connections a client may have, and which gives its place up."""

from __future__ import annotations

from collections.abc import Sequence

from geventbt import limits
from geventbt.client.peers.connection_room import ConnectionRoom, Evictable
from geventbt.client.peers.eviction import Place

NOW = 10_000.0


class Peer:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


class Swarm:
    """A swarm of peers that are of no use to either side."""

    def __init__(self, peers: int, *, inbound: int = 0, keeps_outbound: bool = False) -> None:
        self.peers = [Peer() for _ in range(peers)]
        self.inbound = inbound
        self.keeps_outbound = keeps_outbound

    @property
    def places(self) -> Sequence[Place[Evictable]]:
        since = NOW - limits.POINTLESS_PEER
        return [Place(peer, since, am_interested=False, peer_interested=False, am_choking=True) for peer in self.peers]

    @property
    def left(self) -> int:
        return sum(peer.is_closed for peer in self.peers)


def test_there_is_room_for_as_many_as_are_missing() -> None:
    connected = 3
    room = ConnectionRoom(5, lambda: connected)
    assert room.has_room()
    assert room.has_room()
    connected = 5
    assert not room.has_room()
    connected = 4
    assert room.has_room()


def test_another_maximum_holds_at_once() -> None:
    room = ConnectionRoom(10, lambda: 3)
    assert room.has_room()
    room.max_connections = 3
    assert not room.has_room()


def test_inbound_peers_leave_some_places_while_a_torrent_lacks_something() -> None:
    room = ConnectionRoom(8, lambda: 0)
    swarm = Swarm(0, inbound=8 - 8 // limits.OUTBOUND_SHARE, keeps_outbound=True)
    room.enter(swarm)
    assert room.has_room()
    assert not room.has_room(inbound=True)
    swarm.keeps_outbound = False
    assert room.has_room(inbound=True)


def test_a_peer_of_any_torrent_or_of_one_gives_its_place_up_and_no_other_soon_after() -> None:
    room, first, second = ConnectionRoom(8, lambda: 8), Swarm(1), Swarm(1)
    room.enter(first)
    room.enter(second)
    assert room.make_room(NOW, second)
    assert (first.left, second.left) == (0, 1)
    assert not room.make_room(NOW + 0.9 * limits.EVICTION_INTERVAL)
    room.leave(second)
    assert room.make_room(NOW + limits.EVICTION_INTERVAL)
    assert (first.left, second.left) == (1, 1)


def test_where_no_peer_may_be_left_there_is_no_room() -> None:
    room = ConnectionRoom(8, lambda: 8)
    room.enter(Swarm(0))
    assert not room.make_room(NOW)
