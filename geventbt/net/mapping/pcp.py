"""PCP as bytes: the request MAP, and what routers announce (RFC 6887). Pure.

::

    we      2, 1, 0 0, lifetime (4), our address (16)
            nonce (12), 6 TCP or 17 UDP, 0 0 0, internal port, external port, external address (16)
    router  2, 129, 0, result, lifetime (4), seconds since it started (4), 0 (12)
            nonce (12), 6 or 17, 0 0 0, internal port, external port, external address (16)

    router  2, 128, 0, 0, 0 (4), seconds since it started (4), 0 (12)           to all, after it has started

IPv4 addresses are mapped into IPv6. A lifetime of 0 removes the mapping with that nonce. Over IPv6 a mapping is a way
through the router's firewall, to an address and port that stay as they are.
"""

from __future__ import annotations

import struct
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from geventbt.net.mapping.base import MappingFailed, Transport

VERSION = 2
NONCE = 12
_ANNOUNCE, _MAP, _ANSWER = 0, 1, 0x80
_UNSUPPORTED_VERSION = 1
_PROTOCOLS: dict[Transport, int] = {"tcp": 6, "udp": 17}
_REQUEST = struct.Struct("!BBHI16s")
_HEADER = struct.Struct("!BBBBII12x")
_BODY = struct.Struct("!12sB3xHH16s")
_RESULTS = {
    2: "it is not allowed",
    3: "it does not understand the request",
    4: "it does not know this request",
    7: "it has no address itself",
    8: "it has no ports left",
    9: "it does not know this protocol",
    10: "this machine has no ports left",
    11: "it cannot give this port",
    12: "there is another router between",
}


class VersionRefused(MappingFailed):
    """The router knows another version, such as NAT-PMP."""


class Mapped(NamedTuple):
    """A mapping as the router gives it."""

    external_host: str
    external_port: int
    lifetime: int


def pack_map_request(
    nonce: bytes, transport: Transport, port: int, external_port: int, lifetime: int, own_host: str
) -> bytes:
    """Ask for a mapping; with a lifetime of 0, to remove it.

    Args:
        nonce: 12 random bytes, the same for all requests for this mapping.
        transport: "tcp" or "udp".
        port: ours.
        external_port: the one that is wanted.
        lifetime: seconds.
        own_host: our IP address, as the router is to see it.
    """
    own = _mapped(own_host)
    any_host = "::" if ":" in own_host else "0.0.0.0"
    body = _BODY.pack(nonce, _PROTOCOLS[transport], port, external_port, _mapped(any_host))
    return _REQUEST.pack(VERSION, _MAP, 0, lifetime, own) + body


def parse_mapped(data: bytes, nonce: bytes, transport: Transport, port: int) -> Mapped | None:
    """The mapping in an answer; None if it is not the answer to the request with this nonce.

    Raises:
        VersionRefused: the router knows another version.
        MappingFailed: it refuses.
    """
    if len(data) < 4:
        return None
    if data[0] != VERSION:
        # A router of NAT-PMP alone answers in its version, 0, with an error.
        if data[0] == 0 and data[1] & _ANSWER:
            raise VersionRefused("it does not know PCP")
        return None
    if len(data) < _HEADER.size:
        return None
    _, opcode, _, result, lifetime, _ = _HEADER.unpack_from(data)
    if opcode != _ANSWER + _MAP:
        return None
    if result == _UNSUPPORTED_VERSION:
        raise VersionRefused("it knows another version of PCP")
    if len(data) < _HEADER.size + _BODY.size:
        return None
    found, protocol, internal, external, host = _BODY.unpack_from(data, _HEADER.size)
    if (found, protocol, internal) != (nonce, _PROTOCOLS[transport], port):
        return None
    if result:
        raise MappingFailed(_RESULTS.get(result, f"error {result}"))
    address = IPv6Address(host)
    return Mapped(str(address.ipv4_mapped or address), external, lifetime)


def parse_announcement(data: bytes) -> int | None:
    """The seconds since the router started, where it says so by itself; None for anything else."""
    if len(data) < _HEADER.size:
        return None
    version, opcode, _, result, _, seconds = _HEADER.unpack_from(data)
    is_announcement = (version, opcode, result) == (VERSION, _ANSWER + _ANNOUNCE, 0)
    return int(seconds) if is_announcement else None


def _mapped(host: str) -> bytes:
    packed = ip_address(host).packed
    return packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed
