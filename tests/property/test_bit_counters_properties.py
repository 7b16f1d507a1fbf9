"""`BitCounters` against a list of numbers."""

from __future__ import annotations

import pytest
from bitarray import bitarray
from hypothesis import given
from hypothesis import strategies as st

from geventbt.client.pieces.bit_counters import BitCounters

SIZE = 9
_mask = st.integers(0, 2**SIZE - 1).map(lambda number: bitarray(f"{number:0{SIZE}b}", endian="big"))
_step = st.tuples(st.sampled_from(["add", "subtract"]), _mask) | st.tuples(
    st.sampled_from(["increment", "decrement", "set"]), st.integers(0, SIZE - 1)
)


def count(steps):
    """The same operations on counters and on a list."""
    counters, numbers = BitCounters(SIZE), [0] * SIZE
    for kind, what in steps:
        if kind == "add":
            counters.add(what)
            numbers = [number + bit for number, bit in zip(numbers, what, strict=True)]
        elif kind == "subtract":
            what = what & bitarray([number > 0 for number in numbers], endian="big")
            counters.subtract(what)
            numbers = [number - bit for number, bit in zip(numbers, what, strict=True)]
        elif kind == "increment":
            counters.increment(what)
            numbers[what] += 1
        elif kind == "decrement" and numbers[what]:
            counters.decrement(what)
            numbers[what] -= 1
        elif kind == "set":
            counters[what] = numbers[what] = 2 * what
    return counters, numbers


@given(st.lists(_step, max_size=30))
def test_counters_count_as_numbers_do(steps):
    counters, numbers = count(steps)
    assert [counters[index] for index in range(SIZE)] == numbers


@given(st.lists(_step, max_size=30), _mask.filter(lambda mask: mask.any()))
def test_the_lowest_are_found_among_any(steps, among):
    counters, numbers = count(steps)
    before = among.copy()
    found, value = counters.lowest(among)
    assert value == min(numbers[index] for index in range(SIZE) if among[index])
    assert list(found) == [bool(among[index]) and numbers[index] == value for index in range(SIZE)]
    assert among == before


@pytest.mark.parametrize("peers", [1, 2, 255, 256])
def test_the_masks_given_are_not_changed(peers):
    mask = bitarray("101010101", endian="big")
    counters = BitCounters(SIZE)
    for _ in range(peers):
        counters.add(mask)
    assert (counters[0], counters[1]) == (peers, 0)
    for _ in range(peers):
        counters.subtract(mask)
    assert mask == bitarray("101010101")
    assert counters[0] == 0
