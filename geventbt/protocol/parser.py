"""The stream parser: bytes in, message tuples out, with every length checked before its payload is kept.

A message that is whole in the bytes just fed is seen in place: its payload is a memoryview of them, and nothing is
copied. Only a message that is cut off at the end is kept, and only as much of it as has arrived, so a claimed length
costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any

from geventbt import limits
from geventbt.errors import RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol.handshake import Handshake, check_protocol_string
from geventbt.protocol.messages import PIECE_HEADER, Buffer, RawMessage

_LENGTH = Struct(">I")
_HEADER = Struct(">IB")
_BLOCK_START = Struct(">II")
_BLOCK_LENGTH = Struct(">I")

_FIXED: dict[int, Struct] = {
    c.CHOKE: Struct(">"),
    c.UNCHOKE: Struct(">"),
    c.INTERESTED: Struct(">"),
    c.UNINTERESTED: Struct(">"),
    c.HAVE: Struct(">I"),
    c.REQUEST: Struct(">III"),
    c.CANCEL: Struct(">III"),
    c.PORT: Struct(">H"),
    c.SUGGEST: Struct(">I"),
    c.HAVE_ALL: Struct(">"),
    c.HAVE_NONE: Struct(">"),
    c.REJECT: Struct(">III"),
    c.ALLOWED_FAST: Struct(">I"),
    c.HASH_REQUEST: Struct(">32sIIII"),
    c.HASH_REJECT: Struct(">32sIIII"),
}
"""The fields of messages whose payload has a fixed length."""

_PIECE = c.PIECE
_REQUEST = c.REQUEST
_MAX_PIECE = limits.PEER_BLOCK + 9
_MAX_MESSAGE = limits.MESSAGE + 1

_HASHES = Struct(">32sIIII")
_BEP_OF_ID = {
    c.PORT: 5,
    **dict.fromkeys((c.SUGGEST, c.HAVE_ALL, c.HAVE_NONE, c.REJECT, c.ALLOWED_FAST), 6),
    c.EXTENDED: 10,
    **dict.fromkeys((c.HASH_REQUEST, c.HASHES, c.HASH_REJECT), 52),
}


def bep_of(message_id: int) -> int:
    """The number of the BEP that defines a message."""
    return _BEP_OF_ID.get(message_id, 3)


class Parser:
    """Cuts one direction of a connection into its handshake and messages.

    Attributes:
        bitfield_length: the bytes that a bitfield must have; None while the number of pieces is unknown.
    """

    __slots__ = ("_handshaking", "_tail", "bitfield_length")

    def __init__(self) -> None:
        self.bitfield_length: int | None = None
        self._handshaking = True
        self._tail = bytearray()

    @property
    def missing(self) -> int:
        """Bytes still to come of the message that is cut off at the end; 0 if there is none, or its length is not
        checked yet."""
        if len(self._tail) < 5 or self._handshaking:
            return 0
        return 4 + int(_LENGTH.unpack_from(self._tail)[0]) - len(self._tail)

    @property
    def block_under_way(self) -> tuple[int, int, int] | None:
        """(piece, offset, length) of the block that is cut off at the end; None if there is none."""
        if len(self._tail) < 13 or self._handshaking or self._tail[4] != _PIECE:
            return None
        length, _, piece, offset = PIECE_HEADER.unpack_from(self._tail)
        return piece, offset, length - 9

    def feed(self, data: Buffer) -> Iterator[RawMessage]:
        """Take the next bytes of the stream and yield the messages that they complete.

        The iterator must be run to its end before the next call. Buffers in the tuples are valid until then.

        Args:
            data: any number of bytes.

        Yields:
            ``(HANDSHAKE, info_hash, peer_id, extensions)`` first, then ``(id, *fields)``, ``(KEEP_ALIVE,)`` or
            ``(UNKNOWN, id, payload)``.

        Raises:
            RemoteProtocolError: for a wrong protocol string, an impossible length or an impossible value; all
                messages before it have been yielded.
        """
        view = memoryview(data)
        if self._handshaking:
            view = self._take(view, c.HANDSHAKE_LENGTH)
            check_protocol_string(self._tail)
            if len(self._tail) < c.HANDSHAKE_LENGTH:
                return
            handshake = Handshake.from_bytes(bytes(self._tail))
            self._tail = bytearray()
            self._handshaking = False
            yield (c.HANDSHAKE, handshake.info_hash, handshake.peer_id, handshake.extensions)
        if self._tail:
            view = self._complete_tail(view)
            if not self._is_tail_whole():
                return
            message = memoryview(self._tail)
            # The view above keeps the old tail alive for as long as the reader needs it.
            self._tail = bytearray()
            yield self._decode(message)
        yield from self._feed_messages(view)

    def _feed_messages(self, view: memoryview) -> Iterator[RawMessage]:
        """Yield the whole messages at the start of `view` and keep the rest as the tail. This is the hot loop."""
        at = 0
        end = len(view)
        unpack_piece = PIECE_HEADER.unpack_from
        last = end - 13
        while at <= last:
            length, message_id, index, begin = unpack_piece(view, at)
            stop = at + 4 + length
            if message_id == _PIECE and 9 <= length <= _MAX_PIECE and stop <= end:
                yield (_PIECE, index, begin, view[at + 13 : stop])
            elif message_id == _REQUEST and length == 13 and stop <= end:
                yield (_REQUEST, index, begin, _BLOCK_LENGTH.unpack_from(view, at + 13)[0])
            else:
                stop = self._end_of_message(view, at, end)
                if not stop:
                    break
                yield self._decode(view[at:stop])
            at = stop
        while end - at >= 4:
            stop = self._end_of_message(view, at, end)
            if not stop:
                break
            yield self._decode(view[at:stop])
            at = stop
        if at < end:
            self._tail += view[at:]

    def _end_of_message(self, view: Buffer, at: int, end: int) -> int:
        """Where the message that starts at `at` ends, or 0 when it is not whole; its length has been checked."""
        (length,) = _LENGTH.unpack_from(view, at)
        if length:
            _check_any_length(length)
            if end - at < 5:
                return 0
            self._check_length(view[at + 4], length)
        stop = at + 4 + length
        return stop if stop <= end else 0

    def _take(self, view: memoryview, size: int) -> memoryview:
        """Move bytes from `view` to the tail until it has `size` of them; return the rest of `view`."""
        missing = max(0, size - len(self._tail))
        self._tail += view[:missing]
        return view[missing:]

    def _complete_tail(self, view: memoryview) -> memoryview:
        """Move the missing bytes of the tail's message from `view`, and no more; return the rest of `view`."""
        view = self._take(view, 4)
        if len(self._tail) < 4:
            return view
        (length,) = _LENGTH.unpack_from(self._tail)
        if not length:
            return view
        _check_any_length(length)
        view = self._take(view, 5)
        if len(self._tail) < 5:
            return view
        self._check_length(self._tail[4], length)
        return self._take(view, 4 + length)

    def _is_tail_whole(self) -> bool:
        size = len(self._tail)
        return size >= 4 and size == 4 + _LENGTH.unpack_from(self._tail)[0]

    def _check_length(self, message_id: int, length: int) -> None:
        """Refuse a length that the id does not allow, before any of the payload is kept."""
        payload = length - 1
        if message_id in _FIXED:
            good = payload == _FIXED[message_id].size
        elif message_id == c.PIECE:
            good = 8 <= payload <= 8 + limits.PEER_BLOCK
        elif message_id == c.BITFIELD:
            good = 1 <= payload <= limits.MESSAGE if self.bitfield_length is None else payload == self.bitfield_length
        elif message_id == c.EXTENDED:
            good = 1 <= payload <= limits.MESSAGE
        elif message_id == c.HASHES:
            good = _HASHES.size <= payload <= limits.MESSAGE and (payload - _HASHES.size) % 32 == 0
        else:
            good = payload <= limits.MESSAGE
        if not good:
            raise RemoteProtocolError(
                f"a message with id {message_id} of {length} bytes: not a length that this message can have",
                message_id=message_id,
                bep=bep_of(message_id),
            )

    def _decode(self, message: memoryview) -> RawMessage:
        """The tuple for one whole message, its length prefix included and checked already."""
        if len(message) == 4:
            return (c.KEEP_ALIVE,)
        message_id = message[4]
        payload = message[5:]
        fixed = _FIXED.get(message_id)
        if fixed is not None:
            return (message_id, *fixed.unpack(payload))
        variable: Any = _VARIABLE.get(message_id)
        return variable(payload) if variable else (c.UNKNOWN, message_id, payload)


def _check_any_length(length: int) -> None:
    """Refuse a length that no id allows, before the id is there."""
    if length > _MAX_MESSAGE:
        raise RemoteProtocolError(f"a message cannot have {length} bytes: at most {_MAX_MESSAGE}")


def _decode_piece(payload: memoryview) -> RawMessage:
    return (c.PIECE, *_BLOCK_START.unpack_from(payload), payload[8:])


def _decode_hashes(payload: memoryview) -> RawMessage:
    return (c.HASHES, *_HASHES.unpack_from(payload), payload[_HASHES.size :])


_VARIABLE = {
    c.BITFIELD: lambda payload: (c.BITFIELD, payload),
    c.PIECE: _decode_piece,
    c.EXTENDED: lambda payload: (c.EXTENDED, payload[0], payload[1:]),
    c.HASHES: _decode_hashes,
}
