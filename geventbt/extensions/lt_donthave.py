"""lt_donthave: withdrawing a have (BEP 54)."""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING

from geventbt import limits
from geventbt.errors import LocalProtocolError
from geventbt.extensions.extension import Extension

if TYPE_CHECKING:
    from geventbt.extensions.signal_types import LtDonthaveOn
    from geventbt.overloads import Overloaded

_INDEX = Struct(">I")


class LtDonthave(Extension):
    """Announces and receives the loss of pieces (BEP 54).

    On receipt the piece leaves the wire's `peer_pieces`, and requests for it fail with `PieceNotAvailable`; those that
    the peer rejects right behind it (BEP 6), as most do, may fail with `RequestRejected` before. Both are
    `RequestFailed`.

    Signals: `donthave` (index), once for a piece that the peer had.
    """

    name = "lt_donthave"
    signal_names = ("donthave",)
    if TYPE_CHECKING:
        on: Overloaded[LtDonthaveOn]

    def donthave(self, piece: int) -> None:
        """Announce that we no longer have a piece.

        Raises:
            LocalProtocolError: the peer does not support the extension, or no torrent has such a piece.
            WireClosed: the wire is closed.
        """
        if not 0 <= piece < limits.PIECES:
            raise LocalProtocolError(f"cannot withdraw piece {piece}: must be 0 to {limits.PIECES - 1}")
        self.send(_INDEX.pack(piece))

    def on_message(self, payload: bytes) -> None:
        """Withdraw a have; a message of the wrong length is ignored."""
        if len(payload) != _INDEX.size:
            return
        (piece,) = _INDEX.unpack(payload)
        if self.wire.forget_piece(piece):
            self.emit("donthave", index=piece)
