"""The pieces that a peer has, also while the number of pieces is unknown (BEP 3, 6)."""

from __future__ import annotations

from bitarray import bitarray
from bitarray.util import ones, zeros

from geventbt import limits
from geventbt.errors import RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.messages import Buffer


class PeerPieces:
    """The pieces of one peer.

    While the number of pieces is unknown, a bitfield is kept unchanged, have_all as a flag, and changes of single
    pieces in a bounded set: a large index allocates nothing (CVE-2014-4909).

    Attributes:
        count: the number of pieces, or None while it is unknown.
        announced: whether the peer has announced its pieces, or any of them.
    """

    __slots__ = ("_bits", "_changed", "_said_all", "announced", "count")

    def __init__(self) -> None:
        self.count: int | None = None
        self.announced = False
        self._said_all = False
        # The bitfield or, once the number is known, all that the peer has announced.
        self._bits: bitarray | None = None
        # While the number is unknown: the pieces that it has besides the bitfield or, after have_all, that it has lost.
        self._changed: set[int] = set()

    def __contains__(self, piece: int) -> bool:
        if not self.is_index(piece):
            return False
        if self._said_all:
            return piece not in self._changed
        return piece in self._changed or (
            self._bits is not None and piece < len(self._bits) and bool(self._bits[piece])
        )

    @property
    def has_all(self) -> bool:
        """Whether the peer has every piece."""
        if self._said_all:
            return not self._changed
        return self.count is not None and self._bits is not None and bool(self._bits.all())

    @property
    def bits(self) -> bitarray:
        """A copy as a big-endian bitarray, with a bit for each piece of the torrent or, while their number is unknown,
        up to the last piece that was announced."""
        bits = bitarray(self._bits) if self._bits is not None else bitarray(endian="big")
        if self._said_all or not self._changed:
            return bits
        missing = max(self._changed) + 1 - len(bits)
        bits.extend(zeros(max(0, missing), endian="big"))
        for piece in self._changed:
            bits[piece] = True
        return bits

    def is_index(self, piece: int) -> bool:
        """Whether a piece with this index exists, or may exist while the number of pieces is unknown."""
        return 0 <= piece < (limits.PIECES if self.count is None else self.count)

    def may_have(self, piece: int) -> bool:
        """Whether the peer has the piece, or has not announced its pieces yet."""
        return not self.announced or piece in self

    def add(self, piece: int) -> bool:
        """Take a have.

        Returns:
            Whether the peer did not have the piece before.

        Raises:
            RemoteProtocolError: there is no such piece.
        """
        if not self.is_index(piece):
            raise RemoteProtocolError(f"a have for piece {piece}, which does not exist", message_id=c.HAVE)
        self.announced = True
        if piece in self:
            return False
        self._set(piece, True)
        return True

    def remove(self, piece: int) -> bool:
        """Take a donthave (BEP 54). Returns whether the peer had the piece."""
        if piece not in self:
            return False
        self._set(piece, False)
        return True

    def _set(self, piece: int, value: bool) -> None:
        if self._said_all and self.count is not None:
            # It has lost a piece: from now on the bits are authoritative.
            self._said_all = False
        bits = self._bits
        if bits is not None and piece < len(bits) and not self._said_all:
            bits[piece] = value
            self._changed.discard(piece)
        elif value == self._said_all:
            self._changed.discard(piece)
        elif len(self._changed) < limits.EARLY_HAVES:
            self._changed.add(piece)

    def set_bitfield(self, bitfield: Buffer) -> None:
        """Take a bitfield, whose length the parser has checked where the number of pieces is known."""
        bits = bitarray(endian="big")
        bits.frombytes(bytes(bitfield))
        self._reset(bits, said_all=False)
        if self.count is not None:
            self._trim(bits, self.count)

    def set_all(self) -> None:
        """Take a have_all (BEP 6)."""
        self._reset(None if self.count is None else ones(self.count, endian="big"), said_all=True)

    def set_none(self) -> None:
        """Take a have_none (BEP 6)."""
        self._reset(None if self.count is None else zeros(self.count, endian="big"), said_all=False)

    def _reset(self, bits: bitarray | None, *, said_all: bool) -> None:
        self.announced = True
        self._said_all = said_all
        self._changed.clear()
        self._bits = bits

    def set_count(self, count: int) -> None:
        """Set the number of pieces.

        Raises:
            RemoteProtocolError: the peer has announced a piece that does not exist, or a bitfield of another size.
        """
        if self.count == count:
            return
        changed = {piece for piece in self._changed if piece < count}
        if changed != self._changed and not self._said_all:
            raise RemoteProtocolError("a have for a piece that does not exist", message_id=c.HAVE)
        if self._bits is not None:
            self._trim(self._bits, count)
        else:
            self._bits = ones(count, endian="big") if self._said_all else zeros(count, endian="big")
        for piece in changed:
            self._bits[piece] = not self._said_all
        self.count, self._said_all, self._changed = count, False, set()

    def _trim(self, bits: bitarray, count: int) -> None:
        """Remove the spare bits, which must be zero (BEP 3)."""
        if len(bits) != (count + 7) // 8 * 8 or bits[count:].any():
            raise RemoteProtocolError(
                f"a bitfield of the wrong size, or with spare bits set, for {count} pieces", message_id=c.BITFIELD
            )
        del bits[count:]
