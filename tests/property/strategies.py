"""Strategies of hypothesis: messages and their bytes, invalid messages, and ways to split a stream."""

from __future__ import annotations

from itertools import pairwise
from struct import pack

from hypothesis import strategies as st

from geventbt import limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.handshake import Extensions, Handshake

uint32 = st.integers(0, 2**32 - 1)
small = st.integers(0, 12) | uint32
"""Indices, offsets and lengths: mostly such as a small torrent has."""
hashes = st.binary(min_size=20, max_size=20)
extensions = st.builds(Extensions, dht=st.booleans(), fast=st.booleans(), extended=st.booleans(), v2=st.booleans())
handshakes = st.builds(Handshake, hashes, hashes, extensions)

BARE = (c.CHOKE, c.UNCHOKE, c.INTERESTED, c.UNINTERESTED, c.HAVE_ALL, c.HAVE_NONE)
INDEX = (c.HAVE, c.SUGGEST, c.ALLOWED_FAST)
RANGE = (c.REQUEST, c.CANCEL, c.REJECT)
UNKNOWN = (10, 11, 12, 18, 19, *range(24, 256))

payloads = st.binary(max_size=40)
_root = st.binary(min_size=32, max_size=32)

messages = st.one_of(
    st.just((c.KEEP_ALIVE,)),
    st.tuples(st.sampled_from(BARE)),
    st.tuples(st.sampled_from(INDEX), small),
    st.tuples(st.sampled_from(RANGE), small, small, small),
    st.tuples(st.just(c.BITFIELD), st.binary(min_size=1, max_size=40)),
    st.tuples(st.just(c.PIECE), small, small, payloads),
    st.tuples(st.just(c.PORT), st.integers(0, 65535)),
    st.tuples(st.just(c.EXTENDED), st.integers(0, 255), payloads),
    st.tuples(st.sampled_from((c.HASH_REQUEST, c.HASH_REJECT)), _root, small, small, small, small),
    st.tuples(
        st.just(c.HASHES), _root, small, small, small, small, st.integers(0, 3).map(lambda count: b"h" * 32 * count)
    ),
    st.tuples(st.just(c.UNKNOWN), st.sampled_from(UNKNOWN), payloads),
)
"""Any message of any BEP, as a tuple of the parser."""


def packed(message: tuple) -> bytes:
    """The bytes of a message tuple."""
    message_id, *fields = message
    if message_id == c.KEEP_ALIVE:
        return m.KEEP_ALIVE_BYTES
    if message_id in BARE:
        return m.pack_bare(message_id)
    if message_id in INDEX:
        return m.pack_index(message_id, *fields)
    if message_id in RANGE:
        return m.pack_range(message_id, *fields)
    if message_id == c.BITFIELD:
        return m.pack_bitfield(*fields)
    if message_id == c.PIECE:
        return m.pack_piece_header(fields[0], fields[1], len(fields[2])) + fields[2]
    if message_id == c.PORT:
        return m.pack_port(*fields)
    if message_id == c.EXTENDED:
        return m.pack_extended(*fields)
    if message_id == c.UNKNOWN:
        return pack(">IB", 1 + len(fields[1]), fields[0]) + fields[1]
    return m.pack_hash_range(message_id, *fields)


_EXACT = {
    c.HAVE: 4,
    c.REQUEST: 12,
    c.CANCEL: 12,
    c.PORT: 2,
    c.REJECT: 12,
    c.HASH_REQUEST: 48,
    c.CHOKE: 0,
    c.HAVE_ALL: 0,
}
_short_or_long = st.sampled_from(sorted(_EXACT.items())).flatmap(
    lambda item: (
        st.integers(0, 200).filter(lambda size: size != item[1]).map(lambda size: pack(">IB", 1 + size, item[0]))
    )
)
_too_long = st.tuples(st.integers(limits.MESSAGE + 2, 2**32 - 1), st.integers(0, 255)).map(
    lambda pair: pack(">IB", *pair)
)
invalid_tails = st.tuples(_short_or_long | _too_long, payloads).map(b"".join)
"""The beginning of an invalid message, followed by any bytes."""


@st.composite
def parts(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same bytes in any number of parts, some of which may be empty."""
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=20).map(sorted))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


def copied(event: tuple) -> tuple:
    """An event that may be kept."""
    return tuple(bytes(x) if isinstance(x, memoryview) else x for x in event)
