"""Peers that send what costs a client most for what it costs them: floods, of one kind each.

As a program it serves floods: ``python -m tests.loopback.floods INFOHASH PIECES KIND...`` prints its port, and floods
each connection with one kind, in turns.
"""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import cycle

from geventbt import Extensions, Handshake, bencoding, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.ut_metadata import MetadataMessage

_CHUNK = 1 << 18
"""Bytes that a peer sends at a time, at least."""
_PEX, _METADATA, _DONTHAVE, _UPLOAD_ONLY = 1, 2, 7, 3


def _bits(pieces: int, byte: int) -> bytes:
    """A bitfield of bytes of one kind, its spare bits zero."""
    bits = bytearray([byte]) * -(-pieces // 8)
    if pieces % 8:
        bits[-1] &= 0xFF00 >> pieces % 8
    return m.pack_bitfield(bytes(bits))


def _haves(pieces: int) -> bytes:
    return b"".join(m.pack_index(c.HAVE, random.randrange(pieces)) for _ in range(20_000))


def _changes(pieces: int) -> bytes:
    """A piece that is had and lost in turns, and another one."""
    messages = []
    for _ in range(5000):
        piece = random.randrange(pieces)
        messages.append(m.pack_extended(9, piece.to_bytes(4, "big")))
        messages.append(m.pack_index(c.HAVE, piece))
    return b"".join(messages)


def _blocks(pieces: int, message_id: int) -> bytes:
    return b"".join(
        m.pack_range(message_id, random.randrange(pieces), 0, limits.BLOCK if message_id == c.REQUEST else 1)
        for _ in range(5000)
    )


def _requests_and_cancels(pieces: int) -> bytes:
    messages = [m.pack_bare(c.INTERESTED)]
    for _ in range(2000):
        piece = random.randrange(pieces)
        messages += (m.pack_range(c.REQUEST, piece, 0, 1), m.pack_range(c.CANCEL, piece, 0, 1))
    return b"".join(messages)


def _extended_handshake(**more: object) -> bytes:
    names = {"ut_pex": _PEX, "ut_metadata": _METADATA, "lt_donthave": _DONTHAVE, "upload_only": _UPLOAD_ONLY}
    fields = {b"m": {name.encode(): number for name, number in names.items()}, b"reqq": 250}
    fields |= {name.encode(): value for name, value in more.items()}
    return m.pack_extended(0, bencoding.encode(fields))


def _handshakes(pieces: int) -> bytes:
    """Extended handshakes of as many keys as a message may have."""
    many = {b"%d" % number: number for number in range(400)}
    return b"".join(
        m.pack_extended(0, bencoding.encode({b"m": {b"x%d%s" % (turn, name): 1 for name in many}, b"v": b"v" * 200}))
        for turn in range(20)
    )


def _exchange(pieces: int) -> bytes:
    """Addresses, others each time."""

    def message() -> bytes:
        added = b"".join(bytes([127, *os.urandom(3), 0, 1]) for _ in range(200))
        return m.pack_extended(
            3, bencoding.encode({b"added": added, b"added.f": bytes(200), b"added6": bytes(18 * 50)})
        )

    return b"".join(message() for _ in range(50))


def _metadata(pieces: int) -> bytes:
    requests = [MetadataMessage(0, piece).to_bytes() for piece in range(200)]
    data = MetadataMessage(1, 0, 1 << 25, bytes(16384)).to_bytes()
    return b"".join(m.pack_extended(number, payload) for payload in [*requests, data] for number in (1, 2, 3, 4))


def _nested(pieces: int) -> bytes:
    """Bencoded values of many small parts, in every extension there might be."""
    value = b"d1:a" + b"l" * 30 + b"i1e" * 1900 + b"e" * 30 + b"e"
    return b"".join(m.pack_extended(number, value) for number in range(12))


def _pieces(pieces: int) -> bytes:
    """Blocks that nobody asked for."""
    return b"".join(m.pack_piece_header(random.randrange(pieces), 0, 1) + b"x" for _ in range(60))


def _fast(pieces: int) -> bytes:
    suggested = (random.randrange(pieces) for _ in range(20_000))
    return b"".join(m.pack_index(random.choice((c.SUGGEST, c.ALLOWED_FAST)), piece) for piece in suggested)


def _unknown(pieces: int) -> bytes:
    return b"".join((1).to_bytes(4, "big") + bytes([number]) for number in range(30, 250)) * 100


def _states(*ids: int) -> Callable[[int], bytes]:
    return lambda pieces: b"".join(map(m.pack_bare, ids)) * 5000


KINDS: dict[str, Callable[[int], bytes]] = {
    "bitfields": lambda pieces: _bits(pieces, 0xFF) + _bits(pieces, 0) + _bits(pieces, 0xAA),
    "haves": _haves,
    "have all, have none": _states(c.HAVE_ALL, c.HAVE_NONE),
    "had and lost": _changes,
    "chokes": _states(c.UNCHOKE, c.CHOKE),
    "interest": _states(c.INTERESTED, c.UNINTERESTED),
    "requests": lambda pieces: m.pack_bare(c.INTERESTED) + _blocks(pieces, c.REQUEST),
    "requests and cancels": _requests_and_cancels,
    "rejects": lambda pieces: _blocks(pieces, c.REJECT),
    "suggestions": _fast,
    "blocks": _pieces,
    "extended handshakes": _handshakes,
    "exchange": _exchange,
    "metadata": _metadata,
    "nested values": _nested,
    "keep-alives": lambda pieces: m.KEEP_ALIVE_BYTES * 50_000,
    "unknown messages": _unknown,
    "ports": lambda pieces: m.pack_port(6881) * 20_000,
    "hash requests": lambda pieces: m.pack_hash_range(c.HASH_REQUEST, bytes(32), 0, 0, 512, 0) * 500,
}
"""What a peer of each kind sends over and over again, by the number of pieces."""


def chunk(kind: str, pieces: int) -> bytes:
    """What a peer sends at a time."""
    once = KINDS[kind](pieces)
    return once * -(-_CHUNK // len(once))


class Flooders:
    """Peers that flood whoever connects to them, or whom they connect to; in native threads.

    Args:
        info_hash: of the torrent.
        pieces: of the torrent.
        kinds: see `KINDS`; one for each connection, in turns.
    """

    def __init__(self, info_hash: bytes, pieces: int, kinds: Sequence[str]) -> None:
        self._info_hash = info_hash
        self._chunks: Iterator[bytes] = cycle([chunk(kind, pieces) for kind in kinds])
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=256)
        self.port = self._listener.getsockname()[1]

    def serve(self) -> None:
        """Flood every connection until it is closed."""
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._flood, args=(sock, next(self._chunks)), daemon=True).start()

    def _flood(self, sock: socket.socket, data: bytes) -> None:
        extensions = Extensions(dht=True, fast=True, extended=True, v2=True)
        with suppress(OSError), sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            threading.Thread(target=_drain, args=(sock,), daemon=True).start()
            sock.sendall(Handshake(self._info_hash, b"-XX0001-" + os.urandom(12), extensions).to_bytes())
            sock.sendall(m.pack_bare(c.HAVE_ALL) + _extended_handshake())
            while True:
                sock.sendall(data)


def _drain(sock: socket.socket) -> None:
    with suppress(OSError):
        while sock.recv(1 << 16):
            pass


def main() -> None:
    """Serve floods."""
    info_hash, pieces, *kinds = sys.argv[1:]
    flooders = Flooders(bytes.fromhex(info_hash), int(pieces), kinds)
    print(flooders.port, flush=True)
    flooders.serve()


if __name__ == "__main__":
    main()
