"""Which pieces a peer has, also while nobody has told yet how many there are (BEP 3, 6)."""

from __future__ import annotations

from bitarray import bitarray

from geventbt import limits
from geventbt.errors import RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.messages import Buffer


class PeerPieces:
    """The pieces of one peer.

    While the number of pieces is unknown, a bitfield is kept as it came, haves in a bounded set, and have-all as a fact: an index, however far,
    allocates nothing (CVE-2014-4909).

    Attributes:
        count: the number of pieces, or None while it is unknown.
        has_all: the peer said have_all, or has told of every piece.
        announced: whether the peer has told anything at all.
    """

    __slots__ = ("_bits", "_early", "_said_all", "announced", "count")

    def __init__(self) -> None:
        self.count: int | None = None
        self.announced = False
        self._said_all = False
        self._bits = bitarray(endian="big")
        self._early: set[int] = set()

    def __contains__(self, piece: int) -> bool:
        if self._said_all:
            return self.is_index(piece)
        return (0 <= piece < len(self._bits) and bool(self._bits[piece])) or piece in self._early

    @property
    def has_all(self) -> bool:
        return self._said_all or (self.count is not None and self._bits.all())

    @property
    def bits(self) -> bitarray:
        """A copy as a big-endian bitarray: as long as the torrent has pieces or, while that is unknown, as the peer has told of."""
        if self._said_all and self.count is None:
            return bitarray(endian="big")
        if not self._early:
            return bitarray(self._bits)
        bits = bitarray(max(len(self._bits), max(self._early) + 1), endian="big")
        bits[: len(self._bits)] = self._bits
        for piece in self._early:
            bits[piece] = True
        return bits

    def is_index(self, piece: int) -> bool:
        """Whether there is, or may be, a piece with this index."""
        return 0 <= piece < (limits.PIECES if self.count is None else self.count)

    def may_have(self, piece: int) -> bool:
        """Whether it is not known that the peer lacks the piece."""
        return not self.announced or piece in self

    def add(self, piece: int) -> bool:
        """Take a have. Returns whether it was news. Raises RemoteProtocolError if there is no such piece."""
        if not self.is_index(piece):
            raise RemoteProtocolError(f"a have for piece {piece}, which does not exist", message_id=c.HAVE)
        self.announced = True
        if piece in self:
            return False
        if self.count is not None:
            self._bits[piece] = True
        elif len(self._early) < limits.EARLY_HAVES:
            self._early.add(piece)
        return True

    def remove(self, piece: int) -> bool:
        """Take a donthave (BEP 54). Returns whether the peer had the piece."""
        if piece not in self:
            return False
        if self._said_all:
            if self.count is None:
                return False
            self._said_all = False
        if piece < len(self._bits):
            self._bits[piece] = False
        self._early.discard(piece)
        return True

    def set_bitfield(self, bitfield: Buffer) -> None:
        """Take a bitfield, whose length the parser has checked where the number of pieces is known."""
        bits = bitarray(endian="big")
        bits.frombytes(bytes(bitfield))
        self.announced = True
        self._said_all = False
        self._early.clear()
        self._bits = bits
        if self.count is not None:
            self._trim(self.count)

    def set_all(self) -> None:
        """Take a have_all (BEP 6)."""
        self._reset(True)

    def set_none(self) -> None:
        """Take a have_none (BEP 6)."""
        self._reset(False)

    def set_count(self, count: int) -> None:
        """Make the number of pieces known. Raises RemoteProtocolError if it contradicts what the peer has told."""
        if self.count == count:
            return
        if self._bits:
            self._trim(count)
        else:
            self._bits = bitarray(count, endian="big")
            self._bits.setall(self._said_all)
        early, self._early = self._early, set()
        self.count = count
        for piece in early:
            self.add(piece)

    def _trim(self, count: int) -> None:
        """Cut the spare bits off, which must be zero (BEP 3)."""
        if len(self._bits) != (count + 7) // 8 * 8 or self._bits[count:].any():
            raise RemoteProtocolError("a bitfield of the wrong size or with spare bits set", message_id=c.BITFIELD)
        del self._bits[count:]

    def _reset(self, value: bool) -> None:
        self.announced = True
        self._said_all = value
        self._early.clear()
        self._bits = bitarray(self.count or 0, endian="big")
        self._bits.setall(value)
