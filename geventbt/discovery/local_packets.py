"""The datagrams of local service discovery (BEP 14). Pure.

::

    BT-SEARCH * HTTP/1.1
    Host: 239.192.152.143:6771
    Port: 6881
    Infohash: 0123456789abcdef0123456789abcdef01234567
    cookie: 0badcafe

with an empty line or two at the end, and all lines ended by carriage return and line feed. There may be several info
hashes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from geventbt import limits
from geventbt.net.addresses import Address, is_port

_FIRST_LINE = "BT-SEARCH * HTTP/1.1"
_HASH = re.compile(r"[0-9a-fA-F]{40}")
_PORT = re.compile(r"[0-9]{1,5}")


class LocalAnnounce(NamedTuple):
    """What one announces.

    Attributes:
        port: where it takes connections.
        info_hashes: of its torrents, 20 bytes each.
        cookie: marks its own announces; "" if there is none.
    """

    port: int
    info_hashes: tuple[bytes, ...]
    cookie: str


def pack_announce(group: Address, port: int, info_hashes: Sequence[bytes], cookie: str) -> bytes:
    """The datagram of an announce.

    Args:
        group: the multicast group that it is sent to.
        port: where we take connections.
        info_hashes: at most `limits.LSD_INFO_HASHES`, so that it fits into one datagram of 1,400 bytes.
        cookie: ours.
    """
    host = f"[{group[0]}]" if ":" in group[0] else group[0]
    lines = [_FIRST_LINE, f"Host: {host}:{group[1]}", f"Port: {port}"]
    lines += [f"Infohash: {info_hash.hex()}" for info_hash in info_hashes]
    lines += [f"cookie: {cookie}", "", "", ""]
    return "\r\n".join(lines).encode()


def parse_announce(data: bytes) -> LocalAnnounce | None:
    """Read a datagram; None if it is not an announce."""
    if len(data) > limits.LSD_PACKET:
        return None
    first, *lines = data.decode("latin-1").split("\r\n")
    if first != _FIRST_LINE:
        return None
    port, cookie = 0, ""
    info_hashes: list[bytes] = []
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.strip().lower(), value.strip()
        if name == "port" and _PORT.fullmatch(value):
            port = int(value)
        elif name == "infohash" and _HASH.fullmatch(value):
            info_hashes.append(bytes.fromhex(value))
        elif name == "cookie":
            cookie = value
    if not is_port(port) or not info_hashes:
        return None
    return LocalAnnounce(port, tuple(info_hashes), cookie)
