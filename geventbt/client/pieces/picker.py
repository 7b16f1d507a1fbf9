"""Which blocks to ask which peer for next. Pure: it knows pieces and peers by name, no sockets, clocks or data.

A piece is *free* (wanted and not begun), *open* (begun: its blocks are free, claimed by peers, or received) or done.
What a peer is given, most pressing first:

1. pieces with a deadline, the earliest first, but none that it would deliver too late: others are quicker;
2. of the highest priority that it can help with: the pieces that it began, then those that others began, then a free
   one, rarest first. A peer that takes whole pieces begins a free one before it joins another's, as long as there are
   more free pieces than peers: so most pieces come from one peer, and one that fails has one culprit;
3. when every block is received or claimed (the *endgame*), what others were asked for, once it has nothing else to do.

Open pieces are held in memory, so there is a bound on them. When it is reached only their blocks are picked, and when
that leaves a peer with nothing to do although it has free pieces, an open piece that no peer works at any more is let
go: else a few pieces whose peers have left would be the end of the download. A peer that has picked since it last gave
back all that it was asked for counts as working.

A source that sends long answers, a web seed, does not pick but reserves: see `reservations.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random
from typing import Generic

from bitarray import bitarray

from geventbt import limits
from geventbt.client.pieces.availability import PickerPeers
from geventbt.client.pieces.chooser import PieceChooser
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.demand import Demand
from geventbt.client.pieces.open_piece import K, PickerPeer, Run
from geventbt.client.pieces.open_pieces import OpenPieces
from geventbt.client.pieces.order import HIGHEST, NORMAL, PieceOrder
from geventbt.client.pieces.picker_state import PickerState
from geventbt.client.pieces.reservations import Reservations
from geventbt.client.pieces.upkeep import Upkeep
from geventbt.client.pieces.urgent import UrgentPieces
from geventbt.client.pieces.wanted import Deadlines, Wanted
from geventbt.geometry import Geometry

__all__ = ["HIGHEST", "NORMAL", "BlockPicker", "Run"]


class BlockPicker(Generic[K]):
    """Hands out the missing blocks of a torrent to its peers. Peers are known by any hashable key.

    Args:
        geometry: the pieces.
        have: those that are there.
        wanted: those that are wanted, with normal priority; None for all.
        max_open: bytes of pieces that may be open at one time. One piece always may, and those that readers wait for
            may exceed it by `limits.URGENT_PIECES`.
        random: breaks ties between pieces that are equally rare.
        on_let_go: called with the number of an open piece that was let go, with whatever of it had been received. Its
            blocks are free again: data for it that is still under way will not be taken. It must not call the picker.

    Attributes:
        urgent: the pieces that readers wait for.
        reservations: of sources that send long answers, see `reservations.py`.

    Raises:
        ValueError: if a bitfield is not for the geometry's number of pieces.
    """

    def __init__(
        self,
        geometry: Geometry,
        have: bitarray,
        *,
        wanted: bitarray | None = None,
        max_open: int,
        random: Random | None = None,
        on_let_go: Callable[[int], None] | None = None,
    ) -> None:
        for bits in (have, wanted):
            if bits is not None and len(bits) != geometry.pieces:
                raise ValueError(f"a bitfield of {len(bits)} pieces: there are {geometry.pieces}")
        self._geometry = geometry
        self._wanted = Wanted(have, wanted)
        self._deadlines = Deadlines()
        self._order = PieceOrder(geometry.pieces, random or Random())
        self._order.set_priorities(self._wanted.priorities)
        self._order.replace(self._wanted.missing_pieces.copy())
        self._peers: PickerPeers[K] = PickerPeers(geometry.pieces, self._order)
        self._open: OpenPieces[K] = OpenPieces(geometry, self._wanted, self._order, max_open)
        self._chooser = PieceChooser(self._open, self._wanted, self._deadlines, self._order)
        self.urgent: UrgentPieces[K] = UrgentPieces(self._open, self._deadlines, self._order, self._peers)
        self._upkeep: Upkeep[K] = Upkeep(self._open, self._wanted, self._order, self._peers, on_let_go)
        state = PickerState(geometry, self._wanted, self._deadlines, self._order, self._open, self._peers, self._upkeep)
        self.reservations: Reservations[K] = Reservations(state)
        self._demand: Demand[K] = Demand(state, self.reservations)

    # ------------------------------------------------------------------ how far it is

    @property
    def missing(self) -> int:
        """How many wanted pieces are not verified."""
        return self._wanted.missing

    @property
    def done(self) -> bool:
        """Whether every wanted piece is verified."""
        return not self._wanted.missing

    @property
    def complete(self) -> bool:
        """Whether we have every piece, wanted or not."""
        return bool(self._wanted.have.all())

    @property
    def in_endgame(self) -> bool:
        """Whether something is missing, and every block of it is claimed or received."""
        has_free = self._order.free_count or self._open.partial or self.reservations.has_unbegun
        return self._wanted.missing > 0 and not has_free

    @property
    def is_full(self) -> bool:
        """Whether there is nothing to pick, for anyone, before one of the open pieces is verified or given back."""
        return (
            self._order.free_count > 0
            and not self._open.partial
            and not self._deadlines
            and not self._open.has_room_for(self._geometry.piece_length)
        )

    @property
    def open_pieces(self) -> Sequence[int]:
        """The pieces that were begun and are not verified, in the order in which they were begun."""
        return list(self._open)

    # ------------------------------------------------------------------ peers and what they have

    def add_peer(self, peer: K, pieces: bitarray, *, streams: bool = False) -> None:
        """A new peer, and what it has; the bitfield is copied.

        Args:
            peer: its key.
            pieces: those that it has.
            streams: whether it is to `reserve` runs, and receives their blocks straight into their place.

        Raises:
            ValueError: if the peer is here already, or the bitfield is for another number of pieces.
        """
        self._peers.add(peer, pieces, streams=streams)

    def set_peer_pieces(self, peer: K, pieces: bitarray) -> None:
        """A peer has exactly these pieces (a late bitfield, have all). What it was asked for of others is given back.

        Raises:
            KeyError: if there is no such peer.
            ValueError: if the bitfield is for another number of pieces.
        """
        state = self._peers[peer]
        self._peers.replace(state, pieces)
        for open_piece in list(state.working.values()):
            if not state.pieces[open_piece.piece]:
                self._upkeep.withdraw(state, open_piece)

    def peer_has(self, peer: K, piece: int) -> None:
        """A peer has one piece more.

        Raises:
            KeyError: if there is no such peer.
            IndexError: if there is no such piece.
        """
        state = self._peers[peer]
        self._geometry.check_piece(piece)
        self._peers.gained(state, piece)

    def peer_lost(self, peer: K, piece: int) -> None:
        """A peer no longer has a piece (BEP 54). What it was asked for of it is given back.

        Raises:
            KeyError: if there is no such peer.
            IndexError: if there is no such piece.
        """
        state = self._peers[peer]
        self._geometry.check_piece(piece)
        self._peers.lost(state, piece)
        self.reservations.lost(state, piece)
        if piece in state.working:
            self._upkeep.withdraw(state, state.working[piece])

    def remove_peer(self, peer: K) -> None:
        """Forget a peer, if it is known. What it was asked for is given back."""
        state = self._peers.get(peer)
        if state is None:
            return
        self.give_back_all(peer)
        for open_piece in state.working.values():
            open_piece.workers.discard(state)
        self._peers.remove(state)

    def availability(self, piece: int) -> int:
        """How many peers have a piece.

        Raises:
            IndexError: if there is no such piece.
        """
        self._geometry.check_piece(piece)
        return self._peers.availability(piece)

    def interesting(self, peer: K) -> bool:
        """Whether a peer, which must be known, has something that is wanted and missing."""
        return self._peers[peer].is_interesting(self._wanted)

    # ------------------------------------------------------------------ what is wanted

    @property
    def fills_from_end(self) -> bool:
        """Whether peers break ties from the end of the largest gap, as a web seed fills it from its front (BEP 19)."""
        return self._order.fills_from_end

    @fills_from_end.setter
    def fills_from_end(self, value: bool) -> None:
        self._order.fills_from_end = value

    @property
    def sequential(self) -> bool:
        """Whether pieces of equal priority are begun by number, not rarest first. It can be set at any time."""
        return self._order.sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._order.sequential = value

    def priority(self, piece: int) -> int:
        """See `Demand.priority`."""
        return self._demand.priority(piece)

    def set_priority(self, piece: int, priority: int) -> None:
        """See `Demand.set_priority`."""
        self._demand.set_priority(piece, priority)

    def set_priorities(self, priorities: bytes | Sequence[int]) -> None:
        """See `Demand.set_priorities`."""
        self._demand.set_priorities(priorities)

    def set_deadline(self, piece: int, deadline: float | None) -> None:
        """See `Demand.set_deadline`."""
        self._demand.set_deadline(piece, deadline)

    # ------------------------------------------------------------------ picking

    def pick(
        self,
        peer: K,
        blocks: int,
        *,
        share: int = 0,
        may_join: bool = True,
        delivery: Delivery | None = None,
        leave: Collection[int] = (),
    ) -> list[Run]:
        """Claim blocks for a peer, in the order in which to ask for them.

        Args:
            peer: who is going to be asked.
            blocks: how many at the most.
            share: how many of one piece at the most. A peer with a share of less than a piece also begins only one
                piece in a call, so it may be given less than it could take. 0 for no limit: for fast peers.
            may_join: whether it may be given what others were asked for, in the endgame.
            delivery: when it delivers; None if that is not known.
            leave: open pieces that are not to be picked.

        Raises:
            KeyError: if there is no such peer.
        """
        state = self._peers[peer]
        state.is_active = not state.streams
        runs = self._pick_free_blocks(state, blocks, share, leave, delivery)
        if not runs and not state.claimed and blocks > 0:
            if self.reservations and self.reservations.steal(state):
                return self._pick_free_blocks(state, blocks, share, leave)
            if self.in_endgame:
                return self._open.join(state, min(blocks, limits.ENDGAME_BLOCKS)) if may_join else []
            if self._upkeep.make_room(state):
                return self._pick_free_blocks(state, blocks, share, leave)
        return runs

    def shared_by(self, peer: K, piece: int, block: int) -> tuple[K, ...]:
        """The peers that were asked for a block of an open piece, if another one may be asked for it as well; none
        otherwise."""
        return self._open.shared_by(self._peers[peer], piece, block)

    def _pick_free_blocks(
        self,
        state: PickerPeer[K],
        blocks: int,
        share: int,
        leave: Collection[int],
        delivery: Delivery | None = None,
    ) -> list[Run]:
        runs: list[Run] = []
        taken = self.urgent.too_late(delivery)
        taken.update(leave)
        takes_whole = not 0 < share < self._geometry.blocks_per_piece
        joins_first = not takes_whole or self._order.free_count <= len(self._peers)
        may_begin = True
        while blocks > 0:
            piece = self._chooser.choose(state, taken, joins_first=joins_first, may_begin=may_begin)
            if piece is None:
                break
            if piece not in self._open:
                self._open.begin(piece, state)
                may_begin = takes_whole
            claimed = self._open[piece].claim(state, min(blocks, share or blocks, self.urgent.in_time(piece, delivery)))
            blocks -= sum(run.blocks for run in claimed)
            runs += claimed
            taken.add(piece)
            if not self._open[piece].free_count:
                del self._open.partial[piece]
        return runs

    # ------------------------------------------------------------------ what happens to blocks

    def received(self, peer: K, piece: int, blocks: Sequence[int]) -> dict[int, tuple[K, ...] | None]:
        """Blocks of a piece came from a peer.

        Returns:
            What is special about some of them: the other peers that were asked for one, to cancel; or None if this peer
            was not asked for it, or no longer, or the block came before: then the data must be thrown away.
        """
        state = self._peers.get(peer)
        open_piece = self._open.get(piece)
        if state is None or open_piece is None:
            return dict.fromkeys(blocks)
        special = open_piece.receive(state, blocks)
        if not open_piece.claims and not self._wanted.priorities[piece]:
            self._upkeep.settle(open_piece)
        return special

    def received_late(self, peer: K, piece: int, block: int) -> tuple[K, ...] | None:
        """A block came from a peer that was asked for it once, and no longer is; see `OpenPieces.receive_late`."""
        state = self._peers.get(peer)
        if state is None or not self._wanted.missing_pieces[piece]:
            return None
        return self._open.receive_late(state, piece, block)

    def give_back(self, peer: K, piece: int, block: int) -> None:
        """A block will not come from a peer (rejected, timed out). Without effect if it was not asked for it."""
        state = self._peers.get(peer)
        if state is not None and piece in state.working:
            open_piece = state.working[piece]
            open_piece.give_back(state, block)
            self._upkeep.settle(open_piece)

    def give_back_all(self, peer: K) -> None:
        """Nothing that a peer was asked for will come (choked, snubbed). Until its next pick it does not count."""
        state = self._peers.get(peer)
        if state is not None:
            state.is_active = False
            for reservation in self.reservations.of(state):
                self.reservations.release(reservation)
            for open_piece in list(state.working.values()):
                self._upkeep.withdraw(state, open_piece)

    def claimed_by(self, peer: K) -> int:
        """How many blocks a peer was asked for that have neither come nor been given back; 0 if it is not known."""
        state = self._peers.get(peer)
        return 0 if state is None else state.claimed

    def is_open(self, piece: int) -> bool:
        """Whether a piece was begun and is not verified."""
        return piece in self._open

    def is_received(self, piece: int) -> bool:
        """Whether every block of an open piece is here, and so it can be hashed."""
        return piece in self._open and not self._open[piece].missing

    def senders(self, piece: int) -> list[K | None]:
        """Who sent each block of an open piece, None where it has not come. Empty if the piece is not open."""
        return list(self._open[piece].senders) if piece in self._open else []

    # ------------------------------------------------------------------ what happens to pieces

    def verified(self, piece: int) -> None:
        """A piece is there for good, open or not.

        Raises:
            IndexError: if there is no such piece.
        """
        self._geometry.check_piece(piece)
        self.reservations.stop(piece)
        self._open.close(piece)
        self._open.set_exclusive(piece, False)
        self._wanted.set_have(piece, True)
        self._open.relist(piece)
        self._deadlines.set(piece, None)

    def failed(self, piece: int, *, alone: bool = False) -> None:
        """The hash of an open piece was wrong: all its blocks are free again.

        Args:
            piece: its number.
            alone: ask only one peer for all of its blocks the next time, so that the culprit is known. When that peer
                leaves or chokes, what it sent is let go and another one begins anew.

        Raises:
            IndexError: if there is no such piece.
        """
        self._geometry.check_piece(piece)
        self.reservations.stop(piece)
        self._open.close(piece)
        self._open.set_exclusive(piece, alone)
        self._open.relist(piece)

    def wrong(self, piece: int, blocks: Iterable[int]) -> None:
        """Some blocks of an open piece were wrong, all of which are here: these are free again, for any peer.

        Raises:
            KeyError: if the piece is not open.
        """
        open_piece = self._open[piece]
        open_piece.reopen(blocks)
        self._open.set_exclusive(piece, False)
        self._upkeep.settle(open_piece)

    def lost(self, piece: int) -> None:
        """We had a piece, and no longer do.

        Raises:
            IndexError: if there is no such piece.
        """
        self._geometry.check_piece(piece)
        self._wanted.set_have(piece, False)
        self._open.relist(piece)
