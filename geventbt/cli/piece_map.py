"""The pieces of a torrent as rows of characters: the darker, the more of them are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bitarray import bitarray

SHADES = " ░▒▓█"
PLAIN_SHADES = ".-+*#"
"""For terminals without Unicode."""


def piece_map(pieces: bitarray, width: int, rows: int, shades: str = SHADES) -> list[str]:
    """Draw which pieces are there.

    Args:
        pieces: one bit for each.
        width: characters in a row, at most.
        rows: how many there may be.
        shades: from nothing to all of a character's pieces; nothing and all are never shown for a part.

    Returns:
        The rows; none if there are no pieces.
    """
    cells = min(len(pieces), width * rows)
    drawn = "".join(
        _shade(pieces[len(pieces) * cell // cells : len(pieces) * (cell + 1) // cells], shades) for cell in range(cells)
    )
    return [drawn[start : start + width] for start in range(0, cells, width)]


def legend(pieces: int, cells: int, shades: str = SHADES) -> list[str]:
    """What the characters of a map mean.

    Args:
        pieces: of the torrent.
        cells: characters of the map.
        shades: see `piece_map`.
    """
    share = -(-pieces // cells)
    all_of = "all" if share > 1 else "here"
    return [
        f"{shades[-1]} {all_of}",
        *([f"{shades[-2]} {shades[-3]} {shades[-4]} some"] if share > 1 else []),
        f"{'blank' if shades[0] == ' ' else shades[0]} missing",
        f"{share} {'piece' if share == 1 else 'pieces'} each",
    ]


def _shade(pieces: bitarray, shades: str) -> str:
    count, last = pieces.count(), len(shades) - 1
    if count in (0, len(pieces)):
        return shades[last if count else 0]
    return shades[1 + (last - 1) * count // len(pieces)]
