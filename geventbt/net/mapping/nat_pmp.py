"""NAT-PMP as bytes (RFC 6886). Pure.

::

    we      0, 0                                                       what is the external address?
    router  0, 128, result (2), seconds since it started (4), address (4)

    we      0, 1 UDP or 2 TCP, 0 0, internal port, external port, lifetime (4)     a lifetime of 0 removes it
    router  0, 129 or 130, result (2), seconds (4), internal port, external port, lifetime (4)
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import NamedTuple

from geventbt.net.mapping.base import MappingFailed, Transport

PORT = 5351
VERSION = 0
_OPCODES: dict[Transport, int] = {"udp": 1, "tcp": 2}
_ANSWER = 128
_HEADER = struct.Struct("!BBHI")
_ADDRESS = struct.Struct("!4s")
_MAP = struct.Struct("!HHI")
_REQUEST = struct.Struct("!BBHHHI")
_RESULTS = {
    1: "it does not know this version",
    2: "it is not allowed",
    3: "it has no address itself",
    4: "it has no ports left",
    5: "it does not know this request",
}


class Mapped(NamedTuple):
    """A mapping as the router gives it."""

    external_port: int
    lifetime: int


def pack_address_request() -> bytes:
    """Ask for the external address."""
    return bytes([VERSION, 0])


def pack_map_request(transport: Transport, port: int, external_port: int, lifetime: int) -> bytes:
    """Ask for a mapping; with a lifetime of 0, to remove it."""
    return _REQUEST.pack(VERSION, _OPCODES[transport], 0, port, external_port, lifetime)


def parse_address(data: bytes) -> str | None:
    """The external address in an answer; None if it is not the answer to that question.

    Raises:
        MappingFailed: the router refuses.
    """
    body = _body(data, 0, _ADDRESS)
    return None if body is None else str(IPv4Address(body))


def parse_announcement(data: bytes) -> tuple[int, str] | None:
    """What the router says by itself: the seconds since it started, and its external address; None for anything else.

    It is the answer to the question for the address, which was not asked.
    """
    try:
        body = _body(data, 0, _ADDRESS)
    except MappingFailed:
        return None
    return None if body is None else (_HEADER.unpack_from(data)[3], str(IPv4Address(body)))


def parse_mapped(data: bytes, transport: Transport, port: int) -> Mapped | None:
    """The mapping in an answer; None if it is not the answer to the question for this port.

    Raises:
        MappingFailed: the router refuses, or gives nothing.
    """
    body = _body(data, _OPCODES[transport], _MAP)
    if body is None:
        return None
    internal, external, lifetime = _MAP.unpack(body)
    return Mapped(external, lifetime) if internal == port else None


def _body(data: bytes, opcode: int, body: struct.Struct) -> bytes | None:
    """What is behind the header of the answer to a request, if it is one."""
    if len(data) < _HEADER.size:
        return None
    version, answered, result, _ = _HEADER.unpack_from(data)
    if version != VERSION or answered != _ANSWER + opcode:
        return None
    if result:
        raise MappingFailed(_RESULTS.get(result, f"error {result}"))
    found = data[_HEADER.size : _HEADER.size + body.size]
    return found if len(found) == body.size else None
