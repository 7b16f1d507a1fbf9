"""The datagrams of local service discovery."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.discovery.local_packets import LocalAnnounce, pack_announce, parse_announce

HASH = bytes(range(20))
GROUP = ("239.192.152.143", 6771)


def test_the_bytes_of_an_announce() -> None:
    assert pack_announce(GROUP, 6881, [HASH], "c0") == (
        b"BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n"
        b"Infohash: 000102030405060708090a0b0c0d0e0f10111213\r\ncookie: c0\r\n\r\n\r\n"
    )
    assert b"\r\nHost: [ff15::efc0:988f]:6771\r\n" in pack_announce(("ff15::efc0:988f", 6771), 1, [HASH], "")


def test_it_is_read_as_it_was_written_and_fits() -> None:
    hashes = tuple(bytes([number]) * 20 for number in range(limits.LSD_INFO_HASHES))
    data = pack_announce(("ff15::efc0:988f", 6771), 65535, hashes, "deadbeef")
    assert len(data) <= limits.LSD_PACKET
    assert parse_announce(data) == LocalAnnounce(65535, hashes, "deadbeef")


def test_names_in_any_case_and_unknown_headers() -> None:
    data = b"BT-SEARCH * HTTP/1.1\r\nX: y\r\nPORT:1\r\nINFOHASH:" + HASH.hex().upper().encode() + b"\r\n\r\n\r\n"
    assert parse_announce(data) == LocalAnnounce(1, (HASH,), "")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
        pack_announce(GROUP, 0, [HASH], ""),
        pack_announce(GROUP, 65536, [HASH], ""),
        pack_announce(GROUP, 1, [], ""),
        pack_announce(GROUP, 1, [b"short"], ""),
        pack_announce(GROUP, 1, [HASH] * 100, ""),
        b"\xff" * 1400,
        b"BT-SEARCH * HTTP/1.1\r\nPort: -1\r\nInfohash: " + b"0" * 40,
    ],
)
def test_what_is_not_an_announce(data: bytes) -> None:
    assert parse_announce(data) is None
