"""Whom a seed helps on that has dealt out its copy."""

from __future__ import annotations

from bitarray.util import zeros

from geventbt.client.swarm.late_leechers import LateLeechers

SIZE, PIECES = 1 << 18, 100


class Peer:
    """A `WatchedPeer`."""

    def __init__(self, held: int) -> None:
        self.pieces = zeros(PIECES, "big")
        self.uploaded = 0
        self.gain(held)

    def gain(self, count: int, *, of_us: bool = False) -> None:
        held = self.pieces.count()
        self.pieces[held : held + count] = 1
        self.uploaded += count * SIZE * of_us


def is_late(peer: Peer, each_second: int, *, of_us: bool = False, seconds: int = 3) -> bool:
    """Whether a peer is late that gets so many pieces a second."""
    late: LateLeechers[Peer] = LateLeechers(SIZE)
    for second in range(seconds):
        late.look([peer], float(second))
        peer.gain(each_second, of_us=of_us)
    late.look([peer], float(seconds))
    return late.is_late(peer)


def test_one_that_is_done_soon_by_what_others_send_is_not_late():
    assert not is_late(Peer(80), each_second=4)


def test_one_that_is_slow_or_far_behind_is_late():
    assert is_late(Peer(80), each_second=1)
    assert is_late(Peer(10), each_second=4)


def test_one_that_gets_everything_of_us_is_late():
    assert is_late(Peer(80), each_second=4, of_us=True)


def test_one_that_gets_nothing_any_more_is_late():
    assert is_late(Peer(PIECES - 1), each_second=0)


def test_one_of_which_nothing_is_known_is_late():
    assert is_late(Peer(80), each_second=4, seconds=0)
    assert LateLeechers[Peer](SIZE).is_late(Peer(80))


def test_one_that_has_left_is_forgotten():
    late: LateLeechers[Peer] = LateLeechers(SIZE)
    peer = Peer(80)
    for second in range(3):
        peer.gain(5)
        late.look([peer], float(second))
    assert not late.is_late(peer)
    late.look([], 3.0)
    assert late.is_late(peer)
