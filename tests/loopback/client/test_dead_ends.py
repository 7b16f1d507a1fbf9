"""Downloads that have no peer left: they fail when the last one does, and look for it only when there is news."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import gevent
import pytest

import geventbt
from geventbt import Magnet, NoPeersError, Torrent, Wire
from geventbt.client.peers.finder import Finder
from tests.loopback.world import World

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
