"""Node ids: the distance between them, random ones, and ids that fit the address of their node (BEP 5, 42). Pure."""

from __future__ import annotations

import random
from functools import lru_cache

from geventbt.discovery.dht.contacts import ID_LENGTH, host_of

BITS = 8 * ID_LENGTH

_MASKS = {4: bytes((0x03, 0x0F, 0x3F, 0xFF)), 16: bytes((0x01, 0x03, 0x07, 0x0F, 0x1F, 0x3F, 0x7F, 0xFF))}
_CASTAGNOLI = 0x82F63B78
_CHECKED_BITS = 21


def number_of(node_id: bytes) -> int:
    """An id as a number. The distance of two ids is the exclusive or of their numbers (BEP 5)."""
    return int.from_bytes(node_id, "big")


def shared_bits(left: bytes, right: bytes) -> int:
    """How many bits two ids have in common at their beginning."""
    return BITS - (number_of(left) ^ number_of(right)).bit_length()


def random_id(rng: random.Random) -> bytes:
    """Any id, as likely as any other."""
    return rng.getrandbits(BITS).to_bytes(ID_LENGTH, "big")


def random_id_near(node_id: bytes, bits: int, rng: random.Random) -> bytes:
    """A random id that has exactly the first `bits` bits in common with another."""
    below = BITS - bits - 1
    number = (number_of(node_id) >> below ^ 1) << below | (rng.getrandbits(below) if below else 0)
    return number.to_bytes(ID_LENGTH, "big")


def secure_id(host: str, rng: random.Random) -> bytes:
    """A random id that fits the IP address of its node (BEP 42).

    The first 21 bits are those of the CRC-32C of the masked address, with three bits of the last byte mixed in.
    """
    last = rng.getrandbits(8)
    prefix = _prefix(host, last & 7)
    number = rng.getrandbits(BITS)
    number = prefix << BITS - _CHECKED_BITS | number & (1 << BITS - _CHECKED_BITS) - 1
    return (number & ~0xFF | last).to_bytes(ID_LENGTH, "big")


def is_secure(node_id: bytes, host: str) -> bool:
    """Whether an id fits the IP address of its node, or need not because that is a local one (BEP 42)."""
    if not host_of(host).is_global:
        return True
    return int.from_bytes(node_id[:3], "big") >> 24 - _CHECKED_BITS == _prefix(host, node_id[-1] & 7)


@lru_cache(maxsize=8192)
def _prefix(host: str, salt: int) -> int:
    packed = host_of(host).packed
    # Of an IPv6 address only the network counts, the first half.
    masked = bytearray(byte & mask for byte, mask in zip(packed, _MASKS[len(packed)], strict=False))
    masked[0] |= salt << 5
    return crc32c(masked) >> 32 - _CHECKED_BITS


def crc32c(data: bytes | bytearray) -> int:
    """The CRC-32C (Castagnoli) of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _table_entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_CASTAGNOLI if byte & 1 else 0)
    return byte


_TABLE = [_table_entry(byte) for byte in range(256)]
