"""When a seed deals, and when it tells everybody of everything."""

from __future__ import annotations

from bitarray.util import ones, zeros

from geventbt import Geometry, limits
from geventbt.client.swarm.dealer import Dealer

PIECES = 40
SIZE = 1 << 18


class Peer:
    """A `DealtPeer` that keeps what it is told."""

    def __init__(self) -> None:
        self.closed = self.is_busy = False
        self.interested = self.choked = True
        self.up_rate = 0.0
        self.uploaded = 0
        self.pieces = zeros(PIECES, "big")
        self.told: list[int] = []

    @property
    def has_all(self) -> bool:
        return bool(self.pieces.all())

    def announce(self, piece: int) -> None:
        self.told.append(piece)


class Swarm:
    """A dealer, and the peers that have joined."""

    def __init__(self, setting: bool | None = None, pieces: int = PIECES) -> None:
        self.is_limited = False
        self.dealer: Dealer[Peer] = Dealer(Geometry(pieces * SIZE, SIZE), setting, lambda: self.is_limited)
        self.peers: list[Peer] = []

    def join(self, peer: Peer | None = None) -> tuple[Peer, bool]:
        """A peer joins, and is unchoked. Returns it, and whether it is dealt to."""
        peer = peer or Peer()
        self.peers.append(peer)
        is_hidden = self.dealer.hides_from(peer, self.peers)
        if is_hidden:
            self.dealer.greet(peer)
            peer.choked = False
            self.dealer.on_turn(peer, True)
        return peer, is_hidden

    def send(self, peer: Peer, piece: int, now: float) -> None:
        """All of a piece is sent to a peer."""
        self.dealer.on_sent(peer, piece, SIZE, now)


def test_a_first_leecher_is_told_of_everything_and_the_next_ones_are_dealt_to():
    swarm = Swarm()
    assert [swarm.join()[1] for _ in range(3)] == [False, True, True]
    assert not set(swarm.peers[1].told) & set(swarm.peers[2].told)


def test_true_begins_with_the_first_and_false_never():
    assert Swarm(True).join()[1]
    never = Swarm(False)
    assert not any(never.join()[1] for _ in range(3))
    assert not never.dealer.may_deal


def test_under_a_rate_limit_it_deals_only_if_told_to():
    swarm = Swarm()
    swarm.is_limited = True
    assert not any(swarm.join()[1] for _ in range(3))
    told = Swarm(True)
    told.is_limited = True
    assert told.join()[1]


def test_a_rate_limit_that_is_set_meanwhile_ends_it():
    swarm = Swarm()
    swarm.join()
    leecher, _ = swarm.join()
    swarm.is_limited = True
    swarm.dealer.tick(1.0)
    assert sorted(leecher.told) == list(range(PIECES))
    assert not swarm.dealer.is_dealing


def test_another_seed_ends_it():
    swarm = Swarm()
    swarm.join()
    leecher, _ = swarm.join()
    seed = Peer()
    seed.pieces = ones(PIECES, "big")
    assert not swarm.join(seed)[1]
    assert sorted(leecher.told) == list(range(PIECES))
    assert not swarm.dealer.may_deal


def test_a_bitfield_of_a_seed_that_comes_later_ends_it_as_well():
    swarm = Swarm()
    swarm.join()
    peer, _ = swarm.join()
    peer.pieces = ones(PIECES, "big")
    swarm.dealer.on_pieces(peer)
    assert not swarm.dealer.may_deal


def test_pieces_from_elsewhere_end_it():
    swarm = Swarm()
    swarm.join()
    first, second = swarm.join()[0], swarm.join()[0]
    for piece in (30, 31):
        swarm.dealer.on_have(first, piece)
    assert sorted(second.told) == list(range(PIECES))


def test_a_fast_uplink_ends_it():
    swarm = Swarm()
    swarm.join()
    peer, _ = swarm.join()
    for piece in range(limits.DEALT_RATE // SIZE // 4 + 1):
        swarm.send(peer, piece % PIECES, 0.001 * piece)
    assert not swarm.dealer.is_dealing


def test_a_slow_uplink_goes_on():
    swarm = Swarm()
    swarm.join()
    peer, _ = swarm.join()
    for piece in range(PIECES - 1):
        swarm.send(peer, piece, float(piece))
    assert swarm.dealer.is_dealing


def test_it_is_over_when_each_piece_is_held():
    swarm = Swarm()
    swarm.join()
    first, second = swarm.join()[0], swarm.join()[0]
    for piece in range(PIECES):
        swarm.send(first, piece, float(piece))
    assert not swarm.dealer.is_dealing
    assert sorted(second.told) == list(range(PIECES))


def test_when_it_is_over_only_those_that_would_be_late_are_helped_on():
    swarm = Swarm()
    swarm.join()
    quick, slow = swarm.join()[0], swarm.join()[0]
    for piece in range(PIECES):
        swarm.send(slow, piece, float(piece))
    assert swarm.dealer.has_dealt
    for second in range(3):
        quick.pieces[10 * second : 10 * second + 10] = 1
        swarm.dealer.look([quick, slow], PIECES + second)
    assert not swarm.dealer.may_have_turn(quick)
    assert swarm.dealer.may_have_turn(slow)


def test_one_that_has_not_dealt_everything_helps_everybody():
    swarm = Swarm()
    swarm.join()
    quick, _ = swarm.join()
    swarm.dealer.finish()
    for second in range(3):
        quick.pieces[10 * second : 10 * second + 10] = 1
        swarm.dealer.look([quick], float(second))
    assert not swarm.dealer.has_dealt
    assert swarm.dealer.may_have_turn(quick)


def test_nobody_waits_for_ever_for_what_another_was_offered_and_does_not_take():
    swarm = Swarm(pieces=2)
    swarm.join()
    first, second = swarm.join()[0], swarm.join()[0]
    assert (first.told, second.told) == ([0, 1], [0])
    swarm.dealer.tick(1.0)
    assert second.told == [0, 1]


def test_when_only_one_is_left_that_knows_everything_there_is_nothing_to_deal():
    swarm = Swarm()
    lone, _ = swarm.join()
    other, _ = swarm.join()
    swarm.dealer.on_left(other)
    assert not swarm.dealer.is_dealing
    assert swarm.dealer.may_have_turn(lone)
    assert swarm.dealer.may_deal


def test_another_seed_that_deals_as_well_is_known_by_its_lack_of_interest():
    swarm = Swarm()
    lone, _ = swarm.join()
    other, _ = swarm.join()
    other.interested = False
    swarm.dealer.tick(10.0)
    assert swarm.dealer.is_dealing
    swarm.dealer.tick(12.0)
    assert not swarm.dealer.is_dealing
    assert sorted(other.told) == list(range(PIECES))
    assert swarm.dealer.may_have_turn(lone)
    assert swarm.join()[1]


def test_while_one_is_interested_it_goes_on():
    swarm = Swarm()
    swarm.join()
    other, _ = swarm.join()
    other.interested = False
    swarm.join()
    for second in range(5):
        swarm.dealer.tick(float(second))
    assert swarm.dealer.is_dealing


def test_one_that_others_feed_gives_its_turn_to_those_that_are_dealt_to():
    swarm = Swarm()
    lone, _ = swarm.join()
    other, _ = swarm.join()
    assert swarm.dealer.may_have_turn(lone)
    swarm.send(other, other.told[0], 1.0)
    swarm.dealer.on_have(lone, other.told[0])
    assert not swarm.dealer.may_have_turn(lone)
    assert swarm.dealer.may_have_turn(other)


def test_many_leechers_with_many_pieces_are_told_little_by_little():
    swarm = Swarm(True, pieces=3000)
    for _ in range(4):
        peer = Peer()
        peer.pieces = zeros(3000, "big")
        swarm.join(peer)
    swarm.dealer.finish()
    assert swarm.dealer.has_work
    assert sum(len(peer.told) for peer in swarm.peers) < 12_000
    for tick in range(3):
        swarm.dealer.tick(float(tick))
    assert all(sorted(peer.told) == list(range(3000)) for peer in swarm.peers)
    assert not swarm.dealer.has_work
