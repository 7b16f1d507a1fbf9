"""Our requests: which may be sent, and the single outcome of each (BEP 3, 6, 54)."""

from __future__ import annotations

import tracemalloc

import pytest

from geventbt import limits
from geventbt.bencoding import encode
from geventbt.errors import (
    LocalProtocolError,
    PeerChoking,
    PieceNotAvailable,
    RequestRejected,
)
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.connection import FAILED, LATE
from tests.unit.protocol_helpers import (
    BLOCK,
    EXTENDED,
    FAST,
    RANGES,
    established,
    failures,
    offends,
    piece_bytes,
    receive,
    refused_locally,
    taken,
    unchoked,
)

# ---------------------------------------------------------------------- our requests


def test_a_block_ends_its_request_with_its_token():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "first")
    protocol.send_request(0, BLOCK, BLOCK, "second")
    events = receive(protocol, piece_bytes(0, BLOCK, b"2" * BLOCK) + piece_bytes(0, 0, b"1" * BLOCK))
    assert events == [(c.PIECE, 0, BLOCK, b"2" * BLOCK, "second"), (c.PIECE, 0, 0, b"1" * BLOCK, "first")]
    assert not protocol.requests
    assert protocol.downloaded == 2 * BLOCK


@pytest.mark.parametrize("token", [None, 0, "", False])
def test_any_token_will_do(token):
    protocol = unchoked(FAST)
    for offset in (0, 1, 2, 3):
        protocol.send_request(0, offset * BLOCK, BLOCK, token)
    protocol.take_outgoing()
    assert receive(protocol, piece_bytes(0, 0, b"x" * BLOCK)) == [(c.PIECE, 0, 0, b"x" * BLOCK, token)]
    events = receive(protocol, m.pack_range(c.REJECT, 0, BLOCK, BLOCK))
    assert failures(events) == [((0, BLOCK, BLOCK), token, RequestRejected)]
    protocol.send_cancel(0, 2 * BLOCK, BLOCK)
    assert taken(protocol) == m.pack_range(c.CANCEL, 0, 2 * BLOCK, BLOCK)
    assert failures(protocol.lose_piece(0)) == [((0, 3 * BLOCK, BLOCK), token, PieceNotAvailable)]


def test_requests_are_refused_while_the_peer_chokes_us():
    protocol = established()
    refused_locally(protocol, protocol.send_request, 0, 0, BLOCK, "t", error=PeerChoking)
    refused_locally(protocol, protocol.send_requests, 0, 0, BLOCK, 1, "t", error=PeerChoking)


@pytest.mark.parametrize("key", RANGES)
def test_a_request_for_no_such_range_is_refused(key):
    protocol = unchoked()
    refused_locally(protocol, protocol.send_request, *key, "t")


@pytest.mark.parametrize(
    "key", [(-1, 0, 1), (2**32, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, -1), (0, 2**32, 1), (0, 2**40, 1)]
)
def test_a_request_for_no_range_of_any_torrent_is_refused(key):
    protocol = unchoked(geometry=None)
    refused_locally(protocol, protocol.send_request, *key, "t")


@pytest.mark.parametrize("offset", [2**32, 2**32 - BLOCK])
def test_requests_for_no_range_of_any_torrent_are_refused(offset):
    protocol = unchoked(geometry=None)
    refused_locally(protocol, protocol.send_requests, 0, offset, offset + 2 * BLOCK, 2, "t")


@pytest.mark.parametrize(
    ("offset", "end"), [(-1, BLOCK), (0, 4 * BLOCK + 1), (3 * BLOCK, 5 * BLOCK), (2**32, 2**32 + 1)]
)
def test_requests_for_no_such_range_are_refused(offset, end):
    protocol = unchoked()
    refused_locally(protocol, protocol.send_requests, 0, offset, end, 10, "t")


def test_a_request_of_16_kib_is_the_longest():
    protocol = unchoked()
    refused_locally(protocol, protocol.send_request, 0, 0, BLOCK + 1, "t")
    protocol.send_request(0, 0, BLOCK, "t")
    assert list(protocol.requests) == [(0, 0, BLOCK)]


def test_a_piece_that_the_peer_lacks_is_not_asked_for():
    protocol = unchoked()
    protocol.send_request(3, 0, BLOCK, "a peer that has told nothing may have it")
    receive(protocol, m.pack_bitfield(b"\x80\x00"))
    protocol.send_request(0, 0, BLOCK, "t")
    refused_locally(protocol, protocol.send_request, 3, BLOCK, BLOCK, "t", error=PieceNotAvailable)
    refused_locally(protocol, protocol.send_requests, 3, BLOCK, 2 * BLOCK, 1, "t", error=PieceNotAvailable)
    receive(protocol, m.pack_index(c.HAVE, 3))
    protocol.send_request(3, BLOCK, BLOCK, "t")


def test_the_request_limit_is_250_until_the_peer_announces_its_reqq():
    protocol = established(EXTENDED)
    assert protocol.request_limit == 250
    for told, limit in [(100, 100), (500, 500), (2000, 500), (1, 1)]:
        receive(protocol, m.pack_extended(0, encode({"reqq": told})))
        assert protocol.request_limit == limit


def test_no_more_requests_than_the_limit_are_forgotten_at_once_without_blame():
    """An honest peer of the fast extension rejects each request that its choke has ended, however many there were."""
    protocol = unchoked(FAST)
    sent = []
    for offset in range(2 * limits.FORGOTTEN_REQUESTS):
        try:
            protocol.send_request(0, offset, 1, "t")
        except LocalProtocolError:
            break
        sent.append((0, offset, 1))
    receive(protocol, m.pack_bare(c.CHOKE))
    receive(protocol, b"".join(m.pack_range(c.REJECT, *key) for key in sent))


# ---------------------------------------------------------------------- many requests at once


@pytest.mark.parametrize(
    ("piece", "offset", "end", "count"),
    [
        (0, 0, 4 * BLOCK, 4),
        (0, 0, 4 * BLOCK, 3),
        (0, 0, 4 * BLOCK, 100),
        (0, 100, 3 * BLOCK, 10),
        (9, 0, 4 * BLOCK - 100, 10),
        (0, 0, 1, 1),
        (0, 0, BLOCK, 0),
        (0, BLOCK, BLOCK, 5),
        (0, 0, BLOCK, -1),
    ],
)
def test_send_requests_equals_a_send_request_for_each_block(piece, offset, end, count):
    many, one_by_one = unchoked(), unchoked()
    following = many.send_requests(piece, offset, end, count, "t")
    at = offset
    for _ in range(count):
        if at >= end:
            break
        length = min(BLOCK, end - at)
        one_by_one.send_request(piece, at, length, "t")
        at += length
    assert following == at
    assert many.requests == one_by_one.requests
    assert list(many.requests) == list(one_by_one.requests)
    assert taken(many) == taken(one_by_one)


def test_send_requests_stops_before_a_block_that_is_pending():
    protocol = unchoked()
    protocol.send_request(0, 2 * BLOCK, BLOCK, "other")
    protocol.take_outgoing()
    assert protocol.send_requests(0, 0, 4 * BLOCK, 4, "mine") == 2 * BLOCK
    assert protocol.requests == {(0, 2 * BLOCK, BLOCK): "other", (0, 0, BLOCK): "mine", (0, BLOCK, BLOCK): "mine"}
    assert len(taken(protocol)) == 2 * 17
    assert protocol.send_requests(0, 2 * BLOCK, 4 * BLOCK, 4, "mine") == 2 * BLOCK
    assert taken(protocol) == b""


# ---------------------------------------------------------------------- how our requests end


def test_choke_fails_pending_requests():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "first")
    protocol.send_request(1, 0, BLOCK, "second")
    events = receive(protocol, m.pack_bare(c.CHOKE))
    assert events[0] == (c.CHOKE,)
    assert failures(events) == [((0, 0, BLOCK), "first", PeerChoking), ((1, 0, BLOCK), "second", PeerChoking)]
    assert not protocol.requests


def test_a_choke_leaves_it_to_the_peer_to_answer_each_request_with_the_fast_extension():
    """BEP 6: a choke no longer implies that all requests are rejected."""
    protocol = unchoked(FAST)
    receive(protocol, m.pack_index(c.ALLOWED_FAST, 1))
    for piece, token in enumerate(("rejected", "allowed fast", "sent all the same")):
        protocol.send_request(piece, 0, BLOCK, token)
    assert failures(receive(protocol, m.pack_bare(c.CHOKE))) == []
    assert len(protocol.requests) == 3
    assert failures(receive(protocol, m.pack_range(c.REJECT, 0, 0, BLOCK))) == [
        ((0, 0, BLOCK), "rejected", PeerChoking)
    ]
    assert receive(protocol, piece_bytes(1, 0, b"x" * BLOCK))[0][4] == "allowed fast"
    assert receive(protocol, piece_bytes(2, 0, b"x" * BLOCK))[0][4] == "sent all the same"
    assert protocol.wasted == 0


def test_a_choke_ends_all_requests_without_the_fast_extension():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "t")
    protocol.send_request(1, 0, BLOCK, "u")
    ended = failures(receive(protocol, m.pack_bare(c.CHOKE)))
    assert ended == [((0, 0, BLOCK), "t", PeerChoking), ((1, 0, BLOCK), "u", PeerChoking)]


@pytest.mark.parametrize("how", ["choke", "cancel", "give up", "lost piece"])
@pytest.mark.parametrize("is_of_use", [True, False])
def test_a_late_block_is_yielded_where_it_is_of_use_and_otherwise_wasted(how, is_of_use):
    protocol = unchoked()
    protocol.takes_late_blocks = is_of_use
    protocol.send_request(0, 0, BLOCK, "t")
    if how == "choke":
        receive(protocol, m.pack_bare(c.CHOKE))
    elif how == "cancel":
        protocol.send_cancel(0, 0, BLOCK)
    elif how == "give up":
        assert protocol.give_up_request(0, 0, BLOCK) == "t"
    else:
        protocol.lose_piece(0)
    events = receive(protocol, piece_bytes(0, 0, b"x" * BLOCK))
    assert events == ([(LATE, 0, 0, b"x" * BLOCK)] if is_of_use else [])
    assert (protocol.downloaded, protocol.wasted) == ((BLOCK, 0) if is_of_use else (0, BLOCK))
    assert receive(protocol, piece_bytes(0, 0, b"x" * BLOCK)) == [], "the second copy was never asked for"


def test_a_copy_of_a_block_that_is_here_is_cancelled():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "t")
    protocol.give_up_request(0, 0, BLOCK)
    protocol.send_request(0, 0, BLOCK, "again")
    protocol.take_outgoing()
    assert receive(protocol, piece_bytes(0, 0, b"x" * BLOCK))[0][4] == "again"
    assert taken(protocol) == m.pack_range(c.CANCEL, 0, 0, BLOCK)


def test_however_many_requests_were_given_up_their_answers_are_no_offence():
    protocol = unchoked()
    keys = [(piece, offset * 4, 4) for piece in range(8) for offset in range(limits.FORGOTTEN_REQUESTS)]
    for key in keys:
        protocol.send_request(*key, "t")
        protocol.send_cancel(*key)
    for piece, offset, _ in keys:
        receive(protocol, piece_bytes(piece, offset, b"late"))
    assert protocol.wasted == 4 * len(keys)


def test_the_block_under_way_is_known_if_it_was_asked_for():
    protocol = unchoked()
    protocol.send_request(1, 0, BLOCK, "t")
    message = piece_bytes(1, 0, b"x" * BLOCK)
    receive(protocol, message[:12])
    assert protocol.block_under_way is None
    receive(protocol, message[12:100])
    assert protocol.block_under_way == (1, 0, BLOCK)
    protocol.give_up_request(1, 0, BLOCK)
    assert protocol.block_under_way == (1, 0, BLOCK)
    receive(protocol, message[100:] + piece_bytes(2, 0, b"never asked for")[:20])
    assert protocol.block_under_way is None


@pytest.mark.parametrize("message_id", [c.CHOKE, c.UNCHOKE, c.INTERESTED, c.UNINTERESTED])
def test_too_many_changes_of_state_in_one_time_are_an_offence(message_id):
    protocol = unchoked()
    for _ in range(3):
        protocol.forgive_state_messages()
        receive(protocol, m.pack_bare(message_id) * limits.STATE_MESSAGES)
    offends(protocol, m.pack_bare(message_id), message_id)


@pytest.mark.parametrize("message_id", [c.HAVE_ALL, c.HAVE_NONE])
def test_too_many_bitfields_are_an_offence(message_id):
    protocol = unchoked(FAST)
    receive(protocol, m.pack_bare(message_id) * limits.WHOLE_BITFIELDS)
    protocol.forgive_state_messages()
    offends(protocol, m.pack_bare(message_id), message_id)


def test_an_allowed_fast_piece_may_be_asked_for_while_choked():
    protocol = established(FAST)
    receive(protocol, m.pack_index(c.ALLOWED_FAST, 1))
    assert protocol.may_request(1)
    assert not protocol.may_request(0)
    protocol.send_request(1, 0, BLOCK, "t")
    assert protocol.send_requests(1, BLOCK, 3 * BLOCK, 2, "t") == 3 * BLOCK
    refused_locally(protocol, protocol.send_request, 0, 0, BLOCK, "t", error=PeerChoking)


def test_a_listener_to_a_failure_may_cancel_the_other_requests():
    """A caller with several requests cancels the others at the first failure, before the other events."""
    protocol = unchoked()
    for offset in range(3):
        protocol.send_request(0, offset * BLOCK, BLOCK, "t")
    failed = []
    for event in protocol.receive(m.pack_bare(c.CHOKE)):
        if event[0] == FAILED:
            failed.append(event[1])
            for key in list(protocol.requests):
                protocol.send_cancel(*key)
    assert failed == [(0, 0, BLOCK)]
    assert not protocol.requests


def test_late_blocks_after_a_choke_are_dropped_without_blame():
    protocol = unchoked()
    for offset in range(300):
        protocol.send_request(0, offset, 1, "t")
    receive(protocol, m.pack_bare(c.CHOKE))
    assert receive(protocol, b"".join(piece_bytes(0, offset, b"x") for offset in range(300))) == []
    assert protocol.downloaded == 0


def test_late_rejects_of_what_was_cancelled_are_dropped_without_blame():
    protocol = unchoked(FAST)
    for offset in range(300):
        protocol.send_request(0, offset, 1, "t")
        protocol.send_cancel(0, offset, 1)
    assert receive(protocol, b"".join(m.pack_range(c.REJECT, 0, offset, 1) for offset in range(300))) == []


def test_a_forgotten_request_excuses_one_answer():
    protocol = unchoked()
    protocol.send_request(0, 0, 1, "t")
    receive(protocol, m.pack_bare(c.CHOKE))
    receive(protocol, piece_bytes(0, 0, b"x"))
    receive(protocol, piece_bytes(0, 0, b"x") * limits.UNWANTED_ANSWERS)
    offends(protocol, piece_bytes(0, 0, b"x"), c.PIECE)


def test_a_request_given_up_twice_excuses_two_answers():
    protocol = unchoked()
    for _ in range(limits.UNWANTED_ANSWERS + 10):
        for _ in range(2):
            protocol.send_request(0, 0, 1, "t")
            protocol.send_cancel(0, 0, 1)
        assert receive(protocol, piece_bytes(0, 0, b"x") * 2) == []


def test_forgotten_requests_are_bounded():
    protocol = unchoked()
    tracemalloc.start()
    try:
        for offset in range(limits.FORGOTTEN_REQUESTS):
            protocol.send_request(0, offset, 1, "t")
            protocol.send_cancel(0, offset, 1)
            protocol.take_outgoing()
        full, _ = tracemalloc.get_traced_memory()
        for offset in range(limits.FORGOTTEN_REQUESTS, 10 * limits.FORGOTTEN_REQUESTS):
            protocol.send_request(offset // 10_000, offset, 1, "t")
            protocol.send_cancel(offset // 10_000, offset, 1)
            protocol.take_outgoing()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < full * 3


def test_blocks_that_were_never_asked_for_are_bounded():
    protocol = unchoked()
    for offset in range(limits.UNWANTED_ANSWERS):
        assert receive(protocol, piece_bytes(0, offset, b"x")) == []
    offends(protocol, piece_bytes(0, 0, b"x"), c.PIECE, 3)


def test_rejects_that_were_never_asked_for_are_bounded():
    protocol = unchoked(FAST)
    for offset in range(limits.UNWANTED_ANSWERS):
        assert receive(protocol, m.pack_range(c.REJECT, 0, offset, 1)) == []
    offends(protocol, m.pack_range(c.REJECT, 0, 0, 1), c.REJECT, 6)


def test_a_block_of_another_length_does_not_answer_the_request():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "t")
    assert receive(protocol, piece_bytes(0, 0, b"x" * (BLOCK - 1))) == []
    assert list(protocol.requests) == [(0, 0, BLOCK)]


def test_cancel_returns_the_token_and_sends_a_cancel():
    protocol = unchoked()
    protocol.send_request(0, 0, BLOCK, "t")
    protocol.take_outgoing()
    assert protocol.send_cancel(0, 0, BLOCK) == "t"
    assert taken(protocol) == m.pack_range(c.CANCEL, 0, 0, BLOCK)
    assert protocol.send_cancel(0, 0, BLOCK) is None
    assert taken(protocol) == b""
    assert receive(protocol, piece_bytes(0, 0, b"x" * BLOCK)) == []


def test_a_reject_ends_the_request():
    protocol = unchoked(FAST)
    protocol.send_request(0, 0, BLOCK, "t")
    events = receive(protocol, m.pack_range(c.REJECT, 0, 0, BLOCK))
    assert events[0] == (c.REJECT, 0, 0, BLOCK)
    assert failures(events) == [((0, 0, BLOCK), "t", RequestRejected)]
    assert not protocol.requests


def test_a_reject_of_a_cancelled_request_does_not_end_its_successor():
    """Each request has exactly one answer (BEP 6), and TCP keeps their order."""
    protocol = unchoked(FAST)
    protocol.send_request(0, 0, BLOCK, "first")
    protocol.send_cancel(0, 0, BLOCK)
    protocol.send_request(0, 0, BLOCK, "second")
    assert failures(receive(protocol, m.pack_range(c.REJECT, 0, 0, BLOCK))) == []
    assert receive(protocol, piece_bytes(0, 0, b"x" * BLOCK))[0][4] == "second"


def test_a_request_rejected_while_choked_is_allowed_fast_no_longer():
    protocol = established(FAST)
    receive(protocol, m.pack_index(c.ALLOWED_FAST, 1))
    protocol.send_request(1, 0, BLOCK, "t")
    receive(protocol, m.pack_range(c.REJECT, 1, 0, BLOCK))
    refused_locally(protocol, protocol.send_request, 1, BLOCK, BLOCK, "t", error=PeerChoking)


def test_a_lost_piece_fails_its_pending_requests_and_no_others():
    protocol = unchoked()
    receive(protocol, m.pack_bitfield(b"\xff\xc0"))
    protocol.send_request(0, 0, BLOCK, "stays")
    protocol.send_request(1, 0, BLOCK, "goes")
    assert failures(protocol.lose_piece(1)) == [((1, 0, BLOCK), "goes", PieceNotAvailable)]
    assert protocol.requests == {(0, 0, BLOCK): "stays"}
    assert 1 not in protocol.peer_pieces
    refused_locally(protocol, protocol.send_request, 1, 0, BLOCK, "t", error=PieceNotAvailable)
    assert receive(protocol, piece_bytes(1, 0, b"x" * BLOCK)) == []


@pytest.mark.parametrize("piece", [-1, 10, 2**32 - 1])
def test_a_lost_piece_that_does_not_exist_is_ignored(piece):
    protocol = unchoked()
    assert protocol.lose_piece(piece) == []
