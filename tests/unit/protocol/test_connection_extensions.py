"""The peer's pieces, and messages of extensions: agreed on or not, invalid, too many (BEP 6, 10, 52)."""

from __future__ import annotations

import tracemalloc

import pytest

from geventbt import limits
from geventbt.bencoding import decode, encode
from geventbt.errors import (
    PieceNotAvailable,
    RemoteProtocolError,
)
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.connection import PeerProtocol
from tests.unit.protocol_helpers import (
    ALL,
    BLOCK,
    EXTENDED,
    FAST,
    GEOMETRY,
    PLAIN,
    established,
    handshake,
    offends,
    receive,
    refused_locally,
    taken,
    unchoking,
)

# ---------------------------------------------------------------------- pieces, known and unknown


def test_the_number_of_pieces_is_set_once():
    protocol = established(geometry=None)
    for wrong in (0, -1, limits.PIECES + 1):
        refused_locally(protocol, protocol.set_pieces, wrong)
    protocol.set_pieces(10)
    protocol.set_pieces(10)
    refused_locally(protocol, protocol.set_pieces, 11)
    refused_locally(protocol, protocol.set_geometry, Geometry(11, 1))
    protocol.set_geometry(GEOMETRY)
    protocol.set_geometry(GEOMETRY)
    refused_locally(protocol, protocol.set_geometry, Geometry(10, 1))


def test_a_second_have_for_a_piece_gives_no_event():
    protocol = established()
    assert receive(protocol, m.pack_index(c.HAVE, 3) * 2) == [(c.HAVE, 3)]
    assert 3 in protocol.peer_pieces


@pytest.mark.parametrize("piece", [10, 16, 2**32 - 1])
def test_a_have_out_of_range_closes_the_wire(piece):
    offends(established(), m.pack_index(c.HAVE, piece), c.HAVE, 3)


@pytest.mark.parametrize("bitfield", [b"\xff\xe0", b"\x00\x01", b"\xff", b"\xff\xc0\x00", b""])
def test_a_bitfield_of_the_wrong_size_or_with_spare_bits_closes_the_wire(bitfield):
    offends(established(), m.pack_bitfield(bitfield), c.BITFIELD, 3)


@pytest.mark.parametrize(
    "said",
    [
        m.pack_bitfield(b"\xff\xe0"),
        m.pack_bitfield(b"\xff"),
        m.pack_bitfield(b"\xff\xc0\x00"),
        m.pack_index(c.HAVE, 10),
        m.pack_bitfield(b"\xff\xc0") + m.pack_index(c.HAVE, 12),
        m.pack_range(c.REQUEST, 10, 0, BLOCK),
    ],
)
def test_announced_pieces_that_do_not_exist_are_a_violation_once_the_number_is_known(said):
    protocol = unchoking(geometry=None)
    receive(protocol, said)
    with pytest.raises(RemoteProtocolError):
        protocol.set_pieces(10)


@pytest.mark.parametrize("key", [(0, 4 * BLOCK, 1), (9, 3 * BLOCK, BLOCK), (0, 2**32 - 1, 1)])
def test_no_request_out_of_range_is_left_to_be_served_when_the_geometry_is_known(key):
    protocol = unchoking(geometry=None)
    receive(protocol, m.pack_range(c.REQUEST, *key))
    try:
        protocol.set_geometry(GEOMETRY)
    except RemoteProtocolError:
        return
    assert not protocol.peer_requests
    assert not protocol.unanswered_requests


def test_an_early_far_have_allocates_nothing():
    protocol = established(geometry=None)
    tracemalloc.start()
    try:
        receive(protocol, m.pack_index(c.HAVE, limits.PIECES - 1))
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 10_000
    assert peak < 50_000
    offends(protocol, m.pack_index(c.HAVE, 2**32 - 1), c.HAVE)


def test_a_bitfield_cut_off_while_its_size_becomes_known_is_checked():
    protocol = established(geometry=None)
    receive(protocol, m.pack_bitfield(b"\xff\xff\xff")[:6])
    protocol.set_pieces(10)
    offends(protocol, b"\xff", c.BITFIELD)


# ---------------------------------------------------------------------- the fast extension


FAST_MESSAGES = [
    m.pack_index(c.SUGGEST, 1),
    m.pack_bare(c.HAVE_ALL),
    m.pack_bare(c.HAVE_NONE),
    m.pack_range(c.REJECT, 0, 0, BLOCK),
    m.pack_index(c.ALLOWED_FAST, 1),
]


@pytest.mark.parametrize("message", FAST_MESSAGES)
@pytest.mark.parametrize(("ours", "theirs"), [(PLAIN, PLAIN), (PLAIN, FAST), (FAST, PLAIN)])
def test_a_fast_message_without_agreement_closes_the_wire(message, ours, theirs):
    offends(established(ours, theirs), message, message[4], 6)


def test_have_all_and_have_none_tell_every_piece():
    protocol = established(FAST)
    assert receive(protocol, m.pack_bare(c.HAVE_ALL)) == [(c.HAVE_ALL,)]
    assert protocol.peer_pieces.has_all
    assert receive(protocol, m.pack_bare(c.HAVE_NONE)) == [(c.HAVE_NONE,)]
    assert not protocol.peer_pieces.bits.any()


def test_a_suggestion_is_an_event_and_a_senseless_one_is_ignored():
    protocol = established(FAST)
    assert receive(protocol, m.pack_index(c.SUGGEST, 3) + m.pack_index(c.SUGGEST, 10)) == [(c.SUGGEST, 3)]


def test_senseless_allowed_fast_advice_is_ignored():
    protocol = established(FAST)
    data = b"".join(m.pack_index(c.ALLOWED_FAST, piece) for piece in (3, 3, 10, 2**32 - 1))
    assert receive(protocol, data) == [(c.ALLOWED_FAST, 3)]
    assert protocol.peer_allowed_fast_set == {3}


def test_allowed_fast_does_not_count_as_a_have():
    protocol = established(FAST)
    receive(protocol, m.pack_bare(c.HAVE_NONE) + m.pack_index(c.ALLOWED_FAST, 3))
    assert 3 not in protocol.peer_pieces
    refused_locally(protocol, protocol.send_request, 3, 0, BLOCK, "t", error=PieceNotAvailable)


def test_the_peers_allowed_fast_set_is_bounded():
    protocol = established(FAST, geometry=Geometry(1000, 1))
    receive(protocol, b"".join(m.pack_index(c.ALLOWED_FAST, piece) for piece in range(1000)))
    assert len(protocol.peer_allowed_fast_set) == limits.ALLOWED_FAST_KEPT == 100


def test_early_allowed_fast_advice_is_cut_to_the_torrent():
    protocol = established(FAST, geometry=None)
    receive(protocol, m.pack_index(c.ALLOWED_FAST, 9) + m.pack_index(c.ALLOWED_FAST, 10))
    protocol.set_pieces(10)
    assert protocol.peer_allowed_fast_set == {9}


# ---------------------------------------------------------------------- the extension protocol


def test_the_extended_handshake_follows_the_handshakes_by_itself():
    protocol = PeerProtocol()
    protocol.extended_mapping = {1: "ut_pex", 2: "ut_metadata"}
    protocol.extended_handshake["v"] = "geventbt"
    protocol.send_handshake(handshake(b"o" * 20, EXTENDED))
    protocol.take_outgoing()
    receive(protocol, handshake(extensions=EXTENDED).to_bytes())
    sent = taken(protocol)
    assert sent[4:6] == b"\x14\x00"
    assert decode(sent[6:]) == {
        b"m": {b"ut_pex": 1, b"ut_metadata": 2},
        b"reqq": limits.PEER_REQUESTS,
        b"v": b"geventbt",
    }


def test_no_extended_handshake_goes_to_a_peer_without_the_protocol():
    protocol = PeerProtocol()
    protocol.send_handshake(handshake(b"o" * 20, EXTENDED))
    protocol.take_outgoing()
    receive(protocol, handshake().to_bytes())
    assert taken(protocol) == b""


def test_the_peers_mapping_names_the_ids_that_we_send():
    protocol = established(EXTENDED)
    payload = encode({"m": {"ut_pex": 7, "LT_metadata": 255}, "v": "x"})
    assert receive(protocol, m.pack_extended(0, payload)) == [(c.EXTENDED, 0, payload)]
    assert protocol.peer_extended_mapping == {"ut_pex": 7, "LT_metadata": 255}
    assert protocol.peer_extended_handshake == {"m": {"ut_pex": 7, "LT_metadata": 255}, "v": "x"}
    protocol.send_extended("LT_metadata", b"de")
    assert taken(protocol) == m.pack_extended(255, b"de")
    refused_locally(protocol, protocol.send_extended, "ut_metadata", b"de")


def test_an_id_of_0_switches_an_extension_off():
    protocol = established(EXTENDED)
    receive(protocol, m.pack_extended(0, encode({"m": {"ut_pex": 7, "ut_metadata": 8}})))
    receive(protocol, m.pack_extended(0, encode({"m": {"ut_pex": 0}})))
    assert protocol.peer_extended_mapping == {"ut_metadata": 8}
    refused_locally(protocol, protocol.send_extended, "ut_pex", b"de")
    receive(protocol, m.pack_extended(0, encode({"m": {"ut_pex": 9}})))
    assert protocol.peer_extended_mapping == {"ut_metadata": 8, "ut_pex": 9}


def test_a_later_extended_handshake_adds_to_the_earlier_one():
    protocol = established(EXTENDED)
    receive(protocol, m.pack_extended(0, encode({"m": {"ut_pex": 7}, "v": "old", "p": 1})))
    receive(protocol, m.pack_extended(0, encode({"v": "new", "reqq": 10})))
    assert protocol.peer_extended_handshake == {"m": {"ut_pex": 7}, "v": "new", "p": 1, "reqq": 10}
    assert protocol.request_limit == 10


def test_an_extended_message_that_no_peer_would_take_is_refused():
    protocol = established(EXTENDED)
    receive(protocol, m.pack_extended(0, encode({"m": {"ut_pex": 7}})))
    refused_locally(protocol, protocol.send_extended, "ut_pex", bytes(limits.MESSAGE))
    protocol.send_extended("ut_pex", bytes(limits.MESSAGE - 1))
    assert len(taken(protocol)) == 5 + limits.MESSAGE


@pytest.mark.parametrize("payload", [b"", b"le", b"i1e", b"d", b"d1:ai1e-6:", b"d1:x" + b"l" * 40 + b"e" * 41])
def test_a_broken_extended_handshake_says_nothing_and_the_wire_stays_open(payload):
    protocol = established(EXTENDED)
    assert receive(protocol, m.pack_extended(0, payload)) == [(c.EXTENDED, 0, payload)]
    assert protocol.peer_extended_handshake.get("m", {}) == {}
    assert receive(protocol, m.pack_extended(0, b"d1:pi6881ee")) == [(c.EXTENDED, 0, b"d1:pi6881ee")]
    assert protocol.peer_extended_handshake["p"] == 6881


def test_a_message_of_an_extension_is_an_event_even_with_an_unknown_id():
    protocol = established(EXTENDED)
    assert receive(protocol, m.pack_extended(99, b"junk")) == [(c.EXTENDED, 99, b"junk")]


@pytest.mark.parametrize(("ours", "theirs"), [(PLAIN, PLAIN), (PLAIN, EXTENDED), (EXTENDED, PLAIN)])
def test_without_agreement_an_extended_message_is_an_unknown_one_with_its_whole_payload(ours, theirs):
    protocol = established(ours, theirs)
    assert receive(protocol, m.pack_extended(0, b"d1:pi1ee")) == [(c.UNKNOWN, c.EXTENDED, b"\0d1:pi1ee")]
    assert protocol.peer_extended_handshake == {}


def test_a_repeated_mapping_changes_nothing():
    protocol = established(EXTENDED)
    names = {f"x{number}": number for number in range(1, 201)}
    for _ in range(2):
        receive(protocol, m.pack_extended(0, encode({"m": names})))
    receive(protocol, m.pack_extended(0, encode({"m": {**names, "x1": 0}})))
    assert "x1" not in protocol.peer_extended_mapping
    assert len(protocol.peer_extended_mapping) == 199


def test_mappings_are_bounded():
    protocol = established(EXTENDED)
    for start in range(0, 10_000, 100):
        names = {f"x{number}": number % 255 + 1 for number in range(start, start + 100)}
        receive(protocol, m.pack_extended(0, encode({"m": names})))
    assert len(protocol.peer_extended_mapping) <= 256


def test_extended_handshakes_do_not_add_up():
    """Each has other unknown keys; the memory for them must not grow."""
    protocol = established(EXTENDED)
    tracemalloc.start()
    try:
        for number in range(10):
            keys = {f"key {number}.{other}": bytes(1000) for other in range(500)}
            receive(protocol, m.pack_extended(0, encode(keys)))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 2 * limits.MESSAGE


# ---------------------------------------------------------------------- BitTorrent v2


HASH_MESSAGES = [
    (c.HASH_REQUEST, bytes(32), 0, 0, 2, 0),
    (c.HASHES, bytes(32), 0, 0, 2, 0, bytes(64)),
    (c.HASH_REJECT, bytes(32), 0, 0, 2, 0),
]


@pytest.mark.parametrize("message", HASH_MESSAGES)
def test_hash_messages_pass_both_ways_when_agreed(message):
    protocol = established(ALL)
    protocol.send_hash_message(*message)
    sent = taken(protocol)
    assert receive(protocol, sent) == [message]


@pytest.mark.parametrize("message", HASH_MESSAGES)
def test_without_agreement_a_hash_message_is_an_unknown_one(message):
    packed = m.pack_hash_range(*message)
    assert receive(established(), packed) == [(c.UNKNOWN, message[0], packed[5:])]


@pytest.mark.parametrize(
    "fields",
    [
        (c.HASH_REQUEST, bytes(31), 0, 0, 2, 0),
        (c.HASH_REQUEST, bytes(33), 0, 0, 2, 0),
        (c.HASH_REQUEST, bytes(32), -1, 0, 2, 0),
        (c.HASH_REQUEST, bytes(32), 0, 2**32, 2, 0),
        (c.HASH_REQUEST, bytes(32), 0, 0, 2, 0, bytes(32)),
        (c.HASHES, bytes(32), 0, 0, 2, 0, bytes(33)),
        (c.HASHES, bytes(32), 0, 0, 2, 0, bytes(2 * limits.MESSAGE)),
        (c.CHOKE, bytes(32), 0, 0, 2, 0),
    ],
)
def test_a_hash_message_that_no_peer_would_take_is_refused(fields):
    protocol = established(ALL)
    refused_locally(protocol, protocol.send_hash_message, *fields)
