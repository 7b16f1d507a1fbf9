"""Bounded bencode decoder and encoder (BEP 3): the only place where untrusted bytes are decoded.

What other programs write is read as libtorrent reads it: integers and lengths may have leading zeros, zero may have a
sign, keys may be in any order, and of a key that comes twice the first one counts. An integer of more digits than 64
bits have is read as None, so that it spoils nothing else.

The decoder of bencode.py must not see untrusted bytes: version 4.1 loops for ever on the eleven bytes ``d1:ai1e-6:``
and takes ``i1_000e`` for a number. A scanner that makes its input safe has already found every value, so the scanner
here returns them, and bencode.py writes.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeAlias

import bencodepy

from geventbt import limits
from geventbt.errors import BencodeError

Buffer: TypeAlias = bytes | bytearray | memoryview

_INTEGER = re.compile(rb"i(-?[0-9]+)e")
_LENGTH = re.compile(rb"([0-9]{1,%d}):" % limits.BENCODE_INTEGER_DIGITS)

_PART = 1000
"""Items of a list that are encoded at a time."""
_LIST_START, _DICT_START, _END, _INTEGER_START = b"lde" + b"i"


def decode(data: Buffer, *, max_tokens: int = limits.BENCODE_TOKENS, max_depth: int = limits.BENCODE_DEPTH) -> Any:
    """Decode one value that is all of `data`.

    Args:
        data: the bencoded bytes.
        max_tokens: the maximum number of values, keys included.
        max_depth: the maximum depth of nested lists and dictionaries.

    Returns:
        An int, None (for an integer that is too long), bytes, a list, or a dict with bytes for keys.

    Raises:
        BencodeError: for anything else, within a time that the limits bound.
    """
    data = _as_bytes(data)
    value, end = decode_prefix(data, max_tokens=max_tokens, max_depth=max_depth)
    if end != len(data):
        raise BencodeError(f"{len(data) - end} bytes after the end of the value")
    return value


def decode_prefix(
    data: Buffer, *, max_tokens: int = limits.BENCODE_TOKENS, max_depth: int = limits.BENCODE_DEPTH
) -> tuple[Any, int]:
    """Decode the value at the start of `data`, as `decode` does. Returns it and the position where it ends."""
    return _Scanner(_as_bytes(data), max_tokens, max_depth).scan()


class Dictionary(NamedTuple):
    """A dictionary, and where its values are in the bytes that it was read from.

    The bytes of a value are what an info hash is taken of, whatever the order of the keys in them.

    Attributes:
        items: its keys and values.
        ranges: where each value starts and ends, by key.
        end: where the dictionary ends.
    """

    items: dict[bytes, Any]
    ranges: dict[bytes, tuple[int, int]]
    end: int


def decode_dictionary(
    data: Buffer, *, max_tokens: int = limits.BENCODE_TOKENS, max_depth: int = limits.BENCODE_DEPTH
) -> Dictionary:
    """Decode the dictionary at the start of `data`, with the places of its values.

    Raises:
        BencodeError: as `decode`, or if it is not a dictionary.
    """
    scanner = _Scanner(_as_bytes(data), max_tokens, max_depth)
    value, end = scanner.scan()
    if not isinstance(value, dict):
        raise BencodeError("not a dictionary")
    return Dictionary(value, scanner.ranges, end)


def _as_bytes(data: Buffer) -> bytes:
    return data if isinstance(data, bytes) else memoryview(data).tobytes()


def encode(value: Any) -> bytes:
    """Bencode an int, bytes, str (as UTF-8), list, tuple or mapping of them; the keys are sorted as bytes.

    Raises:
        TypeError: for a value of any other type.
    """
    try:
        return _encoded(value)
    except RecursionError:
        raise TypeError("nested too deeply to be bencoded") from None


def _encoded(value: Any) -> bytes:
    """The value, a part of a long list at a time: what is made of it on the way takes many times its memory."""
    if isinstance(value, dict):
        items = _with_prepared_keys(value)
        return b"".join((b"d", *(_encoded(key) + _encoded(items[key]) for key in sorted(items)), b"e"))
    if isinstance(value, (list, tuple)) and len(value) > _PART:
        starts = range(0, len(value), _PART)
        return b"".join((b"l", *(_encoded(value[start : start + _PART])[1:-1] for start in starts), b"e"))
    encoded: bytes = bencodepy.encode(_prepared(value))
    return encoded


def _prepared(value: Any) -> Any:
    """The same value in the types that bencode.py is sure of: it sorts keys as they are, and knows no kinds of int."""
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (list, tuple)):
        return [_prepared(item) for item in value]
    if isinstance(value, dict):
        return {key: _prepared(item) for key, item in _with_prepared_keys(value).items()}
    raise TypeError(f"{type(value).__name__} cannot be bencoded")


def _with_prepared_keys(value: dict[Any, Any]) -> dict[bytes, Any]:
    prepared = {_prepared_key(key): item for key, item in value.items()}
    if len(prepared) != len(value):
        raise TypeError("a key comes twice, as bytes and as str")
    return prepared


def _prepared_key(key: Any) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    raise TypeError(f"the keys of a bencoded dictionary are bytes or str, not {type(key).__name__}")


class _Scanner:
    """Reads one value, with a stack of its own instead of the interpreter's.

    Attributes:
        ranges: where the values of the outermost dictionary start and end, by key.
    """

    def __init__(self, data: bytes, max_tokens: int, max_depth: int) -> None:
        self._data = data
        self._max_tokens = max_tokens
        self._max_depth = max_depth
        self._containers: list[list[Any] | dict[bytes, Any]] = []
        self._keys: list[bytes | None] = []
        self._value_start = 0
        self.ranges: dict[bytes, tuple[int, int]] = {}

    def scan(self) -> tuple[Any, int]:
        """The value, and where it ends.

        *Measured*: with strings read and stored here, and not in methods, it takes two thirds of the time.
        """
        data, containers, keys = self._data, self._containers, self._keys
        size, tokens_left = len(data), self._max_tokens
        at = 0
        while True:
            if at >= size:
                raise BencodeError("the data ends in the middle of a value")
            start, byte = at, data[at]
            if byte == _END:
                value, at = self._close(at), at + 1
            else:
                tokens_left -= 1
                if tokens_left < 0:
                    raise BencodeError("too many values")
                if byte in (_DICT_START, _LIST_START):
                    self._open(byte, at)
                    at += 1
                    continue
                if byte == _INTEGER_START:
                    value, at = self._integer(at)
                else:
                    match = _LENGTH.match(data, at)
                    if match is None:
                        raise BencodeError(f"not a value at byte {at}")
                    string_start = match.end()
                    at = string_start + int(match[1])
                    if at > size:
                        raise BencodeError(f"a string at byte {start} is longer than the data")
                    value = data[string_start:at]
            if not containers:
                return value, at
            container = containers[-1]
            if container.__class__ is list:
                container.append(value)
            elif keys[-1] is None:
                keys[-1] = value
            else:
                self._set(value, start, at)

    def _open(self, byte: int, at: int) -> None:
        if len(self._containers) >= self._max_depth:
            raise BencodeError("nested too deeply")
        self._refuse_as_key()
        if len(self._containers) == 1:
            self._value_start = at
        self._containers.append([] if byte == _LIST_START else {})
        self._keys.append(None)

    def _close(self, at: int) -> Any:
        if not self._containers:
            raise BencodeError(f"an end without a beginning at byte {at}")
        if self._keys[-1] is not None:
            raise BencodeError(f"a key without a value at byte {at}")
        self._keys.pop()
        return self._containers.pop()

    def _refuse_as_key(self) -> None:
        if self._containers and isinstance(self._containers[-1], dict) and self._keys[-1] is None:
            raise BencodeError("the key of a dictionary is not a string")

    def _integer(self, at: int) -> tuple[int | None, int]:
        self._refuse_as_key()
        match = _INTEGER.match(self._data, at)
        if not match:
            raise BencodeError(f"not an integer at byte {at}")
        digits = match[1].lstrip(b"-0") or b"0"
        if len(digits) > limits.BENCODE_INTEGER_DIGITS:
            return None, match.end()
        return -int(digits) if match[1].startswith(b"-") else int(digits), match.end()

    def _set(self, value: Any, start: int, end: int) -> None:
        """Store a value under its key in the innermost dictionary; of a key that comes twice the first one counts."""
        container, key = self._containers[-1], self._keys[-1]
        assert isinstance(container, dict)
        assert key is not None
        self._keys[-1] = None
        if key in container:
            return
        container[key] = value
        if len(self._containers) == 1:
            is_container = isinstance(value, (list, dict))
            self.ranges[key] = (self._value_start if is_container else start, end)
