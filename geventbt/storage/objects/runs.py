"""Where the bytes of one file are: in memory, in part objects, or in the object of the file itself. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from geventbt import limits

_MAX_PARTS = 9000
"""Parts of a file: S3 joins at most 10,000."""


class Run(NamedTuple):
    """A range of a file that has come: in memory, or, without data, in a part object."""

    offset: int
    length: int
    data: bytes | None = None

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.offset + self.length


class Source(NamedTuple):
    """Where a range of a file is."""

    run: Run | None
    """In this run; None in the object of the file itself."""
    start: int
    """Where the range begins in it."""
    length: int


def part_size(length: int) -> int:
    """The bytes of a part of a file, given the length of the file."""
    return max(limits.STORE_PART, -(-length // (_MAX_PARTS * limits.MIB)) * limits.MIB)


class FileRuns:
    """The ranges of one file that have come, by parts. No range is in more than one part.

    Args:
        length: of the file, in bytes.

    Attributes:
        part: the bytes of a part; the last one is shorter.
        base: the size of the object of the file itself; 0 if it is not there. What has come since takes precedence.
    """

    def __init__(self, length: int) -> None:
        self.length = length
        self.part = part_size(length)
        self.base = 0
        self._parts: dict[int, list[Run]] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def __iter__(self) -> Iterator[Run]:
        for number in sorted(self._parts):
            yield from self._parts[number]

    def range_of(self, number: int) -> tuple[int, int]:
        """Begin and length of a part."""
        begin = number * self.part
        return begin, min(self.part, self.length - begin)

    @property
    def numbers(self) -> range:
        """The numbers of all parts."""
        return range(-(-self.length // self.part))

    def runs(self, number: int) -> list[Run]:
        """What has come of a part."""
        return list(self._parts.get(number, ()))

    def add(self, run: Run) -> list[Run]:
        """Add a range that is inside one part. Returns those in memory that it takes the place of."""
        runs = self._parts.setdefault(run.offset // self.part, [])
        covered = [old for old in runs if old.data is not None and run.offset <= old.offset and old.end <= run.end]
        runs[:] = [old for old in runs if old not in covered and (old.offset, old.length) != (run.offset, run.length)]
        runs.append(run)
        return covered

    def remove(self, run: Run) -> None:
        """Forget a range, if it is known."""
        number = run.offset // self.part
        runs = [old for old in self._parts.get(number, ()) if old != run]
        if runs:
            self._parts[number] = runs
        else:
            self._parts.pop(number, None)

    def clear(self) -> None:
        """Forget all ranges."""
        self._parts.clear()

    def covers(self, offset: int, length: int) -> bool:
        """Whether all bytes of a range are there."""
        return self.locate(offset, length) is not None

    def locate(self, offset: int, length: int) -> list[Source] | None:
        """Find a range, in as many pieces as needed, in order; None if some of it is not there."""
        sources: list[Source] = []
        end = offset + length
        while offset < end:
            source = self._locate_first(offset, end)
            if source is None:
                return None
            sources.append(source)
            offset += source.length
        return sources

    @property
    def whole_until(self) -> int:
        """How many bytes from the begin are there without a gap."""
        offset = 0
        while offset < self.length and (source := self._locate_first(offset, self.length)) is not None:
            offset += source.length
        return offset

    @property
    def is_independent(self) -> bool:
        """Whether all bytes are there without the object of the file itself."""
        return all(source.run is not None for source in self.locate(0, self.length) or [Source(None, 0, 0)])

    def _locate_first(self, offset: int, end: int) -> Source | None:
        """The source of the first bytes of a range."""
        number = offset // self.part
        end = min(end, (number + 1) * self.part)
        runs = self._parts.get(number, ())
        best = max((run for run in runs if run.offset <= offset < run.end), key=lambda run: run.end, default=None)
        if best is not None:
            return Source(best, offset - best.offset, min(end, best.end) - offset)
        end = min([end, self.base, *(run.offset for run in runs if run.offset > offset)])
        return Source(None, offset, end - offset) if end > offset else None
