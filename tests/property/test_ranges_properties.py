"""Ranges, against a naive model that marks bytes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt.web.ranges import Conditions, choose_part

NUMBERS = st.integers(0, 40)
SPECS = st.one_of(
    st.tuples(NUMBERS, st.none()),
    st.tuples(st.none(), NUMBERS),
    st.tuples(NUMBERS, NUMBERS).map(lambda pair: (min(pair), max(pair))),
)


def bytes_of(spec: tuple[int | None, int | None], size: int) -> set[int]:
    first, last = spec
    if first is None:
        return set(range(size)[size - min(last or 0, size) :])
    return {number for number in range(size) if first <= number and (last is None or number <= last)}


@given(st.integers(0, 30), st.lists(SPECS, min_size=1, max_size=4))
def test_ranges_are_the_bytes_that_they_name(size: int, specs: list[tuple[int | None, int | None]]) -> None:
    header = "bytes=" + ",".join(f"{'' if a is None else a}-{'' if b is None else b}" for a, b in specs)
    part = choose_part(size, None, Conditions(range=header))
    named = set().union(*(bytes_of(spec, size) for spec in specs))
    is_one = bool(named) and len(named) == max(named) - min(named) + 1
    if not named:
        assert part.status == 416
    elif is_one:
        assert part.status == 206
        assert set(range(part.start, part.stop)) == named
    else:
        assert (part.status, part.start, part.stop) == (200, 0, size)


@given(st.text(max_size=30), st.integers(0, 100))
def test_any_header_gives_a_part_of_the_file(text: str, size: int) -> None:
    for header in (text, f"bytes={text}"):
        part = choose_part(size, None, Conditions(range=header))
        assert part.status in (200, 206, 416)
        assert 0 <= part.start <= part.stop <= size
