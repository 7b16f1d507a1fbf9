"""Changes of what the picker is to fetch: priorities and deadlines, and what they mean for pieces that are begun."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic

from geventbt.client.pieces.open_piece import K
from geventbt.client.pieces.order import HIGHEST, NORMAL
from geventbt.client.pieces.picker_state import PickerState
from geventbt.client.pieces.reservations import Reservations


class Demand(Generic[K]):
    """Sets priorities and deadlines.

    Args:
        state: of the picker.
        reservations: what is reserved of it.
    """

    def __init__(self, state: PickerState[K], reservations: Reservations[K]) -> None:
        self._state = state
        self._reservations = reservations

    def priority(self, piece: int) -> int:
        """The priority of a piece: 0 not wanted, 1 to 7.

        Raises:
            IndexError: if there is no such piece.
        """
        self._state.geometry.check_piece(piece)
        return self._state.wanted.priorities[piece]

    def set_priority(self, piece: int, priority: int) -> None:
        """Give a piece a priority: 0 not wanted, 4 normal, 7 the highest. The order is strict.

        An open piece that is no longer wanted is let go when nothing more of it is under way.

        Raises:
            IndexError: if there is no such piece.
            ValueError: if there is no such priority.
        """
        self._state.geometry.check_piece(piece)
        if not 0 <= priority <= HIGHEST:
            raise ValueError(f"priority {priority}: must be 0 to {HIGHEST}")
        self._reservations.cut_before(piece)
        self._state.wanted.set_priority(piece, priority)
        if priority:
            self._state.order.set_priority(piece, priority)
        if piece in self._state.open:
            self._state.upkeep.settle(self._state.open[piece])
        else:
            self._state.open.relist(piece)

    def set_priorities(self, priorities: bytes | Sequence[int]) -> None:
        """Give every piece its priority.

        Raises:
            ValueError: if they are not as many as there are pieces, or one is not 0 to 7.
        """
        values = bytes(priorities)
        if len(values) != self._state.geometry.pieces:
            raise ValueError(f"{len(values)} priorities: there are {self._state.geometry.pieces} pieces")
        # *Measured*: max() of two million takes 17 ms.
        too_high = values.translate(None, bytes(range(HIGHEST + 1)))
        if too_high:
            raise ValueError(f"priority {max(too_high)}: must be 0 to {HIGHEST}")
        self._reservations.cut_all()
        self._state.wanted.set_priorities(values)
        self._state.order.set_priorities(values)
        free = self._state.wanted.missing_pieces.copy()
        for piece in self._state.open:
            free[piece] = 0
        self._state.order.replace(free)
        for open_piece in list(self._state.open.values()):
            self._state.upkeep.settle(open_piece)

    def set_deadline(self, piece: int, deadline: float | None) -> None:
        """A reader waits for a piece, or no longer does. Such pieces go before all others, the earliest first.

        A piece that was not wanted is given normal priority, and keeps it.

        Args:
            piece: its number.
            deadline: anything that orders; None for no deadline.

        Raises:
            IndexError: if there is no such piece.
        """
        self._state.geometry.check_piece(piece)
        if self._state.wanted.have[piece]:
            return
        self._state.deadlines.set(piece, deadline)
        if deadline is not None:
            self._reservations.cut_before(piece, spares_urgent=True)
        if deadline is not None and not self._state.wanted.priorities[piece]:
            self.set_priority(piece, NORMAL)
