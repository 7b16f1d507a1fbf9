"""`PeerProtocol`, driven by bytes alone: handshakes, the order of messages, the state of BEP 3, and its contract."""

from __future__ import annotations

import tracemalloc

import pytest
from bitarray import bitarray

from geventbt import limits
from geventbt.errors import (
    HandshakeError,
    RemoteProtocolError,
)
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.connection import PeerProtocol
from geventbt.protocol.handshake import Handshake
from tests.unit.protocol_helpers import (
    ALL,
    BLOCK,
    EXTENDED,
    FAST,
    INFO_HASH,
    PLAIN,
    established,
    handshake,
    offends,
    piece_bytes,
    receive,
    refused_locally,
    taken,
    unchoked,
    unchoking,
)

# ---------------------------------------------------------------------- handshakes


def test_our_handshake_goes_out_as_its_68_bytes():
    protocol = PeerProtocol()
    protocol.send_handshake(handshake(b"o" * 20, FAST))
    assert taken(protocol) == handshake(b"o" * 20, FAST).to_bytes()
    assert not protocol.established


def test_the_peers_handshake_is_an_event():
    protocol = PeerProtocol()
    assert receive(protocol, handshake(extensions=FAST).to_bytes()) == [(c.HANDSHAKE, INFO_HASH, b"p" * 20, FAST)]
    assert protocol.handshake_received == handshake(extensions=FAST)
    assert not protocol.established
    assert taken(protocol) == b""


def test_both_handshakes_establish_the_connection_in_either_order():
    first, second = PeerProtocol(), PeerProtocol()
    first.send_handshake(handshake(b"o" * 20))
    receive(first, handshake().to_bytes())
    receive(second, handshake().to_bytes())
    second.send_handshake(handshake(b"o" * 20))
    assert first.established
    assert second.established


def test_only_extensions_of_both_sides_are_agreed_on():
    assert established(ALL, PLAIN).agreed == PLAIN
    assert established(PLAIN, ALL).agreed == PLAIN
    assert established(ALL, FAST).agreed == FAST
    assert established(ALL, ALL).agreed == ALL


def test_a_second_handshake_of_ours_is_refused():
    protocol = established()
    refused_locally(protocol, protocol.send_handshake, handshake(b"o" * 20))


@pytest.mark.parametrize("wrong", [handshake(info_hash=b"x" * 20), handshake(b"o" * 20)])
def test_another_torrent_or_our_own_peer_id_is_refused_when_it_arrives(wrong):
    protocol = PeerProtocol()
    protocol.send_handshake(handshake(b"o" * 20))
    with pytest.raises(HandshakeError):
        receive(protocol, wrong.to_bytes())
    assert protocol.handshake_received is None
    assert not protocol.established


@pytest.mark.parametrize("wrong", [handshake(info_hash=b"x" * 20), handshake(b"o" * 20)])
def test_another_torrent_or_our_own_peer_id_is_refused_when_we_answer(wrong):
    protocol = PeerProtocol()
    receive(protocol, wrong.to_bytes())
    refused_locally(protocol, protocol.send_handshake, handshake(b"o" * 20), error=HandshakeError)


def test_an_unknown_torrent_is_refused():
    protocol = PeerProtocol(is_known_torrent=lambda info_hash: info_hash == b"x" * 20)
    with pytest.raises(HandshakeError):
        receive(protocol, handshake().to_bytes())
    assert protocol.handshake_received is None
    known = PeerProtocol(is_known_torrent=lambda info_hash: info_hash == INFO_HASH)
    assert len(receive(known, handshake().to_bytes())) == 1


def test_another_protocol_is_refused():
    with pytest.raises(HandshakeError) as caught:
        receive(PeerProtocol(), b"\x13BitTorrent Protocol")
    assert (caught.value.message_id, caught.value.bep) == (None, 3)


@pytest.mark.parametrize(
    ("info_hash", "peer_id"), [(b"i" * 19, b"o" * 20), (b"i" * 32, b"o" * 20), (INFO_HASH, b"o" * 21)]
)
def test_a_handshake_of_the_wrong_size_never_goes_out(info_hash, peer_id):
    protocol = PeerProtocol()
    refused_locally(protocol, protocol.send_handshake, Handshake(info_hash, peer_id))


# ---------------------------------------------------------------------- the order of the first messages


def everything(protocol):
    """Every send, with valid arguments."""
    return [
        (protocol.send_choke,),
        (protocol.send_unchoke,),
        (protocol.send_interested,),
        (protocol.send_uninterested,),
        (protocol.send_have, 1),
        (protocol.send_bitfield, b"\xff\xc0"),
        (protocol.send_bitfield, bitarray(10)),
        (protocol.send_request, 0, 0, BLOCK, "token"),
        (protocol.send_requests, 0, 0, 2 * BLOCK, 2, "token"),
        (protocol.send_port, 6881),
        (protocol.send_keep_alive,),
        (protocol.send_suggest, 1),
        (protocol.send_have_all,),
        (protocol.send_have_none,),
        (protocol.send_reject, 0, 0, BLOCK),
        (protocol.send_allowed_fast, 1),
        (protocol.send_extended_handshake,),
        (protocol.send_extended, "ut_pex", b"de"),
        (protocol.send_hash_message, c.HASH_REQUEST, bytes(32), 0, 0, 2, 0),
    ]


def test_nothing_goes_out_before_our_handshake():
    protocol = PeerProtocol()
    for call, *args in everything(protocol):
        refused_locally(protocol, call, *args)


def test_nothing_goes_out_before_our_handshake_whatever_the_peer_has_said():
    protocol = PeerProtocol()
    said = m.pack_bare(c.UNCHOKE) + m.pack_bare(c.HAVE_ALL) + m.pack_index(c.ALLOWED_FAST, 0)
    said += m.pack_extended(0, b"d1:md6:ut_pexi1eee")
    receive(protocol, handshake(extensions=ALL).to_bytes() + said)
    for call, *args in everything(protocol):
        refused_locally(protocol, call, *args)


def test_messages_of_extensions_need_the_peers_handshake_first():
    protocol = PeerProtocol()
    protocol.send_handshake(handshake(b"o" * 20, ALL))
    for call, *args in everything(protocol)[11:]:
        refused_locally(protocol, call, *args)


def test_without_agreement_no_message_of_an_extension_goes_out():
    protocol = established(ALL, PLAIN)
    for call, *args in everything(protocol)[11:]:
        refused_locally(protocol, call, *args)


def test_messages_right_behind_the_peers_handshake_are_taken_before_ours_is_sent():
    protocol = PeerProtocol()
    early = m.pack_bare(c.HAVE_ALL) + m.pack_index(c.ALLOWED_FAST, 3) + m.pack_extended(0, b"d1:md6:ut_pexi7eee")
    events = receive(protocol, handshake(extensions=ALL).to_bytes() + early + m.pack_bare(c.INTERESTED))
    assert [event[0] for event in events] == [c.HANDSHAKE, c.HAVE_ALL, c.ALLOWED_FAST, c.EXTENDED, c.INTERESTED]
    assert protocol.peer_pieces.has_all
    assert protocol.peer_allowed_fast_set == {3}
    assert protocol.peer_interested
    protocol.send_handshake(handshake(b"o" * 20, ALL))
    assert protocol.peer_extended_mapping == {"ut_pex": 7}


@pytest.mark.parametrize(
    "message", [m.pack_bare(c.HAVE_ALL), m.pack_index(c.ALLOWED_FAST, 3), m.pack_index(c.SUGGEST, 3)]
)
def test_an_early_fast_message_without_the_peers_own_promise_is_a_violation(message):
    offends(PeerProtocol(), handshake(extensions=EXTENDED).to_bytes() + message, message[4], 6)


def test_an_early_request_is_not_answered():
    protocol = PeerProtocol()
    events = receive(protocol, handshake(extensions=FAST).to_bytes() + m.pack_range(c.REQUEST, 0, 0, BLOCK))
    assert len(events) == 1
    assert not protocol.peer_requests
    assert taken(protocol) == b""


# ---------------------------------------------------------------------- golden bytes of every send


def test_every_send_has_its_golden_bytes():
    protocol = unchoking(ALL)
    receive(protocol, m.pack_bare(c.UNCHOKE) + m.pack_extended(0, b"d1:md6:ut_pexi5eee"))
    receive(protocol, m.pack_range(c.REQUEST, 1, 0, 3) + m.pack_range(c.REQUEST, 1, 3, 3))
    sends = [
        (protocol.send_interested, (), "0000000102"),
        (protocol.send_uninterested, (), "0000000103"),
        (protocol.send_have, (9,), "000000050400000009"),
        (protocol.send_bitfield, (bitarray("1111111111"),), "0000000305ffc0"),
        (protocol.send_bitfield, (b"\x80\x00",), "00000003058000"),
        (protocol.send_request, (9, 16384, 100, "t"), "0000000d06000000090000400000000064"),
        (protocol.send_cancel, (9, 16384, 100), "0000000d08000000090000400000000064"),
        (protocol.send_piece, (1, 0, b"abc"), "0000000c070000000100000000616263"),
        (protocol.send_reject, (1, 3, 3), "0000000d10000000010000000300000003"),
        (protocol.send_port, (6881,), "00000003091ae1"),
        (protocol.send_keep_alive, (), "00000000"),
        (protocol.send_suggest, (7,), "000000050d00000007"),
        (protocol.send_have_all, (), "000000010e"),
        (protocol.send_have_none, (), "000000010f"),
        (protocol.send_allowed_fast, (7,), "000000051100000007"),
        (protocol.send_extended, ("ut_pex", b"de"), "0000000414056465"),
        (protocol.send_choke, (), "0000000100"),
        (protocol.send_unchoke, (), "0000000101"),
    ]
    for send, args, golden in sends:
        send(*args)
        assert taken(protocol).hex() == golden, send.__name__


def test_a_little_endian_bitarray_goes_out_high_bit_first():
    protocol = established()
    protocol.send_bitfield(bitarray("1000000001", endian="little"))
    assert taken(protocol).hex() == "00000003058040"


def test_sending_a_bitarray_sets_the_number_of_pieces():
    protocol = established(geometry=None)
    protocol.send_bitfield(bitarray(10))
    assert protocol.peer_pieces.count == 10
    offends(protocol, m.pack_index(c.HAVE, 10), c.HAVE)


@pytest.mark.parametrize("wrong", [b"", b"\xff", b"\xff\xc0\x00", bitarray(9), bitarray(11), bitarray(), b"\xff\xff"])
def test_a_bitfield_that_is_none_of_this_torrent_is_refused(wrong):
    protocol = established()
    refused_locally(protocol, protocol.send_bitfield, wrong)


@pytest.mark.parametrize("wrong", [b"", bytes(limits.MESSAGE + 1)])
def test_a_bitfield_that_no_peer_would_take_is_refused(wrong):
    protocol = established(geometry=None)
    refused_locally(protocol, protocol.send_bitfield, wrong)


def test_a_bitarray_that_contradicts_the_peer_is_the_callers_error():
    protocol = established(geometry=None)
    receive(protocol, m.pack_bitfield(b"\xff\xff"))
    refused_locally(protocol, protocol.send_bitfield, bitarray(5))


@pytest.mark.parametrize("piece", [-1, 10, 2**32])
@pytest.mark.parametrize("send", ["send_have", "send_suggest", "send_allowed_fast"])
def test_a_piece_that_does_not_exist_is_not_talked_about(send, piece):
    protocol = established(ALL)
    refused_locally(protocol, getattr(protocol, send), piece)


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_does_not_exist_is_refused(port):
    protocol = established(ALL)
    refused_locally(protocol, protocol.send_port, port)


def test_a_state_that_is_so_already_is_not_sent_again():
    protocol = established()
    protocol.send_choke()
    protocol.send_uninterested()
    assert taken(protocol) == b""
    protocol.send_unchoke()
    protocol.send_interested()
    assert len(taken(protocol)) == 10
    protocol.send_unchoke()
    protocol.send_interested()
    assert taken(protocol) == b""


def test_outgoing_bytes_are_returned_once():
    protocol = established()
    protocol.send_interested()
    assert taken(protocol) != b""
    assert taken(protocol) == b""


def test_a_block_is_sent_without_a_copy():
    protocol = unchoking()
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, 4))
    block = memoryview(b"good")
    protocol.send_piece(0, 0, block)
    assert any(buffer is block for buffer in protocol.take_outgoing())


# ---------------------------------------------------------------------- choke and interest


def test_both_sides_start_choked_and_not_interested():
    protocol = established()
    assert (protocol.am_choking, protocol.am_interested) == (True, False)
    assert (protocol.peer_choking, protocol.peer_interested) == (True, False)


def test_the_peers_state_follows_its_messages():
    protocol = established()
    for message_id, attribute, value in [
        (c.UNCHOKE, "peer_choking", False),
        (c.INTERESTED, "peer_interested", True),
        (c.CHOKE, "peer_choking", True),
        (c.UNINTERESTED, "peer_interested", False),
    ]:
        assert receive(protocol, m.pack_bare(message_id)) == [(message_id,)]
        assert getattr(protocol, attribute) is value


def test_keep_alive_port_and_unknown_messages_pass():
    protocol = established()
    data = m.KEEP_ALIVE_BYTES + m.pack_port(6881) + bytes.fromhex("00000003630102")
    assert receive(protocol, data) == [(c.KEEP_ALIVE,), (c.PORT, 6881), (c.UNKNOWN, 99, b"\x01\x02")]


# ---------------------------------------------------------------------- the contract of receive


def test_messages_before_a_violation_are_returned_first():
    protocol = established()
    events = protocol.receive(m.pack_bare(c.UNCHOKE) + m.pack_index(c.HAVE, 3) + m.pack_index(c.HAVE, 10))
    assert [next(events), next(events)] == [(c.UNCHOKE,), (c.HAVE, 3)]
    with pytest.raises(RemoteProtocolError):
        next(events)


def test_missing_lets_a_reader_finish_the_block():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "t")
    data = piece_bytes(0, 0, b"x" * BLOCK)
    assert receive(protocol, data[:1000]) == []
    assert protocol.missing == len(data) - 1000
    assert len(receive(protocol, data[1000:])) == 1
    assert protocol.missing == 0


def test_a_new_connection_keeps_next_to_nothing():
    PeerProtocol()
    tracemalloc.start()
    try:
        protocols = [PeerProtocol() for _ in range(100)]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / len(protocols) < 8 * 1024
