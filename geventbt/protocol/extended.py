"""The extended handshake (BEP 10): validated decoding of an untrusted one, and encoding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt import bencoding
from geventbt.errors import BencodeError, LocalProtocolError
from geventbt.protocol.messages import Buffer

ExtendedHandshake = dict[str, Any]
"""Fields by the names of BEP 10: `m` (extension names to ids), `v`, `p`, `reqq`, `yourip`, `metadata_size` ..."""

_MAX_NAME = 64
_MAX_VALUE = 1024


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace")[:200] if isinstance(value, bytes) else None


def _number(low: int, high: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        return value if isinstance(value, int) and low <= value <= high else None

    return read


def _packed(*lengths: int) -> Callable[[Any], bytes | None]:
    def read(value: Any) -> bytes | None:
        return value if isinstance(value, bytes) and len(value) in lengths else None

    return read


def _mapping(value: Any) -> dict[str, int] | None:
    """Read `m`: extension names to the ids of their messages; 0 switches an extension off."""
    if not isinstance(value, dict):
        return None
    return {
        name.decode("utf-8", "replace"): number
        for name, number in value.items()
        if len(name) <= _MAX_NAME and isinstance(number, int) and 0 <= number <= 255
    }


_READERS: dict[bytes, Callable[[Any], Any]] = {
    b"m": _mapping,
    b"v": _text,
    b"p": _number(1, 65535),
    b"reqq": _number(1, 1_000_000),
    b"yourip": _packed(4, 16),
    b"ipv4": _packed(4),
    b"ipv6": _packed(16),
    b"metadata_size": _number(1, 1 << 31),
    b"upload_only": _number(0, 1),
    b"complete_ago": _number(-1, 1 << 31),
}


def read_extended_handshake(payload: Buffer) -> ExtendedHandshake:
    """Decode an extended handshake (BEP 10).

    Returns:
        The keys of BEP 10 and its kin whose values are of the right type and range, and of other keys the numbers and
        the strings of at most 1 KiB. A key with a senseless value is left out: wrong advice is ignored. So is all of a
        handshake that is not a bencoded dictionary, or one over the limits, and bytes behind the dictionary.
    """
    try:
        decoded, _ = bencoding.decode_prefix(payload)
    except BencodeError:
        return {}
    if not isinstance(decoded, dict):
        return {}
    result: ExtendedHandshake = {}
    for key, value in decoded.items():
        reader = _READERS.get(key)
        name = key.decode("utf-8", "replace")
        if reader:
            value = reader(value)
            if value is not None:
                result[name] = value
        elif len(name) <= _MAX_NAME and name.isprintable() and _is_small(value):
            result[name] = value
    return result


def _is_small(value: Any) -> bool:
    return isinstance(value, int) or (isinstance(value, bytes) and len(value) <= _MAX_VALUE)


def write_extended_handshake(handshake: ExtendedHandshake) -> bytes:
    """The bencoded payload of an extended handshake (BEP 10).

    Raises:
        LocalProtocolError: a value cannot be bencoded.
    """
    try:
        return bencoding.encode(handshake)
    except (TypeError, UnicodeError) as error:
        raise LocalProtocolError(f"the extended handshake cannot be sent: {error}") from error
