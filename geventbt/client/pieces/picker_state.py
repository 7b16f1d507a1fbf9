"""What the parts of a picker share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic

from geventbt.client.pieces.availability import PickerPeers
from geventbt.client.pieces.open_piece import K
from geventbt.client.pieces.open_pieces import OpenPieces
from geventbt.client.pieces.order import PieceOrder
from geventbt.client.pieces.upkeep import Upkeep
from geventbt.client.pieces.wanted import Deadlines, Wanted
from geventbt.geometry import Geometry


@dataclass(frozen=True, slots=True)
class PickerState(Generic[K]):
    """The state of a `BlockPicker`.

    Attributes:
        geometry: the pieces.
        wanted: those that are wanted and missing.
        deadlines: those that readers wait for.
        order: those that are free.
        open: those that are begun.
        peers: what each peer has.
        upkeep: lets open pieces go.
    """

    geometry: Geometry
    wanted: Wanted
    deadlines: Deadlines
    order: PieceOrder
    open: OpenPieces[K]
    peers: PickerPeers[K]
    upkeep: Upkeep[K]
