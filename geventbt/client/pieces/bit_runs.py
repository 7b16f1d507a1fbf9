"""Runs of set bits in a bitfield, found by whole-bitfield operations: microseconds even for 100,000 bits."""

from __future__ import annotations

from bitarray import bitarray


def longest_run(bits: bitarray) -> range:
    """The longest run of set bits, the first one among equals; empty if no bit is set.

    A bit of `starts` says that `length` set bits begin there. The length is doubled as long as any run has it, and then
    as much of each smaller power of two is added as some run still has.
    """
    if not bits.any():
        return range(0)
    powers = [bits]
    while (wider := powers[-1] & (powers[-1] << (1 << len(powers) - 1))).any():
        powers.append(wider)
    starts, length = powers.pop(), 1 << len(powers)
    while powers:
        starts_of_power = powers.pop()
        longer = starts & (starts_of_power << length)
        if longer.any():
            starts, length = longer, length + (1 << len(powers))
    first = starts.find(1)
    return range(first, first + length)
