"""Questions to name servers and their answers, as bytes (RFC 1035): the IP addresses of a name. Pure.

::

    we      id (2), 0x0100, 1 question, 0, 0, 0 (2 each); name, type (2), 1
    server  id, flags, number of questions, answers, and 2 others (2 each); the question;
            answers: name, type (2), 1, seconds to keep it (4), length (2), data

A name is labels behind their lengths, then 0; or in the place of its end 0xC0, and where the rest of it is. Types are 1
for an IPv4 address, 28 for one of IPv6, and 5 for another name, which has the addresses.
"""

from __future__ import annotations

import struct
from ipaddress import ip_address

from geventbt.errors import FetchError

IPV4, IPV6 = 1, 28
"""The types of questions."""

_ALIAS = 5
_SIZES = {IPV4: 4, IPV6: 16}
_INTERNET = 1
_HEADER = struct.Struct("!6H")
_QUESTION = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_RECURSE, _IS_ANSWER, _STATUS = 0x0100, 0x8000, 0x000F
_NO_SUCH_NAME = 3
_POINTER = 0xC0
_MAX_NAME = 255


class ServerFailed(Exception):
    """A name server cannot say; another one may."""


def pack_query(query_id: int, name: str, kind: int) -> bytes:
    """Ask for addresses.

    Args:
        query_id: 16 random bits, which the answer repeats.
        name: the name of a host, in ASCII.
        kind: `IPV4` or `IPV6`.
    """
    labels = name.rstrip(".").encode("ascii").split(b".")
    packed = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(query_id, _RECURSE, 1, 0, 0, 0) + packed + _QUESTION.pack(kind, _INTERNET)


def parse_answer(data: bytes, query_id: int, name: str, kind: int) -> list[str] | None:
    """The addresses in the answer to a query; None if it is not the answer to this one.

    Raises:
        FetchError: there is no such name.
        ServerFailed: the server cannot say.
    """
    if len(data) < _HEADER.size:
        return None
    found_id, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if found_id != query_id or not flags & _IS_ANSWER:
        return None
    try:
        asked, at = _name(data, _HEADER.size)
        if questions != 1 or asked != _key(name) or _QUESTION.unpack_from(data, at) != (kind, _INTERNET):
            return None
        if flags & _STATUS == _NO_SUCH_NAME:
            raise FetchError(f"{name}: there is no such name")
        if flags & _STATUS:
            raise ServerFailed(f"error {flags & _STATUS}")
        return _addresses(data, at + _QUESTION.size, answers, asked, kind)
    except (struct.error, IndexError, ValueError):
        # Cut off, or nonsense.
        raise ServerFailed("an answer that cannot be read") from None


def _addresses(data: bytes, at: int, answers: int, name: bytes, kind: int) -> list[str]:
    """The addresses of a name and of those that it stands for; of an answer that is cut off, those that are there."""
    names, found = {name}, []
    for _ in range(answers):
        if at >= len(data):
            break
        owner, at = _name(data, at)
        found_kind, network, _, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        if owner in names and network == _INTERNET:
            if found_kind == _ALIAS:
                names.add(_name(data, at)[0])
            elif found_kind == kind and length == _SIZES[kind]:
                found.append(str(ip_address(data[at : at + length])))
        at += length
    return found


def _name(data: bytes, at: int) -> tuple[bytes, int]:
    """A name in lower case, and where what follows it begins.

    Raises:
        IndexError, ValueError: it is not one.
    """
    labels: list[bytes] = []
    end, size = -1, 0
    while length := data[at]:
        if length >= _POINTER:
            target = (length - _POINTER) << 8 | data[at + 1]
            if target >= at:
                # Only back, so that there is an end.
                raise ValueError("a pointer that leads on")
            end = at + 2 if end < 0 else end
            at = target
            continue
        size += length + 1
        if size > _MAX_NAME or length >= _POINTER >> 1:
            raise ValueError("a name that is too long")
        labels.append(data[at + 1 : at + 1 + length].lower())
        at += length + 1
    return b".".join(labels), at + 1 if end < 0 else end


def _key(name: str) -> bytes:
    return name.rstrip(".").lower().encode("ascii")
