"""The Bloom filter of BEP 33."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from geventbt.discovery.dht.peer_filter import PeerFilter

VECTOR = bytes.fromhex(
    "F6C3F5EAA07FFD91BDE89F777F26FB2BFF37BDB8FB2BBAA2FD3DDDE7BACFFF75EE7CCBAE"
    "FE5EEDB1FBFAFF67F6ABFF5E43DDBCA3FD9B9FFDF4FFD3E9DFF12D1BDF59DB53DBE9FA5B"
    "7FF3B8FDFCDE1AFB8BEDD7BE2F3EE71EBBBFE93BCDEEFE148246C2BC5DBFF7E7EFDCF24F"
    "D8DC7ADFFD8FFFDFDDFFF7A4BBEEDF5CB95CE81FC7FCFF1FF4FFFFDFE5F7FDCBB7FD79B3"
    "FA1FC77BFE07FFF905B7B7FFC7FEFEFFE0B8370BB0CD3F5B7F2BD93FEB4386CFDD6F7FD5"
    "BFAF2E9EBFFFFEECD67ADBF7C67F17EFD5D75EBA6FFEBA7FFF47A91EB1BFBB53E8ABFB57"
    "62ABE8FF237279BFEFBFEEF5FFC5FEBFDFE5ADFFADFEE1FB737FFFFBFD9F6AEFFEEE76B6"
    "FD8F72EF"
)
HOSTS = [f"192.0.2.{n}" for n in range(256)] + [f"2001:db8::{n:x}" for n in range(0x3E8)]


def filter_of(hosts: list[str]) -> PeerFilter:
    made = PeerFilter()
    for host in hosts:
        made.add(ip_address(host).packed)
    return made


def test_the_vector_of_bep_33() -> None:
    assert bytes(filter_of(HOSTS)) == VECTOR
    assert PeerFilter(VECTOR).estimate() == pytest.approx(1224.9308, abs=1e-4)


def test_a_union_is_that_of_the_sets() -> None:
    left, right = filter_of(HOSTS[:300]), filter_of(HOSTS[200:])
    left.merge(right)
    assert bytes(left) == VECTOR


def test_what_was_added_is_in_it() -> None:
    hosts = filter_of(HOSTS[:10])
    assert all(ip_address(host).packed in hosts for host in HOSTS[:10])
    assert b"\x01\x02\x03\x04" not in hosts


def test_an_empty_filter_counts_none() -> None:
    assert PeerFilter().estimate() == 0


def test_a_full_filter_gives_a_finite_estimate() -> None:
    assert 7000 < PeerFilter(b"\xff" * 256).estimate() < 8000


@pytest.mark.parametrize("length", [0, 1, 255, 257])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="256"):
        PeerFilter(bytes(length))
