"""The extended handshake (BEP 10) with untrusted contents."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from geventbt import bencoding, limits
from geventbt.errors import RemoteProtocolError
from geventbt.protocol import messages as m
from geventbt.protocol.connection import PeerProtocol
from geventbt.protocol.extended import read_extended_handshake
from geventbt.protocol.handshake import Extensions, Handshake

KEYS = [
    b"m",
    b"v",
    b"p",
    b"reqq",
    b"yourip",
    b"ipv4",
    b"ipv6",
    b"metadata_size",
    b"upload_only",
    b"complete_ago",
    b"other",
]
TYPES = {
    "m": dict, "v": str, "p": int, "reqq": int, "yourip": bytes, "ipv4": bytes, "ipv6": bytes, "metadata_size": int,
    "upload_only": int, "complete_ago": int,
}  # fmt: skip

integers = st.integers(-(10**19), 10**19)
anything = st.recursive(
    integers | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=8), inner, max_size=4),
    max_leaves=10,
)
mappings = st.dictionaries(st.binary(max_size=20), integers | st.binary(max_size=3), max_size=6)
handshakes = st.dictionaries(st.sampled_from(KEYS) | st.binary(max_size=10), anything | mappings, max_size=12)


@given(handshakes)
def test_every_key_has_its_type_or_is_left_out(handshake):
    read = read_extended_handshake(bencoding.encode(handshake))
    for key, kind in TYPES.items():
        assert key not in read or isinstance(read[key], kind)
    assert 1 <= read.get("p", 1) <= 65535
    assert read.get("reqq", 1) >= 1
    assert len(read.get("yourip", b"four")) in (4, 16)
    assert all(isinstance(number, int) and 0 <= number <= 255 for number in read.get("m", {}).values())


@given(st.binary())
def test_any_bytes_are_a_handshake_or_a_protocol_error(payload):
    try:
        read = read_extended_handshake(payload)
    except RemoteProtocolError:
        return
    assert isinstance(read, dict)


@given(st.lists(handshakes, max_size=4))
def test_one_after_the_other_leaves_a_state_within_bounds(sequence):
    """Ids that collide, change or are invalid: the resulting mapping is usable."""
    protocol = PeerProtocol()
    extended = Extensions(extended=True)
    list(protocol.receive(Handshake(b"i" * 20, b"p" * 20, extended).to_bytes()))
    protocol.send_handshake(Handshake(b"i" * 20, b"o" * 20, extended))
    for handshake in sequence:
        list(protocol.receive(m.pack_extended(0, bencoding.encode(handshake))))
    assert all(1 <= number <= 255 for number in protocol.peer_extended_mapping.values())
    assert 1 <= protocol.request_limit <= limits.REQUESTS
    for name in protocol.peer_extended_mapping:
        protocol.send_extended(name, b"x")
