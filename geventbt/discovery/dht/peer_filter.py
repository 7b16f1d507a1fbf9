"""The Bloom filter by which nodes count the peers of a torrent together (BEP 33). Pure."""

from __future__ import annotations

from hashlib import sha1
from math import log

_BYTES = 256
_BITS = 8 * _BYTES
_HASHES = 2


class PeerFilter:
    """A set of IP addresses, of which only the size can be estimated; 256 bytes.

    Args:
        data: the filter as a node has sent it; None for an empty one.

    Raises:
        ValueError: for data that is not 256 bytes.
    """

    __slots__ = ("_bits",)

    def __init__(self, data: bytes | None = None) -> None:
        if data is not None and len(data) != _BYTES:
            raise ValueError(f"a filter of {len(data)} bytes: must be {_BYTES}")
        self._bits = int.from_bytes(data or b"", "little")

    def add(self, packed_host: bytes) -> None:
        """Add an IP address, given as its 4 or 16 bytes."""
        digest = sha1(packed_host).digest()
        for at in range(0, 2 * _HASHES, 2):
            self._bits |= 1 << int.from_bytes(digest[at : at + 2], "little") % _BITS

    def __contains__(self, packed_host: bytes) -> bool:
        other = PeerFilter()
        other.add(packed_host)
        return other._bits & self._bits == other._bits

    def merge(self, other: PeerFilter) -> None:
        """Add all that is in another one."""
        self._bits |= other._bits

    def estimate(self) -> float:
        """How many addresses are in it, about; of little use beyond 6,000."""
        if not self._bits:
            return 0.0
        zeros = min(_BITS - 1, _BITS - self._bits.bit_count())
        return log(max(zeros, 1) / _BITS) / (_HASHES * log(1 - 1 / _BITS))

    def __bytes__(self) -> bytes:
        return self._bits.to_bytes(_BYTES, "little")
