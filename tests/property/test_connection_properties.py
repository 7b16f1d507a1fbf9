"""`PeerProtocol`: any stream in any split, and any call with any argument."""

from __future__ import annotations

from bitarray import bitarray
from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import LocalProtocolError, RemoteProtocolError, RequestFailed
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol.connection import FAILED, PeerProtocol
from geventbt.protocol.handshake import Handshake
from geventbt.protocol.parser import Parser
from tests.property.strategies import copied, extensions, handshakes, messages, packed, parts, small

PIECES = 4
SIZE = 64
"""Bytes of a piece: so small that the same blocks are requested several times."""
GEOMETRY = Geometry(PIECES * SIZE - 10, SIZE)
INFO_HASH = b"i" * 20


def state(protocol):
    """All that can be read of a protocol, in a form that can be compared."""
    pieces = protocol.peer_pieces
    return {
        "handshakes": (protocol.handshake_sent, protocol.handshake_received, protocol.agreed),
        "flags": (protocol.am_choking, protocol.am_interested, protocol.peer_choking, protocol.peer_interested),
        "pieces": (pieces.count, pieces.bits, pieces.announced, pieces.has_all, protocol.geometry),
        "requests": (list(protocol.requests.items()), list(protocol.peer_requests), list(protocol.unanswered_requests)),
        "fast": (set(protocol.allowed_fast_set), set(protocol.peer_allowed_fast_set)),
        "extended": (dict(protocol.peer_extended_handshake), dict(protocol.peer_extended_mapping)),
        "counts": (protocol.downloaded, protocol.uploaded),
        "outgoing": b"".join(map(bytes, protocol.outgoing)),
    }


# ---------------------------------------------------------------------- any stream, any split


def converse(ours, stream_parts, geometry):
    """Feed a stream to a new protocol. Returns all results, in a form that can be compared."""
    protocol = PeerProtocol()
    if ours:
        protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20, ours))
    if geometry:
        protocol.set_geometry(geometry)
    seen = []
    error = None
    try:
        for part in stream_parts:
            for event in protocol.receive(part):
                seen.append(copied(event))
                if event[0] == c.HANDSHAKE and ours:
                    protocol.send_unchoke()
                if event[0] == c.UNCHOKE and ours and not protocol.requests and protocol.peer_pieces.may_have(0):
                    protocol.send_request(0, 0, 5, "token")
    except RemoteProtocolError as caught:
        error = (type(caught), str(caught), caught.message_id, caught.bep)
    return [(*event[:-1], type(event[-1])) if event[0] == FAILED else event for event in seen], error, state(protocol)


@given(
    data=st.data(),
    ours=st.none() | extensions,
    theirs=extensions,
    stream=st.lists(messages, max_size=10),
    geometry=st.sampled_from([None, GEOMETRY]),
)
def test_any_split_of_any_stream_gives_the_same_events_and_the_same_state(data, ours, theirs, stream, geometry):
    wire = Handshake(INFO_HASH, b"p" * 20, theirs).to_bytes() + b"".join(map(packed, stream))
    whole = converse(ours, [wire], geometry)
    assert converse(ours, data.draw(parts(wire)), geometry) == whole
    assert converse(ours, [wire[at : at + 1] for at in range(len(wire))], geometry) == whole


@given(theirs=handshakes)
def test_any_handshake_is_taken_or_refused(theirs):
    protocol = PeerProtocol()
    protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20))
    try:
        list(protocol.receive(theirs.to_bytes()))
    except RemoteProtocolError:
        assert not protocol.established
    else:
        assert theirs.info_hash == INFO_HASH


# ---------------------------------------------------------------------- any call, any argument

number = st.integers(-2, 70) | st.sampled_from([2**16, 2**31, 2**32 - 1, 2**32, 2**64]) | small
_calls = st.one_of(
    st.tuples(
        st.sampled_from(["send_choke", "send_unchoke", "send_interested", "send_uninterested", "send_keep_alive"])
    ),
    st.tuples(st.sampled_from(["send_have_all", "send_have_none", "send_extended_handshake"])),
    st.tuples(st.sampled_from(["send_have", "send_suggest", "send_allowed_fast", "send_port", "set_pieces"]), number),
    st.tuples(st.sampled_from(["send_cancel", "send_reject", "drop_request"]), number, number, number),
    st.tuples(st.just("send_request"), number, number, number, st.just("token")),
    st.tuples(st.just("send_requests"), number, number, number, number, st.just("token")),
    st.tuples(st.just("send_bitfield"), st.binary(max_size=3) | st.lists(st.booleans(), max_size=9).map(bitarray)),
    st.tuples(st.just("send_piece"), number, number, st.binary(max_size=9)),
    st.tuples(st.just("send_extended"), st.sampled_from(["ut_pex", "ut_metadata"]), st.binary(max_size=9)),
    st.tuples(st.just("send_handshake"), handshakes),
)


@given(
    calls=st.lists(_calls, min_size=1, max_size=12),
    ours=st.none() | extensions,
    theirs=st.none() | extensions,
    stream=st.lists(messages, max_size=4),
    geometry=st.sampled_from([None, GEOMETRY]),
)
def test_any_call_works_or_raises_an_error_of_ours_and_changes_nothing(calls, ours, theirs, stream, geometry):
    protocol = PeerProtocol()
    if ours:
        protocol.send_handshake(Handshake(INFO_HASH, b"o" * 20, ours))
    if geometry:
        protocol.set_geometry(geometry)
    try:
        if theirs:
            wire = Handshake(INFO_HASH, b"p" * 20, theirs).to_bytes() + b"".join(map(packed, stream))
            list(protocol.receive(wire))
    except RemoteProtocolError:
        return
    for name, *args in calls:
        before = state(protocol)
        pending = tuple(args[:3])
        if name == "send_request" and pending in protocol.requests:
            continue  # the caller is to see to it
        try:
            getattr(protocol, name)(*args)
        except (LocalProtocolError, RequestFailed):
            assert state(protocol) == before
        except RemoteProtocolError:
            assert name in ("set_pieces", "send_handshake"), name
            return
        if not protocol.handshake_sent:
            assert not protocol.outgoing
    assert_is_a_stream(protocol)


def assert_is_a_stream(protocol):
    """The outgoing bytes can be parsed."""
    for message in Parser().feed(b"".join(map(bytes, protocol.outgoing))):
        assert message[0] != c.UNKNOWN
