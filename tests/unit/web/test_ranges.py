"""The part of a file that a request asks for."""

from __future__ import annotations

import pytest

from geventbt.web.ranges import Conditions, Part, choose_part

SIZE, ETAG = 1000, '"abc"'


def chosen(range_: str | None = None, *, size: int = SIZE, **conditions: str) -> Part:
    return choose_part(size, ETAG, Conditions(range=range_, **conditions))


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 1000),
        ("bytes=10-19", 10, 20),
        ("bytes=999-", 999, 1000),
        ("bytes=990-5000", 990, 1000),
        ("bytes=-1", 999, 1000),
        ("bytes=-5000", 0, 1000),
        ("Bytes = 10-19", 10, 20),
        ("bytes=, 10-19 ,", 10, 20),
        ("bytes=0-9,10-19", 0, 20),
        ("bytes=5-9,0-7", 0, 10),
        ("bytes=0-9,2000-", 0, 10),
    ],
)
def test_a_range_is_answered_with_its_part(header: str, start: int, stop: int) -> None:
    assert chosen(header) == Part(206, start, stop)


@pytest.mark.parametrize("header", ["bytes=1000-", "bytes=1000-1001", "bytes=-0", "bytes=5000-6000,-0"])
def test_a_range_that_the_file_does_not_have_is_unsatisfiable(header: str) -> None:
    assert chosen(header) == Part(416)


@pytest.mark.parametrize(
    "header",
    [
        "bytes=",
        "bytes=-",
        "bytes=9-5",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=1-2-3",
        "bytes=0x1-0x2",
        "bytes=٣-٤",
        "items=0-5",
        "0-5",
        "bytes=" + "9" * 30 + "-",
        "bytes=0-1," + "5-6," * 100,
    ],
)
def test_what_does_not_follow_the_grammar_is_ignored(header: str) -> None:
    assert chosen(header) == Part(200, 0, SIZE)


def test_several_parts_are_answered_with_the_whole() -> None:
    assert chosen("bytes=0-9,20-29") == Part(200, 0, SIZE)


def test_a_range_counts_for_get_only() -> None:
    assert chosen("bytes=0-9", method="HEAD") == Part(200, 0, SIZE)


def test_an_empty_file_has_no_ranges() -> None:
    assert chosen(size=0) == Part(200, 0, 0)
    assert chosen("bytes=0-", size=0) == Part(416)


def test_a_range_of_another_version_is_answered_with_the_whole() -> None:
    assert chosen("bytes=0-9", if_range=ETAG) == Part(206, 0, 10)
    assert chosen("bytes=0-9", if_range='W/"abc"') == Part(200, 0, SIZE)
    assert chosen("bytes=0-9", if_range="Sat, 28 Nov 2026 10:00:00 GMT") == Part(200, 0, SIZE)


def test_what_the_client_has_is_not_sent_again() -> None:
    assert chosen(if_none_match='"x", "abc"') == Part(304)
    assert chosen(if_none_match='W/"abc"') == Part(304)
    assert chosen(if_none_match='"x"') == Part(200, 0, SIZE)


def test_another_version_than_the_one_that_is_wanted_is_refused() -> None:
    assert chosen(if_match='"x"') == Part(412)
    assert chosen("bytes=0-9", if_match='"x", "abc"') == Part(206, 0, 10)
    assert chosen(if_match="*") == Part(200, 0, SIZE)


def test_a_file_without_a_tag_matches_none() -> None:
    assert choose_part(SIZE, None, Conditions(range="bytes=0-9", if_range='"abc"')) == Part(200, 0, SIZE)
    assert choose_part(SIZE, None, Conditions(range="bytes=0-9")) == Part(206, 0, 10)
