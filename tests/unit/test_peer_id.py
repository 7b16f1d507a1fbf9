"""Peer ids: ours, theirs in words, and what users write (BEP 20)."""

from __future__ import annotations

import pytest

from geventbt.peer_id import client_name, hash_or_id, new_peer_id


def test_new_peer_id_is_twenty_bytes_in_azureus_style():
    peer_id = new_peer_id()
    assert len(peer_id) == 20
    assert peer_id.startswith(b"-GB0100-")


def test_new_peer_ids_differ():
    assert len({new_peer_id() for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("peer_id", "name"),
    [
        (b"-LT2110-abcdefghijkl", "libtorrent 2.1.1.0"),
        (b"-lt0D60-abcdefghijkl", "rTorrent 0.13.6.0"),
        (b"-TR3000-abcdefghijkl", "Transmission 3.0.0.0"),
        (b"-qB4650-abcdefghijkl", "qBittorrent 4.6.5.0"),
        (b"-GB0100-abcdefghijkl", "geventbt 0.1.0.0"),
        (b"-YZ12A4-abcdefghijkl", "YZ 1.2.10.4"),
        (b"S58B-----abcdefghijk", "Shadow 5.8.11"),
        (b"T03I--008abcdefghijk", "BitTornado 0.3.18"),
        (b"M7-9-2--abcdefghijkl", "BitTorrent 7.9.2"),
        (b"A2-1-37-0-abcdefghij", "aria2 1.37.0"),
        (b"TIX0269-a1b2c3d4e5f6", "Tixati 2.69"),
        (b"-BW1293-abcdefghijkl", "BitTorrent Web 1.2.9.3"),
        (b"-UT340-\xc7\x9babcdefghijk", "uTorrent 3.4.0"),
        (b"-UT341\0-abcdefghijkl", "uTorrent 3.4.1"),
        (b"-BT791\0-abcdefghijkl", "BitTorrent 7.9.1"),
        (b"-KT300-abcdefghijklm", "KTorrent 3.0.0"),
        (b"-FD51E0-abcdefghijkl", "Free Download Manager 5.1.14.0"),
        (b"-FD6190-abcdefghijkl", "Free Download Manager 6.1.9.0"),
    ],
)
def test_known_clients_are_named(peer_id: bytes, name: str):
    assert client_name(peer_id) == name


@pytest.mark.parametrize(
    ("peer_id", "name"),
    [
        (b"-UW1110Q\xd5\x2eabcdefghij", "uTorrent Web"),
        (b"-BL246326abcdefghijk", "BitLord"),
        (b"-FD51]0-abcdefghijkl", "Free Download Manager"),
        (b"-UT\xff\xfe\0\0-abcdefghijk", "uTorrent"),
        (b"FDM6abcdefghijklmnop", "Free Download Manager 6"),
    ],
)
def test_a_known_client_is_named_although_its_version_is_written_in_another_way(peer_id: bytes, name: str):
    assert client_name(peer_id) == name


@pytest.mark.parametrize(
    "peer_id",
    [
        b"",
        b"\x00" * 20,
        b"\xff" * 20,
        b"\x1b[31mred" + bytes(12),
        b"-\x1b]0110-aaaaaaaaaaaa",
        b"[bold]%s{0}",
        bytes(range(256)),
    ],
)
def test_any_bytes_give_a_name_that_is_safe_to_print(peer_id: bytes):
    name = client_name(peer_id)
    assert name.isascii()
    assert name.isprintable()
    assert not set(name) & set("[]{}%\\<>")
    assert len(name) < 40


def test_an_unknown_client_shows_the_beginning_of_its_id():
    assert client_name(b"hello\x00wo") == "unknown (hello.wo)"


@pytest.mark.parametrize("value", [b"\x00\xab" * 10, "00ab" * 10, "00AB" * 10, bytearray(b"\x00\xab" * 10)])
def test_twenty_bytes_and_forty_hex_characters_are_the_same(value: bytes | str):
    result = hash_or_id(value, "info hash")
    assert result == b"\x00\xab" * 10
    assert type(result) is bytes


@pytest.mark.parametrize(
    "value", [b"", b"a" * 19, b"a" * 40, "a" * 20, "a" * 39, "g" * 40, "ab " * 13 + "a", "", None, 20]
)
def test_anything_else_is_refused_by_name(value: object):
    with pytest.raises(ValueError, match="the info hash must be 20 bytes or 40 hex characters"):
        hash_or_id(value, "info hash")  # type: ignore[arg-type]
