"""A naive model of the block picker: sets, and searches through all of them. It checks picks, and makes none."""

from __future__ import annotations

from dataclasses import dataclass, field

from geventbt import limits


@dataclass
class Begun:
    """An open piece."""

    owner: object
    claims: dict = field(default_factory=dict)
    """The peers that each block was requested from."""
    received: dict = field(default_factory=dict)
    """The sender of each block."""


class Model:
    def __init__(self, geometry, have, wanted, max_open):
        self.geometry = geometry
        self.max_open = max_open
        self.all = range(geometry.pieces)
        self.blocks = [-(-geometry.piece_size(piece) // limits.BLOCK) for piece in self.all]
        self.have = {piece for piece in self.all if have[piece]}
        self.priority = [4 if wanted[piece] else 0 for piece in self.all]
        self.peers = {}
        self.open = {}
        self.alone = set()
        self.deadlines = {}
        self.sequential = False

    # ---------------------------------------------------------------- what is there

    def missing(self):
        return {piece for piece in self.all if self.priority[piece] and piece not in self.have}

    def free_pieces(self):
        return self.missing() - self.open.keys()

    def free_blocks(self, piece):
        begun = self.open[piece]
        return set(range(self.blocks[piece])) - begun.claims.keys() - begun.received.keys()

    def partial(self):
        return {piece for piece in self.open if self.priority[piece] and self.free_blocks(piece)}

    def rarity(self, piece):
        return sum(piece in pieces for pieces in self.peers.values())

    def claimed(self, peer):
        return [
            (piece, block)
            for piece, begun in self.open.items()
            for block, claimants in begun.claims.items()
            if peer in claimants
        ]

    def open_bytes(self):
        return sum(self.geometry.piece_size(piece) for piece in self.open)

    def has_room(self, piece, more=0):
        bound = self.max_open + more * self.geometry.piece_length
        return not self.open or self.open_bytes() + self.geometry.piece_size(piece) <= bound

    def in_endgame(self):
        return bool(self.missing()) and not self.free_pieces() and not self.partial()

    def is_received(self, piece):
        return piece in self.open and len(self.open[piece].received) == self.blocks[piece]

    # ---------------------------------------------------------------- judging picks

    def joinable(self, peer):
        """The partial pieces of which blocks can be requested from a peer."""
        return {
            piece
            for piece in self.partial() & self.peers[peer]
            if self.open[piece].owner is None or self.open[piece].owner == peer
        }

    def beginnable(self, peer):
        return {piece for piece in self.free_pieces() & self.peers[peer] if self.has_room(piece)}

    def urgent(self, peer, taken):
        """The piece with a deadline that a peer must be given first."""
        free = {piece for piece in self.free_pieces() & self.peers[peer] if self.has_room(piece, limits.URGENT_PIECES)}
        pieces = (self.deadlines.keys() & (free | self.joinable(peer))) - taken
        return min(pieces, key=lambda piece: (self.deadlines[piece], piece), default=None)

    def judge(self, peer, piece, taken, workers, joins_first, may_begin):
        """Assert that `piece`, or None, is a right choice for the peer."""
        urgent = self.urgent(peer, taken)
        joinable = self.joinable(peer) - taken
        beginnable = self.beginnable(peer) if may_begin else set()
        if urgent is not None or piece is None:
            assert piece == urgent
            assert piece is not None or not joinable | beginnable
            return
        top = max(self.priority[other] for other in joinable | beginnable)
        assert self.priority[piece] == top
        joinable, beginnable = (
            {other for other in some if self.priority[other] == top} for some in (joinable, beginnable)
        )
        own = {other for other in joinable if peer in workers.get(other, ())}
        if own:
            assert piece in own
        elif piece in joinable:
            assert joins_first or not beginnable
            assert len(self.free_blocks(piece)) == min(len(self.free_blocks(other)) for other in joinable)
        else:
            assert not joins_first or not joinable
            self._judge_begun(peer, piece, top)

    def _judge_begun(self, peer, piece, top):
        equals = {other for other in self.free_pieces() & self.peers[peer] if self.priority[other] == top}
        assert piece in equals
        if self.sequential:
            assert piece == min(equals)
        else:
            assert self.rarity(piece) == min(self.rarity(other) for other in equals)

    def claim(self, peer, run):
        """A run outside the endgame."""
        if run.piece not in self.open:
            self.open[run.piece] = Begun(peer if run.piece in self.alone else None)
        for block in range(run.first, run.first + run.blocks):
            assert block in self.free_blocks(run.piece)
            self.open[run.piece].claims[block] = [peer]

    def joinable_late(self, peer):
        """For each block that may also be requested from a peer, the number of others that it was requested from."""
        return {
            (piece, block): len(claimants)
            for piece, begun in self.open.items()
            if begun.owner is None and piece in self.peers[peer] and self.priority[piece]
            for block, claimants in begun.claims.items()
            if peer not in claimants and len(claimants) < limits.ENDGAME_CLAIMANTS
        }

    # ---------------------------------------------------------------- what happens

    def receive(self, peer, piece, block):
        claimants = self.open[piece].claims.pop(block)
        self.open[piece].received[block] = peer
        return {claimant for claimant in claimants if claimant != peer}

    def give_back(self, peer, piece, block):
        claimants = self.open[piece].claims[block]
        claimants.remove(peer)
        if not claimants:
            del self.open[piece].claims[block]

    def wrong(self, piece, blocks):
        begun = self.open[piece]
        begun.owner = None
        self.alone.discard(piece)
        for block in blocks:
            del begun.received[block]

    def settle(self, given_back=()):
        """Let go of pieces that are not worth keeping. Returns them."""
        gone = set()
        for piece, begun in list(self.open.items()):
            if begun.claims or len(begun.received) == self.blocks[piece]:
                continue
            if not begun.received or not self.priority[piece] or (begun.owner is not None and piece in given_back):
                del self.open[piece]
                gone.add(piece)
        return gone
