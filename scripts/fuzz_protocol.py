"""Fuzz the peer protocol: valid streams, damaged at random, for a given time.

The invariant is h11's: any bytes give messages or a `RemoteProtocolError`, never another exception; the result is the
same whole or byte by byte; and the memory that they take is bounded. The test suite runs the same
check on the saved corpus and on a few hundred damaged streams.

    python scripts/fuzz_protocol.py --seconds 600
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from struct import pack
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from geventbt import limits
from geventbt.errors import LocalProtocolError, RemoteProtocolError, RequestFailed
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol import message_objects as o
from geventbt.protocol import messages as m
from geventbt.protocol.connection import FAILED, PeerProtocol
from geventbt.protocol.handshake import Extensions, Handshake

CORPUS = Path(__file__).resolve().parent.parent / "tests" / "fuzz" / "corpus"
INFO_HASH = b"i" * 20
GEOMETRY = Geometry(20 * 4 * limits.BLOCK - 100, 4 * limits.BLOCK)
ALL = Extensions(dht=True, fast=True, extended=True, v2=True)

KEPT = 4 * limits.MIB
"""The most that may be kept: a cut off message, a bitfield, early haves, requests and an extended handshake."""
KEPT_AT_FIRST = 16 * limits.KIB
KEPT_PER_BYTE = 64
"""Bytes of memory for each byte received: a request of 17 bytes is a tuple in two dictionaries."""


class InvariantBroken(AssertionError):
    """The protocol has broken the invariant."""


# ---------------------------------------------------------------------- the invariant


def check(data: bytes) -> None:
    """Check the invariant with one stream of a peer.

    Raises:
        InvariantBroken: if the result depends on how the bytes are cut, or too much is kept.
        Exception: whatever else the protocol lets out, which is as bad.
    """
    for setting in ("choking", "seeding", "unknown torrent", "no extensions", "silent"):
        whole = run(setting, [data])
        for parts in (_bytewise(data), _cut(data)):
            if run(setting, parts) != whole:
                raise InvariantBroken(f"{setting}: the result depends on how the stream is cut")


def _bytewise(data: bytes) -> Iterator[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


def _cut(data: bytes) -> Iterator[bytes]:
    """The bytes in parts of many sizes, always the same for the same bytes."""
    sizes = random.Random(len(data))
    at = 0
    while at < len(data):
        size = sizes.choice((1, 2, 3, 4, 5, 13, 17, 68, 1000))
        yield data[at : at + size]
        at += size


def run(setting: str, parts: Any) -> tuple[Any, ...]:
    """Feed a stream to a new protocol in some setting. Returns all results, in a form that can be compared."""
    protocol = _protocol_in(setting)
    seen: list[Any] = []
    error = None
    sent = bytearray()
    fed = 0
    try:
        for part in parts:
            scratch = bytearray(part)
            fed += len(part)
            for event in protocol.receive(memoryview(scratch)):
                seen.append(_comparable(event))
                _react(protocol, event)
            # A transport uses its buffer again: nothing may still look into it.
            scratch[:] = b"\xee" * len(scratch)
            sent += b"".join(map(bytes, protocol.take_outgoing()))
    except RemoteProtocolError as caught:
        error = (type(caught).__name__, str(caught), caught.message_id, caught.bep)
    sent += b"".join(map(bytes, protocol.take_outgoing()))
    kept = kept_by(protocol)
    if kept > min(KEPT, KEPT_AT_FIRST + KEPT_PER_BYTE * fed):
        raise InvariantBroken(f"{setting}: {kept} bytes are kept of {fed}")
    return seen, error, bytes(sent), list(protocol.requests), list(protocol.peer_requests), protocol.peer_pieces.bits


def _protocol_in(setting: str) -> PeerProtocol:
    protocol = PeerProtocol()
    if setting == "silent":
        return protocol
    ours = Extensions() if setting == "no extensions" else ALL
    protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20, ours))
    if setting != "unknown torrent":
        protocol.set_geometry(GEOMETRY)
    if setting != "choking":
        protocol.send_unchoke()
    return protocol


def _react(protocol: PeerProtocol, event: tuple[Any, ...]) -> None:
    """React to an event as a program would, so that every state is reached."""
    try:
        if event[0] == c.UNCHOKE:
            protocol.send_interested()
            protocol.send_requests(0, 0, 4 * limits.BLOCK, 4, "token")
            protocol.send_requests(1, 0, 9, 1, "token")
        elif event[0] == c.ALLOWED_FAST and (event[1], 0, 9) not in protocol.requests:
            protocol.send_request(event[1], 0, 9, "token")
        elif event[0] == c.INTERESTED and protocol.agreed.fast:
            protocol.send_allowed_fast(1)
        elif event[0] == c.UNINTERESTED:
            protocol.send_choke()
        elif event[0] == c.REQUEST and event[3] < 100:
            protocol.send_piece(event[1], event[2], bytes(event[3]))
        elif event[0] == c.HAVE:
            for failed in protocol.lose_piece(event[1] + 1):
                _comparable(failed)
        elif event[0] == c.PORT:
            protocol.set_pieces(GEOMETRY.pieces)
    except (LocalProtocolError, RequestFailed):
        pass


def _comparable(event: tuple[Any, ...]) -> tuple[Any, ...]:
    if event[0] == FAILED:
        return (*event[:3], type(event[3]).__name__)
    o.as_object(event[:4] if event[0] == c.PIECE else event)
    return tuple(bytes(x) if isinstance(x, memoryview) else x for x in event)


def kept_by(protocol: PeerProtocol) -> int:
    """The bytes of all objects that only the protocol holds, found by following references."""
    seen: dict[int, Any] = {}
    waiting: list[Any] = [vars(protocol)]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, (type, ModuleType, FunctionType, BuiltinFunctionType)):
            continue
        seen[id(found)] = found
        waiting += gc.get_referents(found)
    return sum(map(sys.getsizeof, seen.values()))


# ---------------------------------------------------------------------- streams, and damage


def valid_stream(chance: random.Random) -> bytes:
    """A handshake and some messages that are well formed, though not always sensible."""
    extensions = Extensions(*(chance.random() < 0.8 for _ in range(4)))
    stream = [Handshake(INFO_HASH, b"p" * 20, extensions).to_bytes()]
    stream += [_message(chance) for _ in range(chance.randrange(12))]
    return b"".join(stream)


def _message(chance: random.Random) -> bytes:
    def number() -> int:
        return chance.choice((0, 1, 2, 19, 20, 2**14, 2**14 * 4 - 1, 2**31, 2**32 - 1, chance.getrandbits(32)))

    index, offset = chance.choice((0, 1, 19, number())), chance.choice((0, 2**14, number()))
    length = chance.choice((1, 9, 2**14, number()))
    payload = chance.randbytes(chance.randrange(40))
    extended = (b"d1:md6:ut_pexi1e11:lt_donthavei2eee", b"d1:md6:ut_pexi0ee4:reqqi9ee", b"d1:ai1e-6:", b"de", payload)
    return chance.choice(
        (
            m.KEEP_ALIVE_BYTES,
            m.pack_bare(chance.choice((c.CHOKE, c.UNCHOKE, c.INTERESTED, c.UNINTERESTED, c.HAVE_ALL, c.HAVE_NONE))),
            m.pack_bare(c.UNCHOKE),
            m.pack_index(chance.choice((c.HAVE, c.SUGGEST, c.ALLOWED_FAST)), index),
            m.pack_bitfield(chance.choice((b"\xff\xff\xf0", b"\x80\0\0", payload))),
            m.pack_range(chance.choice((c.REQUEST, c.CANCEL, c.REJECT)), index, offset, length),
            m.pack_range(c.REQUEST, chance.randrange(20), 0, 9),
            m.pack_piece_header(index, offset, len(payload)) + payload,
            m.pack_piece_header(1, 0, 9) + bytes(9),
            m.pack_port(chance.getrandbits(16)),
            m.pack_extended(chance.randrange(4), chance.choice(extended)),
            m.pack_hash_range(chance.choice((c.HASH_REQUEST, c.HASH_REJECT)), bytes(32), 0, index, 2, 0),
            m.pack_hash_range(c.HASHES, bytes(32), 0, index, 2, 0, bytes(32 * chance.randrange(3))),
            pack(">IB", 1 + len(payload), chance.randrange(256)) + payload,
        )
    )


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A stream with a few random changes, most of them after the handshake."""
    stream = bytearray(data)
    for _ in range(chance.randrange(4)):
        if not stream:
            break
        first = 0 if chance.random() < 0.05 else min(68, len(stream) - 1)
        at = chance.randrange(first, len(stream))
        end = at + chance.choice((1, 1, 2, 4, 17))
        change = chance.randrange(6)
        if change == 0:
            stream[at] ^= 1 << chance.randrange(8)
        elif change == 1:
            stream[at:end] = chance.randbytes(end - at)
        elif change == 2:
            del stream[at:end]
        elif change == 3:
            stream[at:at] = stream[at:end] * chance.choice((1, 2, 70))
        elif change == 4:
            length = chance.choice((0, 1, 5, 9, 13, limits.MESSAGE + 1, limits.MESSAGE + 2, 2**31, 2**32 - 1))
            stream[at : at + 4] = pack(">I", length)
        else:
            del stream[at:]
    return bytes(stream)


def corpus() -> dict[str, bytes]:
    """The saved streams, by name."""
    return {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))}


def fuzz(seconds: float, seed: int) -> int:
    """Check damaged streams until the time is over. Returns their number; a stream that fails is saved."""
    chance = random.Random(seed)
    saved = list(corpus().values())
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = damaged(chance.choice(saved) if chance.random() < 0.2 else valid_stream(chance), chance)
        try:
            check(data)
        except Exception:
            path = CORPUS / f"broken-{hashlib.sha1(data).hexdigest()[:8]}.bin"
            path.write_bytes(data)
            print(f"stream {count} of seed {seed} breaks the invariant; saved as {path}", file=sys.stderr)
            raise
        count += 1
    return count


def main() -> None:
    """Read the command line and fuzz."""
    parser = argparse.ArgumentParser(description="Fuzz the peer protocol with damaged streams.")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=None, help="repeat an earlier run")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 32) if arguments.seed is None else arguments.seed
    print(f"seed {seed}: {fuzz(arguments.seconds, seed)} streams, the invariant holds")


if __name__ == "__main__":
    main()
