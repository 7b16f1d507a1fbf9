"""Reads the files of ranges that IP filters come as: PeerGuardian (.p2p), eMule (.dat), CIDR; plain or packed by gzip.

A line is one of

::

    Some Organisation:1.2.3.0-1.2.3.255                         PeerGuardian
    001.002.003.000 - 001.002.003.255 , 000 , Organisation      eMule; over 127 the range is allowed
    1.2.3.0/24                                                  CIDR
    1.2.3.0 - 1.2.3.255                                         a range
    1.2.3.4                                                     an address

with IPv4 or IPv6 addresses. Empty lines and those that begin with ``#``, ``;`` or ``//`` are comments.
"""

from __future__ import annotations

import gzip
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from socket import AF_INET, AF_INET6, inet_pton
from typing import IO, Any, TypeAlias

from geventbt import limits
from geventbt.arguments import several
from geventbt.net.ip_filter import IPFilter
from geventbt.net.text import clean_text

_log = logging.getLogger("geventbt")

IPRanges: TypeAlias = str | os.PathLike[str] | Iterable[object] | IPFilter
"""The path of a file of ranges; or the ranges themselves, each as text, as a network of `ipaddress`, or as the (first,
last) address of it; or a filter that was made of them before."""

_COMMENTS = ("#", ";", "//")
_OCTETS = [
    {text: octet << shift for octet in range(256) for text in (f"{octet}", f"{octet:02}", f"{octet:03}")}
    for shift in (24, 16, 8, 0)
]
"""The numbers of IPv4 addresses at each place. *Measured*: three times as fast as `int`, and strict."""
_ALLOWED = 127
"""The access level of eMule over which a range is not blocked."""
_LONGEST_START = 64
"""Characters before a dash that may be an address: of IPv6 at most 45, and blanks."""
_GZIP = b"\x1f\x8b"
_READ = 1 << 20


_Range: TypeAlias = tuple[bool, int, int]
"""Whether a range is of IPv6, and its first and last address."""
_ALLOWED_RANGE: _Range = (False, 1, 0)
"""An empty one: the line says that its range is not blocked."""


def read_ip_filter(source: IPRanges) -> IPFilter:
    """Make a filter of a file or of ranges. A large file takes seconds: call it in a native thread.

    Args:
        source: see `IPRanges`.

    Raises:
        ValueError: a range is not one, or a file has none, or more than `limits.IP_FILTER_BYTES` unpacked.
        OSError: the file cannot be read.
    """
    if isinstance(source, IPFilter):
        return source
    if isinstance(source, (str, os.PathLike)):
        with open(source, "rb") as file:
            return read_ip_file(file, os.fspath(source))
    ranges = _Ranges()
    for item in several(source, "ip_filter"):
        if not ranges.add(_as_text(item)):
            raise ValueError(f"IP filter: {clean_text(str(item))!r} is not a range of addresses")
    return ranges.as_filter()


def read_ip_file(file: IO[bytes], name: str) -> IPFilter:
    """Make a filter of the contents of a file of ranges.

    Args:
        file: from its start on.
        name: what it is called in errors.

    Raises:
        See `read_ip_filter`.
    """
    ranges = _Ranges()
    wrong = 0
    first_wrong = ""
    is_packed = file.read(len(_GZIP)) == _GZIP
    file.seek(0)
    unpacked: Any = gzip.GzipFile(fileobj=file) if is_packed else file
    try:
        for number, line in enumerate(_lines(unpacked, name), 1):
            if not ranges.add(line):
                wrong += 1
                first_wrong = first_wrong or f"line {number}: {clean_text(line[: limits.IP_FILTER_LINE])!r}"
    except EOFError as error:
        raise ValueError(f"IP filter {name}: it is cut off") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"IP filter {name}: it cannot be unpacked: {error}") from error
    if wrong and not ranges.count:
        raise ValueError(f"IP filter {name}: it has no ranges; {first_wrong} is not one")
    if wrong:
        _log.warning("IP filter %s: %d lines are not ranges and are left out, first %s", name, wrong, first_wrong)
    return ranges.as_filter()


def _as_text(item: Any) -> str:
    return f"{item[0]}-{item[1]}" if isinstance(item, tuple) and len(item) == 2 else str(item)


def _lines(file: IO[bytes], name: str) -> Iterator[str]:
    """The lines of a file; of those that are too long only the beginning."""
    total = 0
    rest = b""
    while data := file.read(_READ):
        total += len(data)
        if total > limits.IP_FILTER_BYTES:
            raise ValueError(f"IP filter {name}: more than {limits.IP_FILTER_BYTES} bytes")
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line[: limits.IP_FILTER_LINE].decode("latin-1")
        # A line without end is judged by its beginning, and not kept.
        rest = rest[: limits.IP_FILTER_LINE]
    if rest:
        yield rest.decode("latin-1")


class _Ranges:
    """Collects the ranges of lines. What read the last line is tried first with the next: a file has one format."""

    def __init__(self) -> None:
        self.count = 0
        self._ipv4: list[tuple[int, int]] = []
        self._ipv6: list[tuple[int, int]] = []
        self._readers: list[Callable[[str], _Range | None]] = [_read_p2p, _read_dat, _read_cidr, _read_p2p_ipv6]

    def add(self, line: str) -> bool:
        """Take a line. Returns whether it is a range, or says nothing."""
        readers = self._readers
        for reader in readers:
            found = reader(line)
            if found is not None:
                if reader is not readers[0]:
                    readers.remove(reader)
                    readers.insert(0, reader)
                self.count += 1
                if found is not _ALLOWED_RANGE:
                    (self._ipv6 if found[0] else self._ipv4).append(found[1:])
                return True
        text = line.strip()
        return not text or text.startswith(_COMMENTS)

    def as_filter(self) -> IPFilter:
        return IPFilter(self._ipv4, self._ipv6)


def _read_p2p(line: str) -> _Range | None:
    first, _, last = line[line.rfind(":") + 1 :].partition("-")
    try:
        # Without blanks, and only IPv4: the case that large files consist of.
        low = int.from_bytes(inet_pton(AF_INET, first), "big")
        high = int.from_bytes(inet_pton(AF_INET, last.rstrip()), "big")
    except (OSError, ValueError):
        return None
    return (False, low, high) if low <= high else None


def _read_dat(line: str) -> _Range | None:
    """A range alone, or with the access level and description of eMule."""
    addresses, comma, rest = line.partition(",")
    first, dash, last = addresses.partition("-")
    if not dash:
        return None
    first, last = first.strip(), last.strip()
    found = _padded_range(first, last) or _range(first, last)
    if found is None or not comma:
        return found
    level = rest.partition(",")[0].strip()
    return _ALLOWED_RANGE if level.isdecimal() and int(level[:9]) > _ALLOWED else found


def _padded_range(first: str, last: str) -> _Range | None:
    """A range of IPv4, where eMule writes zeros in front of numbers."""
    first_octet, second_octet, third_octet, last_octet = _OCTETS
    try:
        a, b, c, d = first.split(".")
        low = first_octet[a] | second_octet[b] | third_octet[c] | last_octet[d]
        a, b, c, d = last.split(".")
        high = first_octet[a] | second_octet[b] | third_octet[c] | last_octet[d]
    except (KeyError, ValueError):
        return None
    return (False, low, high) if low <= high else None


def _read_cidr(line: str) -> _Range | None:
    """A network, or a single address."""
    text, slash, length = line.partition("/")
    found = _number(text.strip())
    if found is None:
        return None
    is_ipv6, address = found
    bits = 128 if is_ipv6 else 32
    length = length.strip() if slash else str(bits)
    if not (length.isascii() and length.isdecimal() and len(length) < 4 and int(length) <= bits):
        return None
    size = 1 << (bits - int(length))
    first = address & -size
    return is_ipv6, first, first + size - 1


def _read_p2p_ipv6(line: str) -> _Range | None:
    """A description before a range of IPv6, which has colons as well; or of IPv4, with blanks."""
    start, dash, last = line.rpartition("-")
    start = start[-_LONGEST_START:]
    while dash and ":" in start:
        start = start.partition(":")[2]
        found = _range(start.strip(), last.strip())
        if found is not None:
            return found
    return None


def _range(first: str, last: str) -> _Range | None:
    """The range from one address to another of the same family."""
    low, high = _number(first), _number(last)
    if low is None or high is None or low[0] != high[0] or low > high:
        return None
    return low[0], low[1], high[1]


def _number(text: str) -> tuple[bool, int] | None:
    """Whether an address is of IPv6, and its number."""
    is_ipv6 = ":" in text
    try:
        return is_ipv6, int.from_bytes(inet_pton(AF_INET6 if is_ipv6 else AF_INET, text), "big")
    except (OSError, ValueError):
        return None
