"""A `PeerProtocol` in each state that the tests of it begin with, and what they say of it."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.errors import LocalProtocolError, RemoteProtocolError
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.connection import FAILED, PeerProtocol
from geventbt.protocol.handshake import Extensions, Handshake

INFO_HASH = b"i" * 20
ALL = Extensions(dht=True, fast=True, extended=True, v2=True)
FAST = Extensions(fast=True)
PLAIN = Extensions()
EXTENDED = Extensions(extended=True)
BLOCK = limits.BLOCK
GEOMETRY = Geometry(10 * 4 * BLOCK - 100, 4 * BLOCK)
"""Ten pieces of four blocks, the last one 100 bytes short."""

RANGES = [
    (-1, 0, BLOCK),
    (10, 0, BLOCK),
    (2**32, 0, BLOCK),
    (0, -1, BLOCK),
    (0, 0, 0),
    (0, 0, -1),
    (0, 4 * BLOCK, 1),
    (0, 4 * BLOCK - 1, 2),
    (9, 4 * BLOCK - 100, 1),
    (9, 3 * BLOCK, BLOCK),
    (0, 2**32, BLOCK),
    (0, 2**32 - 1, BLOCK),
]
"""Ranges that `GEOMETRY` does not have."""


def handshake(peer_id=b"p" * 20, extensions=PLAIN, info_hash=INFO_HASH):
    return Handshake(info_hash, peer_id, extensions)


def receive(protocol, data):
    """The events of some bytes, their buffers copied."""
    return [tuple(bytes(x) if isinstance(x, memoryview) else x for x in event) for event in protocol.receive(data)]


def taken(protocol):
    """What is to be written, as one string."""
    return b"".join(bytes(buffer) for buffer in protocol.take_outgoing())


def established(ours=PLAIN, theirs=None, *, geometry=GEOMETRY):
    """A protocol behind both handshakes, with nothing left to be written."""
    protocol = PeerProtocol()
    protocol.send_handshake(handshake(b"o" * 20, ours))
    receive(protocol, handshake(b"p" * 20, ours if theirs is None else theirs).to_bytes())
    protocol.take_outgoing()
    if geometry:
        protocol.set_geometry(geometry)
    return protocol


def unchoked(extensions=PLAIN, **kwargs):
    """... and unchoked by a peer that has everything."""
    protocol = established(extensions, **kwargs)
    receive(protocol, m.pack_bare(c.UNCHOKE))
    return protocol


def unchoking(extensions=PLAIN, **kwargs):
    """... and unchoking a peer."""
    protocol = established(extensions, **kwargs)
    protocol.send_unchoke()
    protocol.take_outgoing()
    return protocol


def state(protocol):
    """Everything that a failed call must leave as it was."""
    return (
        protocol.handshake_sent,
        protocol.handshake_received,
        (protocol.am_choking, protocol.am_interested, protocol.peer_choking, protocol.peer_interested),
        dict(protocol.requests),
        list(protocol.peer_requests),
        list(protocol.unanswered_requests),
        set(protocol.allowed_fast_set),
        set(protocol.peer_allowed_fast_set),
        protocol.peer_pieces.count,
        protocol.peer_pieces.bits,
        protocol.geometry,
        [bytes(buffer) for buffer in protocol.outgoing],
        (protocol.uploaded, protocol.downloaded),
    )


def refused_locally(protocol, call, *args, error=LocalProtocolError):
    """The call raises, and nothing has changed."""
    before = state(protocol)
    with pytest.raises(error):
        call(*args)
    assert state(protocol) == before


def offends(protocol, data, message_id=None, bep=None):
    with pytest.raises(RemoteProtocolError) as caught:
        receive(protocol, data)
    if message_id is not None:
        assert caught.value.message_id == message_id
    if bep is not None:
        assert caught.value.bep == bep


def failures(events):
    return [(event[1], event[2], type(event[3])) for event in events if event[0] == FAILED]


def piece_bytes(piece, offset, block):
    return m.pack_piece_header(piece, offset, len(block)) + block
