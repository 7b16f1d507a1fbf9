"""``--select``: files of a torrent by index, range, glob, path or folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from geventbt.cli.errors import NOT_FOUND, CommandError
from geventbt.cli.text import human_size, printable

if TYPE_CHECKING:
    import geventbt

_SHOWN = 20
"""Files that are shown where none of them was meant."""
_RANGE = re.compile(r"([0-9]{1,9})(-([0-9]{1,9})?)?")


def select_files(torrent: geventbt.Torrent, wanted: Iterable[str]) -> list[int]:
    """The indices of the selected files, in order.

    Args:
        torrent: the torrent.
        wanted: each an index from 0 on, a range such as ``3-5`` or ``3-``, a glob, the path of a file or folder with or
            without the torrent's own, or several of them with commas between.

    Raises:
        CommandError: one of them matches no file.
    """
    names = ["/".join(file.path) for file in torrent.files]
    found: set[int] = set()
    for text in wanted:
        # A name may have commas in it.
        is_name = not _RANGE.fullmatch(text) and _named(names, text)
        for part in [text] if is_name else text.split(","):
            found |= _part(torrent, names, part.strip())
    return sorted(index for index in found if torrent.files[index].stored)


def select_file(torrent: geventbt.Torrent, wanted: str) -> int:
    """The index of the one file that is meant; see `select_files`.

    Raises:
        CommandError: it is not one file.
    """
    found = select_files(torrent, [wanted])
    if len(found) != 1:
        raise CommandError(NOT_FOUND, f"{wanted!r} matches {len(found)} files of the torrent; name one of them")
    return found[0]


def file_lines(torrent: geventbt.Torrent, selected: Iterable[int] | None = None) -> list[str]:
    """A line for each file, with its index and size, and a mark at those that are selected; None for no marks."""
    chosen = None if selected is None else set(selected)
    return [
        f"{'' if chosen is None else '* ' if index in chosen else '  '}{index:>5}  {human_size(file.length):>10}  "
        f"{printable('/'.join(file.path))}"
        for index, file in enumerate(torrent.files)
        if file.stored
    ]


def _part(torrent: geventbt.Torrent, names: Sequence[str], text: str) -> set[int]:
    match = _RANGE.fullmatch(text)
    found = _indexed(match, len(names)) if match else _named(names, text)
    if not found:
        lines = file_lines(torrent)
        more = [f"and {len(lines) - _SHOWN} more: geventbt download --list shows them"] if len(lines) > _SHOWN else []
        raise CommandError(NOT_FOUND, f"{text!r} is not a file of the torrent; its files are:", lines[:_SHOWN] + more)
    return found


def _indexed(match: re.Match[str], count: int) -> set[int]:
    """The indices of a range; none if any of them is too high."""
    first = int(match[1])
    last = int(match[3]) if match[3] else (count - 1 if match[2] else first)
    return set(range(first, last + 1)) if last < count else set()


def _named(names: Sequence[str], text: str) -> set[int]:
    """The files whose path, or a folder of it, matches; with or without the torrent's own folder."""
    pattern = text.rstrip("/")
    if not pattern:
        return set()
    return {index for index, name in enumerate(names) if any(_matches(way, pattern) for way in _ways(name))}


def _ways(name: str) -> tuple[str, str]:
    return name, name.partition("/")[2]


def _matches(name: str, pattern: str) -> bool:
    return bool(name) and (name == pattern or name.startswith(pattern + "/") or fnmatchcase(name, pattern))
