"""Dealing: how the only seed of a torrent uploads the first copy, so that no piece leaves it twice (BEP 16). Pure.

Theory. With one seed and many leechers a swarm is done no sooner than the seed has sent everything once, and than all
uplinks together have sent everything to all of them (Mundinger, Weber, Weiss, "Optimal scheduling of peer-to-peer file
dissemination", 2008). Whatever the seed sends a second time before it has sent everything once delays the first bound,
and so does each piece that waits at a leecher whose uplink is slow. *Measured*: eight leechers that see all pieces at
once make the seed send each 1.6 times, as they choose before they can tell each other; that is most of what they lose.

So the seed shows each leecher few pieces:

- A leecher in turn, one that has an upload slot, is offered new pieces for what it takes in the next seconds, at least
  two. A piece is offered to one leecher at a time: that offer is *firm*.
- A leecher that waits for a turn is offered one piece *on loan*, so that it is interested: a piece that is promised
  twice only where all others are.
- Only pieces that no leecher holds are offered, those with the fewest offers first, and by their number among equals,
  which costs nothing and serves readers. What was sent whole counts as held: not every client announces it to us.
- A turn ends with a whole piece, when another leecher waits that will have passed on sooner what it alone holds, by the
  time that its pieces took until another held them, too; among equals, one that has waited longer. Thus the seed
  uploads to those that pass pieces on; a slow uplink or a free rider gets little. *Measured*, 24 uneven leechers: a
  second one had what a leecher of 1 Mbit/s was dealt after 7 to 10 s, of 16 Mbit/s after one; simulated, all are done
  at 1.65 times the bound, and at 1.78 where the turn goes by the number of such pieces alone.
- The end has come when a leecher holds each piece. From then on all of them see everything, and rarest first does the
  rest (Legout, Urvoy-Keller, Michiardi, "Rarest first and choke algorithms are enough", 2006).

BEP 16 offers the next piece only when the last is seen at another leecher. That starves fast and far ones, and stalls
where no leecher passes anything on; turns have the same effect without either.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt.client.pieces.bit_counters import BitCounters
from geventbt.geometry import Geometry

K = TypeVar("K", bound=Hashable)


_FOREIGN = 2
"""Pieces that no leecher can have of us, from which on there is another seed."""


class _Hand:
    """What one leecher was offered, and what it holds.

    Attributes:
        held: the pieces that it announced, or was sent whole.
        shown: the pieces that it knows we have, or has itself.
        offered: those that it was offered and does not hold.
        sent: the bytes that were sent of each of these.
        is_in_turn: whether its offers are firm.
        sees_all: whether it chooses by itself.
        is_fed: whether it has announced a piece that it has of another leecher.
        alone: how many pieces it holds that no other leecher does.
        passed: how many pieces it alone held until another did, too.
        waited: the turns in which it alone held any piece, less the present one for each that it still does.
        turn: the one in which its last piece was sent whole.
    """

    __slots__ = (
        "alone", "held", "is_fed", "is_in_turn", "offered", "passed", "sees_all", "sent", "shown", "turn", "waited",
    )  # fmt: skip

    def __init__(self, held: bitarray) -> None:
        self.held = held
        self.shown = held.copy()
        self.offered: set[int] = set()
        self.sent: dict[int, int] = {}
        self.is_in_turn = False
        self.sees_all = False
        self.is_fed = False
        self.alone = self.passed = self.waited = 0
        self.turn = 0

    def hold_alone(self, turn: int) -> None:
        """Note that it alone holds one more piece."""
        self.alone += 1
        self.waited += 1 - turn

    def pass_on(self, turn: int) -> None:
        """Note that another holds one of these pieces, too."""
        self.alone -= 1
        self.passed += 1
        self.waited += turn

    def passes_on(self, turn: int) -> float:
        """Turns until it will have passed on what it alone holds and one piece more; 0 where nothing is known of it."""
        return (self.alone + 1) * (self.waited + self.alone * turn) / max(1, self.passed)


class InitialSeeding(Generic[K]):
    """Decides which leecher is offered which piece, and whose turn it is.

    Args:
        geometry: the pieces.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._hands: dict[K, _Hand] = {}
        self._unheld = ones(geometry.pieces, "big")
        self._holders = BitCounters(geometry.pieces)
        self._firm = BitCounters(geometry.pieces)
        self._loans = BitCounters(geometry.pieces)
        self._carriers: dict[int, K] = {}
        self._turns = 0
        self._foreign = 0

    def __len__(self) -> int:
        return len(self._hands)

    def __contains__(self, peer: object) -> bool:
        return peer in self._hands

    @property
    def has_rival(self) -> bool:
        """Whether leechers get pieces elsewhere that they cannot have of us: there is another seed."""
        return self._foreign >= _FOREIGN

    @property
    def is_over(self) -> bool:
        """Whether each piece is held by some leecher."""
        return not self._unheld.any()

    # ------------------------------------------------------------------ leechers

    def join(self, peer: K, held: bitarray, *, sees_all: bool = False) -> None:
        """Deal to a leecher, too.

        Args:
            peer: the leecher.
            held: the pieces that it has announced.
            sees_all: whether it knows already that we have everything, and so asks for what it likes.
        """
        hand = self._hands[peer] = _Hand(zeros(self._geometry.pieces, "big"))
        self.hold(peer, held)
        if sees_all:
            hand.sees_all = True
            hand.shown.setall(1)

    def leave(self, peer: K) -> None:
        """Forget a leecher: the pieces that only it held are dealt out again."""
        hand = self._hands.pop(peer, None)
        if hand is None:
            return
        for piece in hand.offered:
            self._count_of(hand).decrement(piece)
        self._holders.subtract(hand.held)
        self._carriers = {piece: carrier for piece, carrier in self._carriers.items() if carrier is not peer}
        fewest, count = self._holders.lowest(ones(self._geometry.pieces, "big"))
        self._unheld = zeros(self._geometry.pieces, "big") if count else fewest.copy()

    def hold(self, peer: K, pieces: bitarray) -> None:
        """Note that a leecher came with pieces."""
        for piece in pieces.search(1):
            self._note_held(peer, piece)

    def gain(self, peer: K, piece: int) -> bool:
        """Note that a leecher has announced one more piece. Returns whether that may change what is to be offered."""
        hand = self._hands[peer]
        hand.is_fed = hand.is_fed or (not self._unheld[piece] and piece not in hand.sent)
        # One that sees all was perhaps sent a part of it before.
        if self._unheld[piece] and not hand.sees_all:
            sent = sum(hand.sent.get(piece, 0) for hand in self._hands.values())
            self._foreign += sent < self._geometry.piece_size(piece)
        is_news = bool(self._unheld[piece]) or piece in hand.offered
        self._note_held(peer, piece)
        return is_news

    def _note_held(self, peer: K, piece: int) -> None:
        hand = self._hands[peer]
        if hand.held[piece]:
            return
        hand.held[piece] = hand.shown[piece] = 1
        hand.sent.pop(piece, None)
        if piece in hand.offered:
            hand.offered.remove(piece)
            self._count_of(hand).decrement(piece)
        self._holders.increment(piece)
        if self._unheld[piece]:
            self._unheld[piece] = 0
            self._carriers[piece] = peer
            hand.hold_alone(self._turns)
        elif piece in self._carriers:
            self._hands[self._carriers.pop(piece)].pass_on(self._turns)

    def unshown(self, peer: K) -> bitarray:
        """The pieces that a leecher does not know that we have; from now on it counts as knowing them."""
        hand = self._hands[peer]
        hidden = ~hand.shown
        hand.shown.setall(1)
        return hidden

    # ------------------------------------------------------------------ offers

    def offer(self, peer: K, count: int, *, again: bool = False) -> list[int]:
        """Offer a leecher pieces until it has a number of them to ask for.

        Args:
            peer: the leecher.
            count: how many it is to have; one that is not in turn has at most one.
            again: whether a piece that another has a firm offer of may be offered to one in turn.

        Returns:
            The new ones, to be announced to it.
        """
        hand = self._hands[peer]
        offered: list[int] = []
        missing = (count if hand.is_in_turn else min(count, 1)) - sum(map(self._is_fresh, hand.offered))
        while len(offered) < missing:
            piece = self._next(hand, again=again or not hand.is_in_turn)
            if piece is None:
                break
            hand.offered.add(piece)
            hand.shown[piece] = 1
            self._count_of(hand).increment(piece)
            offered.append(piece)
        return offered

    def is_fed(self, peer: K) -> bool:
        """Whether a leecher gets pieces of others, so that it can do without us."""
        return self._hands[peer].is_fed

    def has_new_for(self, peer: K) -> bool:
        """Whether a leecher was or could be offered a piece that no other is to get before."""
        hand = self._hands[peer]
        return any(map(self._is_fresh, hand.offered)) or self._next(hand, again=False) is not None

    def _is_fresh(self, piece: int) -> bool:
        """Whether a piece that was offered once is held by none, and at most one leecher has a firm offer of it."""
        return bool(self._unheld[piece]) and self._firm[piece] <= 1

    def _next(self, hand: _Hand, *, again: bool) -> int | None:
        candidates = self._unheld & ~hand.shown
        if not candidates.any():
            return None
        candidates, promised = self._firm.lowest(candidates)
        if promised and not again:
            return None
        candidates, _ = self._loans.lowest(candidates)
        return candidates.find(1)

    def _count_of(self, hand: _Hand) -> BitCounters:
        return self._firm if hand.is_in_turn else self._loans

    # ------------------------------------------------------------------ turns

    def set_turn(self, peer: K, is_in_turn: bool) -> None:
        """Note whether a leecher has an upload slot."""
        hand = self._hands[peer]
        if hand.is_in_turn == is_in_turn:
            return
        for piece in hand.offered:
            self._count_of(hand).decrement(piece)
        hand.is_in_turn = is_in_turn
        for piece in hand.offered:
            self._count_of(hand).increment(piece)

    def send(self, peer: K, piece: int, size: int) -> bool:
        """Note that bytes of a piece were sent to a leecher. Returns whether that was all of it."""
        hand = self._hands[peer]
        if hand.held[piece]:
            return False
        if piece not in hand.offered:
            # It sees all, and has chosen by itself.
            hand.offered.add(piece)
            self._count_of(hand).increment(piece)
        hand.sent[piece] = hand.sent.get(piece, 0) + size
        if hand.sent[piece] < self._geometry.piece_size(piece):
            return False
        self._note_held(peer, piece)
        self._turns += 1
        hand.turn = self._turns
        return True

    def heir(self, peer: K, waiting: Iterable[K]) -> K | None:
        """The leecher that has the next turn, when one has been sent a whole piece; None for no leecher.

        Args:
            peer: whose turn it was; it may be the next.
            waiting: those without a turn.
        """
        hands = self._hands
        fit = [other for other in (*waiting, peer) if other in hands and self.has_new_for(other)]
        return min(fit, key=lambda other: (hands[other].passes_on(self._turns), hands[other].turn), default=None)
