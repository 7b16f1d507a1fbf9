"""Which torrents of a service may run: at most a number of downloads and seeds at one time, in the order of the queue.
Pure.

A torrent that is forced runs in any case, and one that is checked or stalled runs without taking a place: a download
without any peer must not keep the others from theirs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Entry:
    """A torrent that is not stopped.

    Attributes:
        key: names it.
        seeds: whether it is complete, and only seeds.
        is_forced: whether it runs whatever else does.
        is_stalled: whether it runs and has transferred nothing for a while.
    """

    key: int
    seeds: bool
    is_forced: bool = False
    is_stalled: bool = False


def may_run(queue: Iterable[Entry], downloads: int | None, seeds: int | None) -> set[int]:
    """The keys of the torrents that may run.

    Args:
        queue: the torrents that are not stopped, the first in the queue first.
        downloads, seeds: how many may download, and seed; None for no limit.
    """
    places = {False: downloads, True: seeds}
    running: set[int] = set()
    for entry in queue:
        if entry.is_forced or entry.is_stalled:
            running.add(entry.key)
            continue
        left = places[entry.seeds]
        if left is None or left > 0:
            running.add(entry.key)
            places[entry.seeds] = None if left is None else left - 1
    return running


def moved_to_top(queue: Sequence[_T], chosen: Iterable[_T]) -> list[_T]:
    """The queue with some at its head, in the order that they had."""
    picked = set(chosen)
    return [key for key in queue if key in picked] + [key for key in queue if key not in picked]


def moved_to_bottom(queue: Sequence[_T], chosen: Iterable[_T]) -> list[_T]:
    """The queue with some at its end, in the order that they had."""
    picked = set(chosen)
    return [key for key in queue if key not in picked] + [key for key in queue if key in picked]


def moved_up(queue: Sequence[_T], chosen: Iterable[_T]) -> list[_T]:
    """The queue with some one place further up, as far as there is another one above."""
    picked, moved = set(chosen), list(queue)
    for at in range(1, len(moved)):
        if moved[at] in picked and moved[at - 1] not in picked:
            moved[at - 1], moved[at] = moved[at], moved[at - 1]
    return moved


def moved_down(queue: Sequence[_T], chosen: Iterable[_T]) -> list[_T]:
    """The queue with some one place further down."""
    return moved_up(list(queue)[::-1], chosen)[::-1]


def moved_to(queue: Sequence[_T], key: _T, position: int) -> list[_T]:
    """The queue with one at a position, or at the end if it is not so long."""
    moved = [other for other in queue if other != key]
    moved.insert(max(0, position), key)
    return moved
