"""Downloads that have no peer left: they fail when the last one does, and look for it only when there is news."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import gevent
import pytest
from gevent.event import Event

import geventbt
from geventbt import Magnet, NoPeersError, Torrent, Wire
from geventbt.client.peers.finder import Finder
from tests.loopback.world import World, address, eventually

_PATIENCE = 0.7
"""Seconds for which the only peer says nothing before it leaves."""


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When more peers were asked for, as is done at each look whether any is left."""
    times: list[float] = []
    need_more = Finder.need_more

    def counted(finder: Finder) -> None:
        times.append(monotonic())
        need_more(finder)

    monkeypatch.setattr(Finder, "need_more", counted)
    return times


def leave_without_handshake(wire: Wire) -> None:
    """A peer that is being connected to all the time."""
    gevent.sleep(_PATIENCE)


class Mute(geventbt.UtMetadata):
    """Claims to have metadata, and gives none."""

    def on_message(self, payload: bytes) -> None:
        """No answer."""


def leave_without_metadata(wire: Wire) -> None:
    """A peer that is being asked all the time."""
    wire.use(lambda wire: Mute(wire, b"de"))
    wire.handshake(wire.wait_handshake().info_hash, geventbt.new_peer_id())
    gevent.sleep(_PATIENCE)


@pytest.mark.parametrize(
    ("source", "peer"),
    [(lambda torrent: torrent, leave_without_handshake), (Magnet.from_torrent, leave_without_metadata)],
    ids=["a torrent", "a magnet link"],
)
def test_a_download_whose_last_peer_leaves_fails_without_looking_all_the_time(
    world: World, looks: list[float], source: Callable[[Torrent], Torrent | Magnet], peer: Callable[[Wire], None]
) -> None:
    begun = monotonic()
    client = world.client(port=None, transport="tcp", lsd=False)
    job = client.add(source(world.torrent()), world.folder / "out", peers=[world.listen(peer)], fail_without_peers=True)
    with pytest.raises(NoPeersError):
        job.wait(30)
    assert looks
    assert len(looks) <= 2 + 4 * (monotonic() - begun)


def test_a_link_is_not_given_up_while_a_peer_that_has_come_may_give_the_metadata(
    world: World, looks: list[float]
) -> None:
    torrent = world.torrent()
    asked, gone = Event(), Event()

    class Late(geventbt.UtMetadata):
        """Answers once the other peer has left, and the download has looked who remains."""

        def on_message(self, payload: bytes) -> None:
            asked.set()
            gone.wait(10)
            left = monotonic()
            eventually(lambda: any(look > left for look in looks))
            super().on_message(payload)

    def leave(wire: Wire) -> None:
        wire.use(lambda wire: Mute(wire, b"de"))
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        asked.wait(10)
        wire.close(0)
        gone.set()

    client = world.client(transport="tcp", lsd=False)
    link = Magnet.from_torrent(torrent)
    job = client.add(link, world.folder / "out", peers=[world.listen(leave)], fail_without_peers=True)
    with geventbt.connect(address(client), info_hash=torrent.info_hash) as wire:
        wire.use(lambda wire: Late(wire, torrent.info_bytes))
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        assert job.wait_metadata(20).info_bytes == torrent.info_bytes
