"""The allowed-fast set of the fast extension (BEP 6)."""

from __future__ import annotations

import hashlib
from ipaddress import IPv4Address, IPv6Address, ip_address

from geventbt import limits
from geventbt.arguments import check_bytes, check_counts


def allowed_fast_set(address: str, info_hash: bytes, pieces: int, count: int = limits.ALLOWED_FAST_SENT) -> list[int]:
    """The pieces that a peer may request while choked, computed from its address so that it cannot choose them (BEP 6).

    Args:
        address: the peer's IP address. Of IPv4 the first three bytes count, as BEP 6 says; of IPv6, which it does
            not mention, the first eight.
        info_hash: 20 bytes.
        pieces: the number of pieces in the torrent.
        count: how many to choose; all of them in a torrent with fewer.

    Returns:
        `count` distinct piece indices, in the order in which the BEP generates them.

    Raises:
        ValueError: `address` is not an IP address.
    """
    check_bytes(info_hash=info_hash)
    check_counts(pieces=pieces, count=count)
    count = min(count, pieces)
    chosen: list[int] = []
    x = _masked(ip_address(address)) + info_hash
    while len(chosen) < count:
        x = hashlib.sha1(x).digest()
        for i in range(0, 20, 4):
            index = int.from_bytes(x[i : i + 4], "big") % pieces
            if index not in chosen and len(chosen) < count:
                chosen.append(index)
    return chosen


def _masked(address: IPv4Address | IPv6Address) -> bytes:
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if isinstance(address, IPv4Address):
        return address.packed[:3] + b"\0"
    return address.packed[:8] + bytes(8)
