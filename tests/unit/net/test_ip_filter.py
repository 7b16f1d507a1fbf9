"""Ranges of IP addresses: how they are read, and what is in them."""

from __future__ import annotations

import gzip
import random
from contextlib import suppress
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt import limits
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.net.ip_filter import NO_FILTER, IPFilter
from geventbt.net.ip_ranges import read_ip_filter

RANGE = st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))


@given(st.lists(RANGE), st.integers(0, 64))
def test_an_address_is_blocked_if_and_only_if_it_is_in_a_range(ranges, number):
    expected = any(first <= number <= last for first, last in ranges)
    assert IPFilter(ipv4=ranges).blocks(str(ip_address(number))) == expected
    assert IPFilter(ipv6=ranges).blocks(f"::{number:x}") == expected or number >= 0xFFFF


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda pair: (min(pair), max(pair)))))
def test_the_end_of_the_addresses_and_the_borders_of_groups_are_as_any_other(ranges):
    for top, count in ((1 << 32, 41), (1 << 16, 20)):
        base = top - count
        found = IPFilter([(base + first, min(base + last, (1 << 32) - 1)) for first, last in ranges])
        for number in range(base, min(base + 42, 1 << 32)):
            expected = any(base + first <= number <= base + last for first, last in ranges)
            assert found.blocks(str(ip_address(number))) == expected


@pytest.mark.parametrize("step", [1, 1 << 16])
def test_many_ranges_in_any_order_are_as_those_in_order(step):
    ranges = [(number * step, number * step + 1) for number in range(0, 60_000, 3)] * 2
    shuffled = random.Random(1).sample(ranges, len(ranges))
    found, found_ipv6 = IPFilter(shuffled), IPFilter(ipv6=shuffled)
    assert len(found) == len(found_ipv6) == 20_000
    for number in range(0, 60_000, 7):
        is_blocked = number % 3 < (2 if step == 1 else 1)
        assert found.blocks(str(ip_address(number * step))) == is_blocked
        assert found_ipv6.blocks(str(IPv6Address(number * step))) == is_blocked


def test_ranges_that_touch_are_one():
    assert len(IPFilter([(1, 5), (6, 9), (2, 3), (11, 12)])) == 2


@pytest.mark.parametrize(
    ("line", "inside", "outside"),
    [
        ("Org, the: first-class:1.2.3.0-1.2.3.9", "1.2.3.9", "1.2.3.10"),
        ("1.2.3.0-1.2.3.9\r", "1.2.3.0", "1.2.2.255"),
        ("Org: 1.2.3.0 - 1.2.3.9 ", "1.2.3.4", "1.2.3.10"),
        ("001.002.003.000 - 001.002.003.009 , 000 , Org: 1.2.3.4-5.6.7.8", "1.2.3.9", "5.6.7.8"),
        ("010.000.000.008 - 010.000.000.010 , 127 , Org", "10.0.0.10", "8.0.0.8"),
        (" 10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("10.1.2.3/16", "10.1.0.0", "10.2.0.0"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.4"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::1 - 2001:db8::ff", "2001:db8::80", "2001:db8::100"),
        ("Org: two:2001:db8::1-2001:db8::ff", "2001:db8::ff", "2001:db8::"),
        ("::1", "::1", "127.0.0.1"),
        ("10.0.0.0/8", "::ffff:10.0.0.1", "::ffff:11.0.0.1"),
        ("fe80::/10", "fe80::1%eth0", "example.org"),
    ],
)
def test_a_line_is_read(line, inside, outside):
    found = read_ip_filter([line])
    assert found.blocks(inside)
    assert not found.blocks(outside)


@pytest.mark.parametrize("line", ["# 1.2.3.4", "; comment", "// 1.2.3.4", "", "  ", "1.2.3.0 - 1.2.3.9 , 128 , Org"])
def test_comments_and_what_is_allowed_block_nothing(line):
    assert len(read_ip_filter([line])) == 0


@pytest.mark.parametrize(
    "line",
    [
        "example.org", "1.2.3", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/", "::/129", "1.2.3.9-1.2.3.0",
        "1.2.3.4-::5",
        "Org:1.2.3.4-", "-", ":", "1.2.3.4-1.2.3.5-1.2.3.6", "\u0661.2.3.4", "1.2.3.4/\u0661", "0x1.2.3.4", "1_0.2.3.4",
    ],
)  # fmt: skip
def test_what_is_not_a_range_is_refused(line):
    with pytest.raises(ValueError, match="not a range"):
        read_ip_filter([line])


def test_ranges_may_be_networks_and_pairs():
    found = read_ip_filter([ip_network("10.0.0.0/8"), ("192.168.0.1", "192.168.0.9")])
    assert found.blocks("10.9.9.9")
    assert found.blocks("192.168.0.9")
    assert not found.blocks("192.168.0.10")
    assert read_ip_filter(found) is found


@given(st.text(max_size=60))
def test_no_line_is_anything_but_a_range_or_an_error(line):
    with suppress(ValueError):
        read_ip_filter([line])


def test_a_file_may_be_packed_and_have_lines_that_are_not_ranges(tmp_path: Path, caplog):
    path = tmp_path / "level1.p2p.gz"
    path.write_bytes(gzip.compress(b"# a list\nOrg:1.2.3.0-1.2.3.9\n<html>\nOther:5.6.7.8-5.6.7.9"))
    found = read_ip_filter(path)
    assert found.blocks("5.6.7.9")
    assert len(found) == 2
    assert "1 lines are not ranges and are left out, first line 3: '<html>'" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>\nhello", "has no ranges; line 1: '<html>' is not one"),
        (gzip.compress(b"1.2.3.4\n" * 100, mtime=0)[:-10], "cut off"),
        (b"\x1f\x8bnonsense", "cannot be unpacked"),
        (gzip.compress(b"1.2.3.4\n", mtime=0)[:10] + b"\xff" * 20, "cannot be unpacked"),
        (b"x" * 5000, "has no ranges"),
    ],
)
def test_a_file_that_is_no_filter_is_an_error(tmp_path, data, message):
    path = tmp_path / "list"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_ip_filter(path)


def test_a_line_that_is_too_long_is_judged_by_its_beginning(tmp_path):
    path = tmp_path / "list"
    long = b"x" * limits.IP_FILTER_LINE
    path.write_bytes(b"%b:1.2.3.0-1.2.3.9\nOrg:5.6.7.8-5.6.7.9\n10.0.0.0-10.0.0.9 %b\n" % (long, b" " * len(long)))
    found = read_ip_filter(path)
    assert [found.blocks(host) for host in ("1.2.3.4", "5.6.7.8", "10.0.0.5")] == [False, True, True]


def test_a_long_description_may_stand_before_a_range_of_ipv6():
    assert read_ip_filter(["a:b " * 500 + ": 2001:db8::1 - 2001:db8::5"]).blocks("2001:db8::3")


def test_a_file_is_bounded_as_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "IP_FILTER_BYTES", 1 << 20)
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    with pytest.raises(ValueError, match="more than 1048576 bytes"):
        read_ip_filter(path)


def test_peers_that_are_blocked_are_not_candidates():
    known = KnownPeers(hosts=read_ip_filter(["93.184.216.0/24"]))
    for source in Source:
        assert not known.add(("93.184.216.34", 6881), source, 0.0, reported_by="93.184.217.1")
    assert known.add(("93.184.217.34", 6881), Source.TRACKER, 0.0, reported_by="93.184.217.1")


def test_without_ranges_nothing_is_blocked():
    assert not any(NO_FILTER.blocks(host) for host in ("1.2.3.4", "::1", "name", "", "1.2.3.4\0"))
