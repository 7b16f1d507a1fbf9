"""Node ids: their distance, and that they fit their address (BEP 42)."""

from __future__ import annotations

import random

import pytest

from geventbt.discovery.dht.node_id import crc32c, is_secure, random_id_near, secure_id, shared_bits

VECTORS = [
    ("124.31.75.21", 1, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
    ("21.75.31.124", 86, "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
    ("65.23.51.170", 22, "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
    ("84.124.73.14", 65, "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
    ("43.213.53.83", 90, "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
]
"""Of BEP 42."""


@pytest.mark.parametrize(("host", "last", "node_id"), VECTORS)
def test_the_vectors_of_bep_42_fit(host: str, last: int, node_id: str) -> None:
    assert bytes.fromhex(node_id)[-1] == last
    assert is_secure(bytes.fromhex(node_id), host)


@pytest.mark.parametrize(("host", "last", "node_id"), VECTORS)
def test_another_prefix_or_salt_does_not_fit(host: str, last: int, node_id: str) -> None:
    fitting = bytes.fromhex(node_id)
    for bit in range(21):
        wrong = int.from_bytes(fitting, "big") ^ 1 << 159 - bit
        assert not is_secure(wrong.to_bytes(20, "big"), host)
    assert not is_secure(fitting[:-1] + bytes([last ^ 1]), host)


@pytest.mark.parametrize("host", ["8.8.8.8", "2001:4860:4860::8888", "212.1.2.3"])
def test_an_id_made_for_a_host_fits_it_and_no_other(host: str) -> None:
    rng = random.Random(1)
    made = {secure_id(host, rng) for _ in range(50)}
    assert len(made) == 50
    assert all(is_secure(node_id, host) for node_id in made)
    assert not all(is_secure(node_id, "9.9.9.9") for node_id in made)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.9", "169.254.1.1", "::1", "fe80::1"]
)
def test_any_id_fits_a_local_address(host: str) -> None:
    assert is_secure(bytes(20), host)


def test_crc32c_of_the_usual_check_text() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("bits", [0, 1, 7, 8, 100, 158, 159])
def test_a_random_id_near_another_shares_exactly_so_many_bits(bits: int) -> None:
    rng = random.Random(bits)
    node_id = rng.randbytes(20)
    assert {shared_bits(node_id, random_id_near(node_id, bits, rng)) for _ in range(20)} == {bits}


def test_an_id_shares_all_bits_with_itself() -> None:
    assert shared_bits(b"i" * 20, b"i" * 20) == 160
