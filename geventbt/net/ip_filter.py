"""`IPFilter`: ranges of IP addresses that are not to be connected to, accepted or asked."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Protocol

_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address mapped into IPv6 begins with."""


_IPV4_END = 1 << 32
_GROUP_BITS = 16


class HostFilter(Protocol):
    """Says which hosts are left alone."""

    def blocks(self, host: str) -> bool:
        """Whether nothing is to be exchanged with a host."""


class IPFilter:
    """Ranges of addresses, which never change: a newer filter takes the place of the whole one.

    They are kept as the addresses where being blocked begins and ends, in turns: an address is blocked if an odd number
    of them is not above it.

    Args:
        ipv4, ipv6: (first, last) of each range as numbers, both included, in any order and overlapping as they like.
    """

    def __init__(self, ipv4: Iterable[tuple[int, int]] = (), ipv6: Iterable[tuple[int, int]] = ()) -> None:
        bounds = _bounds(ipv4)
        if bounds and bounds[-1] >= _IPV4_END:
            # Being blocked does not end.
            bounds.pop()
        # *Measured*, a million ranges: a look takes 0.7 us, without the index 1.3, and 2.5 in a list, of which more is
        # outside the cache of the processor.
        self._bounds = array("I", bounds)
        self._index = _index(self._bounds)
        self._bounds_ipv6 = _bounds(ipv6)

    def __len__(self) -> int:
        """The number of separate ranges."""
        return (len(self._bounds) + 1) // 2 + len(self._bounds_ipv6) // 2

    def blocks(self, host: str) -> bool:
        """Whether an IP address is in one of the ranges. A name is in none.

        Args:
            host: an IP address; one mapped into IPv6 is the IPv4 one that it carries.
        """
        try:
            packed = inet_pton(AF_INET, host)
        except (OSError, ValueError):
            return self._blocks_ipv6(host)
        return self._blocks_ipv4(int.from_bytes(packed, "big"))

    def _blocks_ipv4(self, address: int) -> bool:
        group = address >> _GROUP_BITS
        at = bisect_right(self._bounds, address, self._index[group], self._index[group + 1])
        return at & 1 == 1

    def _blocks_ipv6(self, host: str) -> bool:
        try:
            packed = inet_pton(AF_INET6, host.partition("%")[0])
        except (OSError, ValueError):
            return False
        if packed.startswith(_MAPPED):
            return self._blocks_ipv4(int.from_bytes(packed[len(_MAPPED) :], "big"))
        return bisect_right(self._bounds_ipv6, int.from_bytes(packed, "big")) & 1 == 1


def _bounds(ranges: Iterable[tuple[int, int]]) -> list[int]:
    """The first address of each range, and the one after its last, in ascending order. Those that touch become one."""
    bounds: list[int] = []
    end = -1
    for first, last in sorted(ranges):
        if first > end:
            end = last + 1
            bounds += (first, end)
        elif last >= end:
            bounds[-1] = end = last + 1
    return bounds


def _index(bounds: Sequence[int]) -> array[int]:
    """Where the bounds of each group of IPv4 addresses with the same first half begin, and end with the next."""
    index = array("I", [0])
    for group in range(1, 1 << _GROUP_BITS):
        index.append(bisect_left(bounds, group << _GROUP_BITS, index[-1]))
    index.append(len(bounds))
    return index


NO_FILTER = IPFilter()
"""Blocks nothing."""
