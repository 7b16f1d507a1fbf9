"""The part of a file that an HTTP request asks for (RFC 9110, sections 13 and 14). Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MAX_HEADER = 256
"""Characters of a Range header that is read: players ask for one range."""
_SPEC = re.compile(r"([0-9]{0,19})-([0-9]{0,19})")


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a request says about the part that it wants: the headers of the same names.

    Attributes:
        method: "GET" or "HEAD".
    """

    method: str = "GET"
    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, Any]) -> Conditions:
        """Those of a WSGI request."""
        return cls(
            environ["REQUEST_METHOD"],
            environ.get("HTTP_RANGE"),
            environ.get("HTTP_IF_RANGE"),
            environ.get("HTTP_IF_MATCH"),
            environ.get("HTTP_IF_NONE_MATCH"),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a file to answer with.

    Attributes:
        status: 200 for all of it, 206 for a range, 304 if the client has it, 412 if it wants another one, 416 if there
            is no such range.
        start, stop: the bytes to send; none where the status has no body.
    """

    status: int
    start: int = 0
    stop: int = 0

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


def choose_part(size: int, etag: str | None, asked: Conditions) -> Part:
    """Choose the part of a file that a request asks for.

    Args:
        size: of the file, in bytes.
        etag: its strong entity tag, with its quotes; None if it has none.
        asked: what the request says.
    """
    if asked.if_match is not None and not _names(asked.if_match, etag):
        return Part(412)
    if asked.if_none_match is not None and _names(asked.if_none_match.replace("W/", ""), etag):
        return Part(304)
    ranges = _parse(asked.range) if asked.range is not None and asked.method == "GET" else None
    if ranges is None or (asked.if_range is not None and asked.if_range != etag):
        return Part(200, 0, size)
    found = _merged([one for one in (_within(first, last, size) for first, last in ranges) if one])
    if not found:
        return Part(416)
    # Answers of several parts are allowed to be left out, and no player asks for them.
    return Part(206, found[0].start, found[0].stop) if len(found) == 1 else Part(200, 0, size)


def _names(header: str, etag: str | None) -> bool:
    """Whether a list of entity tags has this one."""
    return header.strip() == "*" or etag in [tag.strip() for tag in header.split(",")]


def _parse(header: str) -> list[tuple[int | None, int | None]] | None:
    """The first and last byte of each range, None where left out; None for a header that does not follow the grammar,
    which is to be ignored."""
    unit, _, text = header.partition("=")
    if unit.strip().lower() != "bytes" or len(header) > _MAX_HEADER:
        return None
    ranges: list[tuple[int | None, int | None]] = []
    for spec in filter(None, (part.strip() for part in text.split(","))):
        match = _SPEC.fullmatch(spec)
        if match is None or spec == "-":
            return None
        first, last = (int(digits) if digits else None for digits in match.groups())
        if first is not None and last is not None and first > last:
            return None
        ranges.append((first, last))
    return ranges or None


def _within(first: int | None, last: int | None, size: int) -> range:
    """The bytes of a range that the file has; none if it is behind its end."""
    if first is None:
        return range(max(0, size - (last or 0)), size)
    return range(first, size if last is None else min(last + 1, size))


def _merged(ranges: list[range]) -> list[range]:
    """The ranges, with those that overlap or touch as one."""
    merged: list[range] = []
    for one in sorted(ranges, key=lambda one: one.start):
        if merged and one.start <= merged[-1].stop:
            merged[-1] = range(merged[-1].start, max(merged[-1].stop, one.stop))
        else:
            merged.append(one)
    return merged
