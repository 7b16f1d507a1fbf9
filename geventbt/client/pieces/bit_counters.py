"""A small counter for each piece, stored so that adding a bitfield and finding the minimum take microseconds.

They are stored as bit planes: plane 0 holds the lowest bit of every counter, plane 1 the next, and so on. To add a
peer's bitfield is then a binary addition with carry, a few `bitarray` operations for all pieces together. To find the
pieces with the lowest counter is to go through the planes from the highest, each time keeping those with a 0 if there
are any. Both take one step for each plane: eight for numbers up to 255.
"""

from __future__ import annotations

from bitarray import bitarray
from bitarray.util import zeros


class BitCounters:
    """A fixed number of counters, initially 0 and never negative.

    Args:
        size: their number. Every mask must have as many bits, and be big-endian.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._planes: list[bitarray] = []

    def __getitem__(self, index: int) -> int:
        value = 0
        weight = 1
        for plane in self._planes:
            if plane[index]:
                value += weight
            weight += weight
        return value

    def __setitem__(self, index: int, value: int) -> None:
        while value >> len(self._planes):
            self._planes.append(zeros(self._size, "big"))
        for weight, plane in enumerate(self._planes):
            plane[index] = value >> weight & 1

    def add(self, mask: bitarray) -> None:
        """Add 1 to every counter whose bit is set."""
        carry = mask.copy()
        for plane in self._planes:
            onward = carry & plane
            plane ^= carry
            carry = onward
            if not carry.any():
                return
        if carry.any():
            self._planes.append(carry)

    def subtract(self, mask: bitarray) -> None:
        """Subtract 1 from every counter whose bit is set. None of them may be 0."""
        borrow = mask.copy()
        for plane in self._planes:
            plane ^= borrow
            borrow &= plane
            if not borrow.any():
                return

    def increment(self, index: int) -> None:
        """Add 1 to one counter."""
        for plane in self._planes:
            if not plane[index]:
                plane[index] = 1
                return
            plane[index] = 0
        plane = zeros(self._size, "big")
        plane[index] = 1
        self._planes.append(plane)

    def decrement(self, index: int) -> None:
        """Subtract 1 from one counter, which must not be 0."""
        for plane in self._planes:
            if plane[index]:
                plane[index] = 0
                return
            plane[index] = 1

    def lowest(self, among: bitarray) -> tuple[bitarray, int]:
        """Those with the lowest counter among the set bits of a mask, which must have one; and that counter."""
        value = 0
        for weight in range(len(self._planes) - 1, -1, -1):
            ones = among & self._planes[weight]
            without = among ^ ones
            if without.any():
                among = without
            else:
                value += 1 << weight
        return among, value
