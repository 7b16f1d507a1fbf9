"""The allowed-fast set, against the vectors of BEP 6."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.protocol.fast import allowed_fast_set

INFO_HASH = b"\xaa" * 20
SEVEN = [1059, 431, 808, 1217, 287, 376, 1188]


def test_bep_6_vector_of_seven():
    assert allowed_fast_set("80.4.4.200", INFO_HASH, 1313, 7) == SEVEN


def test_bep_6_vector_of_nine_adds_two():
    assert allowed_fast_set("80.4.4.200", INFO_HASH, 1313, 9) == [*SEVEN, 353, 508]


def test_ten_are_granted_by_default():
    granted = allowed_fast_set("80.4.4.200", INFO_HASH, 1313)
    assert len(granted) == len(set(granted)) == limits.ALLOWED_FAST_SENT == 10
    assert granted[:9] == [*SEVEN, 353, 508]


def test_the_last_byte_of_an_ipv4_address_does_not_count():
    assert allowed_fast_set("80.4.4.1", INFO_HASH, 1313, 7) == SEVEN
    assert allowed_fast_set("80.4.5.200", INFO_HASH, 1313, 7) != SEVEN


def test_an_ipv4_address_mapped_into_ipv6_is_the_ipv4_address():
    assert allowed_fast_set("::ffff:80.4.4.200", INFO_HASH, 1313, 7) == SEVEN


def test_of_an_ipv6_address_the_network_counts_and_the_host_does_not():
    first = allowed_fast_set("2001:db8:1:2::1", INFO_HASH, 1313, 7)
    assert first == allowed_fast_set("2001:db8:1:2:ffff::2", INFO_HASH, 1313, 7)
    assert first != allowed_fast_set("2001:db8:1:3::1", INFO_HASH, 1313, 7)
    assert first == allowed_fast_set("2001:db8:1:2::1%eth0", INFO_HASH, 1313, 7)


@pytest.mark.parametrize("pieces", [1, 2, 9, 10, 11])
def test_a_small_torrent_grants_each_of_its_pieces_once(pieces):
    granted = allowed_fast_set("10.0.0.1", INFO_HASH, pieces)
    assert len(granted) == len(set(granted)) == min(pieces, 10)
    assert all(0 <= piece < pieces for piece in granted)


def test_none_are_granted_where_there_are_none():
    assert allowed_fast_set("10.0.0.1", INFO_HASH, 0) == []
    assert allowed_fast_set("10.0.0.1", INFO_HASH, 100, 0) == []


def test_the_info_hash_counts():
    assert allowed_fast_set("80.4.4.200", b"\xab" * 20, 1313, 7) != SEVEN
