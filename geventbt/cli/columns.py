"""Lines and tables that fit into a window: what does not is left out whole, for half a number says something else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: what stands above it.
        cells: its texts, from above.
        rank: which columns stay where there is no room for all: those of the highest rank.
        is_number: aligned to the right.
    """

    title: str
    cells: Sequence[str]
    rank: int
    is_number: bool = False

    @property
    def width(self) -> int:
        """The characters that it needs."""
        return max(map(cell_len, (self.title, *self.cells)))

    def lines(self) -> list[str]:
        """The title and the cells, all of one width."""
        return [self._aligned(text) for text in (self.title, *self.cells)]

    def _aligned(self, text: str) -> str:
        blanks = " " * (self.width - cell_len(text))
        return blanks + text if self.is_number else text + blanks


def fitting(columns: Sequence[Column], width: int) -> list[str]:
    """The lines of a table, title first, without the columns that there is no room for. One column always stays."""
    kept = list(columns)
    while len(kept) > 1 and sum(column.width for column in kept) + len(_GAP) * (len(kept) - 1) > width:
        kept.remove(min(kept, key=lambda column: column.rank))
    return [_GAP.join(cells).rstrip() for cells in zip(*(column.lines() for column in kept), strict=True)]


def joined(parts: Sequence[str], width: int) -> str:
    """The parts with commas between, without those at the end that there is no room for. The first one always stays."""
    count = len(parts)
    while count > 1 and cell_len(", ".join(parts[:count])) > width:
        count -= 1
    return ", ".join(parts[:count])
