"""Unpacking of compressed answers up to a limit."""

from __future__ import annotations

import zlib

from geventbt import limits
from geventbt.concurrency.turns import let_others_run

_GZIP = 16 + zlib.MAX_WBITS
_MAGIC = b"\x1f\x8b"


class Unpacker:
    """Unpacks gzip: one member after another (RFC 1952); what stands behind the last one is ignored."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP)
        self._is_over = False
        self._between = b""

    @property
    def is_whole(self) -> bool:
        """Whether no member is cut off."""
        return self._is_over or self._member.eof

    def unpack(self, data: bytes, room: int) -> bytes:
        """Unpack, but no more than one byte over what there is room for; a little at a time, as a bomb keeps one
        busy.

        Raises:
            zlib.error: it is not gzip.
        """
        unpacked = bytearray()
        while data and len(unpacked) <= room and not self._is_over:
            if self._member.eof:
                data = self._begin_member(data)
                continue
            unpacked += self._member.decompress(data, min(limits.MIB, room + 1 - len(unpacked)))
            data = self._member.unconsumed_tail or self._member.unused_data
            let_others_run()
        return bytes(unpacked)

    def _begin_member(self, data: bytes) -> bytes:
        """Begin the next member, if there is one. Returns what is to be unpacked of it."""
        data = self._between + data
        start = data[: len(_MAGIC)]
        self._between = b""
        if start == _MAGIC:
            self._member = zlib.decompressobj(_GZIP)
            return data
        if _MAGIC.startswith(start):
            self._between = data
        else:
            self._is_over = True
        return b""
