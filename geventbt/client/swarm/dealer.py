"""The dealer of a torrent: when its first copy is dealt out to leechers, and which pieces each one sees. Pure.

It deals when we have everything, there are several leechers, and no other seed is seen, until each piece is held by a
leecher, or until it shows that the uplink is not what is scarce; see `InitialSeeding`. Then every leecher is told of
all pieces, and dealing never comes back. Where leechers hold them all, those that would be late are helped on; see
`LateLeechers`. By itself it does not deal under a rate limit: what is limited on purpose is to be shared equally. A
leecher that came first, alone, has been told of all of them.

Two seeds that both deal look to each other like leechers that have nothing, but are not interested in what they are
offered. Where none of those that are dealt to is, all are told of everything, until the next leecher comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from bitarray import bitarray

from geventbt import limits
from geventbt.client.swarm.initial_seeding import InitialSeeding
from geventbt.client.swarm.late_leechers import LateLeechers
from geventbt.geometry import Geometry

_AHEAD_TIME = 2.0
"""Seconds for which a leecher in turn has pieces to ask for."""
_AHEAD, _AHEAD_OF_FEW, _FEW = 2, 4, 6
"""Pieces that a leecher in turn is offered at the least where all have turns, and where there are less than six: then
no other may have anything for it to ask for. Where some wait it is one, and the next turn another's."""
_RATE_TIME = 0.25
"""Seconds that the rate of the uplink is measured over at the least: so much may be in buffers alone."""
_IDLE_TIME = 0.5
"""Seconds in which nothing is requested, until what others were offered is offered again."""
_INTEREST_TIME = 2.0
"""Seconds in which one that lacks pieces, and is offered one, says that it is interested."""
_TOLD = 5000
"""Haves that are sent at a time, in the end: there may be many leechers, and many pieces."""


class DealtPeer(Protocol):
    """A peer that may be dealt to."""

    def __hash__(self) -> int:
        """It is a key."""

    @property
    def closed(self) -> bool:
        """Whether it has left."""

    @property
    def interested(self) -> bool:
        """Whether it wants anything of us."""

    @property
    def choked(self) -> bool:
        """Whether we choke it."""

    @property
    def has_all(self) -> bool:
        """Whether it has every piece."""

    @property
    def pieces(self) -> bitarray:
        """The pieces that it has."""

    @property
    def is_busy(self) -> bool:
        """Whether anything is left to send to it."""

    @property
    def up_rate(self) -> float:
        """Bytes a second that we send to it."""

    @property
    def uploaded(self) -> int:
        """Bytes that we have sent to it."""

    def announce(self, piece: int) -> None:
        """Tell it that we have a piece."""


P = TypeVar("P", bound=DealtPeer)


class Dealer(Generic[P]):
    """Applies `InitialSeeding` to the peers of a swarm.

    Args:
        geometry: the pieces.
        setting: True to deal to the first leecher already, and where there are other seeds; False never to deal;
            None to decide.
        is_limited: whether a rate limit holds for what is sent.

    Attributes:
        may_deal: whether leechers may be dealt to, now or later: they are not told that we only upload.
        is_dealing: whether they are dealt to now.
        has_dealt: whether that is over because leechers hold every piece.
    """

    def __init__(
        self, geometry: Geometry, setting: bool | None, is_limited: Callable[[], bool] = lambda: False
    ) -> None:
        self._geometry = geometry
        self._setting = setting
        self._is_limited = is_limited
        self._seeding: InitialSeeding[P] = InitialSeeding(geometry)
        self._late: LateLeechers[P] = LateLeechers(geometry.piece_length)
        self._hidden: dict[P, None] = {}
        self._in_turn: dict[P, None] = {}
        self._untold: dict[P, bitarray] = {}
        self._begun_at = math.inf
        self._wanted_at = math.inf
        self._busy_at = 0.0
        self._sent = 0
        self._is_idle = False
        self.may_deal = setting is not False
        self.is_dealing = self.has_dealt = False

    @property
    def has_work(self) -> bool:
        """Whether `tick` is to be called ten times a second."""
        return self.is_dealing or bool(self._untold)

    # ------------------------------------------------------------------ leechers

    def hides_from(self, peer: P, others: Collection[P]) -> bool:
        """Whether a new peer is to be told of no piece, but of what it is offered.

        Args:
            peer: the new peer.
            others: all that are connected.
        """
        if self.may_deal and self._setting is None and (peer.has_all or self._is_limited()):
            self.finish()
        if self.may_deal and not self.is_dealing:
            self._begin([other for other in others if other is not peer and not other.closed])
        if not self.is_dealing:
            return False
        self._hidden[peer] = None
        self._seeding.join(peer, peer.pieces)
        return True

    def _begin(self, earlier: Collection[P]) -> None:
        """Deal, if there are reasons to; those that came earlier have been told of everything."""
        if self._setting is None and any(other.has_all for other in earlier):
            self.finish()
        elif earlier or self._setting:
            self.is_dealing = True
            self._wanted_at = math.inf
            for other in earlier:
                self._seeding.join(other, other.pieces, sees_all=True)
                self._seeding.set_turn(other, not other.choked)

    def on_left(self, peer: P) -> None:
        """A peer has left."""
        self._seeding.leave(peer)
        for table in (self._hidden, self._in_turn, self._untold):
            table.pop(peer, None)
        if self.is_dealing and not self._hidden and self._setting is None:
            self._tell_all()

    def on_pieces(self, peer: P) -> None:
        """A peer has sent a bitfield."""
        if self.may_deal and peer.has_all and self._setting is None:
            self.finish()
        elif self.is_dealing and peer in self._seeding:
            self._seeding.hold(peer, peer.pieces)
            self._go_on(peer)

    def on_have(self, peer: P, piece: int) -> None:
        """A peer has one more piece."""
        if self.is_dealing and peer in self._seeding and self._seeding.gain(peer, piece):
            self._go_on(peer)

    def on_turn(self, peer: P, is_in_turn: bool) -> None:
        """A peer is given a slot, or has lost it."""
        if self.is_dealing and peer in self._seeding:
            self._seeding.set_turn(peer, is_in_turn)
            if is_in_turn:
                self._in_turn[peer] = None
            else:
                self._in_turn.pop(peer, None)
            self._offer(peer)

    # ------------------------------------------------------------------ dealing

    def greet(self, peer: P) -> None:
        """Offer a new peer its first pieces."""
        self._go_on(peer)

    def on_sent(self, peer: P, piece: int, size: int, now: float) -> bool:
        """Bytes of a piece are sent. Returns whether that was the last of it, so that a turn may end."""
        if not self.is_dealing or peer not in self._seeding:
            return False
        self._begun_at = min(self._begun_at, now)
        self._busy_at = now
        self._sent += size
        is_whole = self._seeding.send(peer, piece, size)
        if self._sent > limits.DEALT_RATE * max(_RATE_TIME, now - self._begun_at):
            self.finish()
        elif is_whole:
            self._go_on(peer)
        return is_whole and self.is_dealing

    def heir(self, peer: P, waiting: Collection[P]) -> P | None:
        """The peer that has the next turn, when one has been sent a whole piece; None for no peer."""
        return self._seeding.heir(peer, waiting)

    def may_have_turn(self, peer: P) -> bool:
        """Whether a peer may be given a slot: it can be dealt something, or would be late otherwise."""
        if self.has_dealt:
            return self._late.is_late(peer)
        if not self.is_dealing or self._is_idle or peer not in self._seeding:
            return True
        if peer in self._hidden:
            return self._seeding.has_new_for(peer)
        return not self._seeding.is_fed(peer)

    def look(self, peers: Collection[P], now: float) -> None:
        """Follow what leechers get of each other; to be called once a second with those that are connected."""
        if self.is_dealing or self.has_dealt:
            self._late.look(peers, now)

    def tick(self, now: float) -> None:
        """Offer more where nothing is requested, and tell of what was hidden; to be called ten times a second."""
        self._tell()
        if not self.is_dealing:
            return
        if self._setting is None and self._is_limited():
            self.finish()
            return
        is_wanted = any(peer.interested for peer in self._hidden)
        self._wanted_at = now if is_wanted else min(now, self._wanted_at)
        if self._setting is None and now - self._wanted_at >= _INTEREST_TIME:
            self._tell_all()
            return
        if any(peer.is_busy for peer in self._in_turn):
            self._busy_at = now
            self._is_idle = False
        elif now - self._busy_at >= _IDLE_TIME:
            self._busy_at = now
            self._is_idle = True
            for peer in self._in_turn:
                self._offer(peer, more=1)

    def _go_on(self, peer: P) -> None:
        if self._seeding.is_over:
            self.has_dealt = True
            self.finish()
        elif self._seeding.has_rival and self._setting is None:
            self.finish()
        else:
            self._offer(peer)

    def _offer(self, peer: P, *, more: int = 0) -> None:
        if peer in self._hidden:
            ahead = 1 + int(peer.up_rate * _AHEAD_TIME / self._geometry.piece_length)
            for piece in self._seeding.offer(peer, max(self._least, ahead) + more, again=more > 0):
                peer.announce(piece)

    @property
    def _least(self) -> int:
        """How many pieces a leecher in turn is offered at the least."""
        if len(self._hidden) > limits.DEALT_SLOTS:
            return 1
        return _AHEAD_OF_FEW if len(self._hidden) < _FEW else _AHEAD

    # ------------------------------------------------------------------ the end

    def finish(self) -> None:
        """Deal no more, and tell all of everything."""
        self.may_deal = False
        self._tell_all()

    def _tell_all(self) -> None:
        self.is_dealing = False
        # First those that download, of perhaps thousands.
        for peer in sorted(self._hidden, key=lambda peer: peer not in self._in_turn):
            self._untold[peer] = self._seeding.unshown(peer)
        self._hidden.clear()
        self._in_turn.clear()
        self._seeding = InitialSeeding(self._geometry)
        self._tell()

    def _tell(self) -> None:
        left = _TOLD
        for peer, hidden in list(self._untold.items()):
            while left and (piece := hidden.find(1)) >= 0:
                left -= 1
                hidden[piece] = 0
                if not peer.closed:
                    peer.announce(piece)
            if not left:
                break
            del self._untold[peer]
