"""`IPFilter`: ranges of IP addresses that are not to be connected to, accepted or asked."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from socket import AF_INET, AF_INET6, inet_pton
from typing import Protocol

_MAPPED = bytes(10) + b"\xff\xff"
"""What an IPv4 address mapped into IPv6 begins with."""


class HostFilter(Protocol):
    """Says which hosts are left alone."""

    def blocks(self, host: str) -> bool:
        """Whether nothing is to be exchanged with a host."""


class IPFilter:
    """Ranges of addresses, which never change: a newer filter takes the place of the whole one.

    Args:
        ipv4, ipv6: (first, last) of each range as numbers, both included, in any order and overlapping as they like.
    """

    def __init__(self, ipv4: Iterable[tuple[int, int]] = (), ipv6: Iterable[tuple[int, int]] = ()) -> None:
        # *Measured*: arrays of 32 bits take a tenth of the memory of lists of numbers.
        firsts, lasts = _merged(ipv4)
        self._firsts, self._lasts = array("I", firsts), array("I", lasts)
        self._firsts_6, self._lasts_6 = _merged(ipv6)

    def __len__(self) -> int:
        """The number of separate ranges."""
        return len(self._firsts) + len(self._firsts_6)

    def blocks(self, host: str) -> bool:
        """Whether an IP address is in one of the ranges. A name is in none.

        Args:
            host: an IP address; one mapped into IPv6 is the IPv4 one that it carries.
        """
        try:
            address = int.from_bytes(inet_pton(AF_INET, host), "big")
        except (OSError, ValueError):
            return self._blocks_ipv6(host)
        return _contains(self._firsts, self._lasts, address)

    def _blocks_ipv6(self, host: str) -> bool:
        try:
            packed = inet_pton(AF_INET6, host.partition("%")[0])
        except (OSError, ValueError):
            return False
        if packed.startswith(_MAPPED):
            return _contains(self._firsts, self._lasts, int.from_bytes(packed[len(_MAPPED) :], "big"))
        return bool(self._firsts_6) and _contains(self._firsts_6, self._lasts_6, int.from_bytes(packed, "big"))


def _contains(firsts: Sequence[int], lasts: Sequence[int], address: int) -> bool:
    at = bisect_right(firsts, address) - 1
    return at >= 0 and address <= lasts[at]


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """The firsts and lasts of ranges in ascending order, those that touch or overlap made one."""
    firsts: list[int] = []
    lasts: list[int] = []
    end = -2
    for first, last in sorted(ranges):
        if first <= end + 1 and firsts:
            if last > end:
                lasts[-1] = end = last
        else:
            firsts.append(first)
            lasts.append(last)
            end = last
    return firsts, lasts


NO_FILTER = IPFilter()
"""Blocks nothing."""
