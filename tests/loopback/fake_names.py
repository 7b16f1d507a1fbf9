"""A name server on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address

IPV4, ALIAS, IPV6 = 1, 5, 28
ANSWERED, FAILED, NO_SUCH_NAME = 0x8180, 0x8182, 0x8183


def packed(name: str) -> bytes:
    """A name in a packet."""
    return b"".join(bytes([len(label)]) + label for label in name.encode().split(b".")) + b"\0"


def asked(query: bytes) -> tuple[str, int]:
    """The name and type that a query asks for."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), int.from_bytes(query[at + 1 : at + 3], "big")


def record(owner: bytes, kind: int, data: bytes) -> bytes:
    """One answer."""
    return owner + kind.to_bytes(2, "big") + b"\0\1" + bytes(4) + len(data).to_bytes(2, "big") + data


def answer(query: bytes, *records: bytes, flags: int = ANSWERED) -> bytes:
    """The answer to a query."""
    return query[:2] + flags.to_bytes(2, "big") + b"\0\1" + len(records).to_bytes(2, "big") + bytes(4) + (
        query[12:] + b"".join(records)
    )  # fmt: skip


def known(query: bytes, names: Mapping[str, str]) -> list[bytes]:
    """What a server says that knows these names."""
    name, kind = asked(query)
    if name not in names:
        return [answer(query, flags=NO_SUCH_NAME)]
    host = ip_address(names[name])
    is_of_kind = kind == (IPV4 if host.version == 4 else IPV6)
    return [answer(query, record(b"\xc0\x0c", kind, host.packed)) if is_of_kind else answer(query)]
