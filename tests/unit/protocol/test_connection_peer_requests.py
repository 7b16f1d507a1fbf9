"""The peer's requests: queued, answered, rejected or a violation (BEP 3, 6)."""

from __future__ import annotations

import pytest

from geventbt import LocalProtocolError, limits
from geventbt.geometry import Geometry
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.unit.protocol_helpers import (
    BLOCK,
    FAST,
    PLAIN,
    RANGES,
    established,
    offends,
    piece_bytes,
    receive,
    taken,
    unchoking,
)


def test_a_request_is_held_and_answered():
    protocol = unchoking()
    assert receive(protocol, m.pack_range(c.REQUEST, 0, BLOCK, 4)) == [(c.REQUEST, 0, BLOCK, 4)]
    assert list(protocol.peer_requests) == list(protocol.unanswered_requests) == [(0, BLOCK, 4)]
    assert protocol.send_piece(0, BLOCK, b"good") is True
    assert taken(protocol) == piece_bytes(0, BLOCK, b"good")
    assert protocol.uploaded == 4
    assert not protocol.peer_requests
    assert not protocol.unanswered_requests


def test_a_block_that_was_not_requested_is_not_sent():
    protocol = unchoking()
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, 4))
    assert protocol.send_piece(0, 0, b"long block") is False
    assert protocol.send_piece(0, 4, b"good") is False
    assert protocol.send_piece(0, 0, b"good") is True
    assert protocol.send_piece(0, 0, b"good") is False
    assert taken(protocol) == piece_bytes(0, 0, b"good")
    assert protocol.uploaded == 4


def test_the_size_of_a_block_is_counted_in_bytes_whatever_its_items_are():
    protocol = unchoking()
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, 4))
    words = memoryview(b"four" * 4).cast("I")
    assert protocol.send_piece(0, 0, words) is False
    assert taken(protocol) == b""


def test_a_request_while_choked_is_rejected_with_fast_and_dropped_without():
    request = m.pack_range(c.REQUEST, 0, 0, BLOCK)
    for extensions, answer in [(FAST, m.pack_range(c.REJECT, 0, 0, BLOCK)), (PLAIN, b"")]:
        protocol = established(extensions)
        assert receive(protocol, request) == []
        assert not protocol.peer_requests
        assert taken(protocol) == answer


def test_a_choked_peer_may_request_its_allowed_fast_pieces():
    protocol = established(FAST)
    protocol.send_allowed_fast(1)
    protocol.take_outgoing()
    events = receive(protocol, m.pack_range(c.REQUEST, 1, 0, BLOCK) + m.pack_range(c.REQUEST, 0, 0, BLOCK))
    assert events == [(c.REQUEST, 1, 0, BLOCK)]
    assert taken(protocol) == m.pack_range(c.REJECT, 0, 0, BLOCK)


def test_our_choke_goes_out_before_the_rejects_and_spares_allowed_fast():
    protocol = unchoking(FAST)
    protocol.send_allowed_fast(1)
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, BLOCK) + m.pack_range(c.REQUEST, 1, 0, BLOCK))
    protocol.take_outgoing()
    protocol.send_choke()
    assert taken(protocol) == m.pack_bare(c.CHOKE) + m.pack_range(c.REJECT, 0, 0, BLOCK)
    assert list(protocol.peer_requests) == list(protocol.unanswered_requests) == [(1, 0, BLOCK)]
    assert protocol.send_piece(0, 0, bytes(BLOCK)) is False
    assert protocol.send_piece(1, 0, bytes(BLOCK)) is True


def test_our_choke_drops_every_request_silently_without_fast():
    protocol = unchoking()
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, BLOCK))
    protocol.send_choke()
    assert taken(protocol) == m.pack_bare(c.CHOKE)
    assert not protocol.peer_requests
    assert not protocol.unanswered_requests


def test_a_request_of_128_kib_is_held_and_a_longer_one_refused():
    large = Geometry(10 * limits.MIB, limits.MIB)
    for extensions in (FAST, PLAIN):
        protocol = unchoking(extensions, geometry=large)
        assert len(receive(protocol, m.pack_range(c.REQUEST, 0, 0, limits.PEER_BLOCK))) == 1
        too_long = (1, 0, limits.PEER_BLOCK + 1)
        assert receive(protocol, m.pack_range(c.REQUEST, *too_long)) == []
        assert taken(protocol) == (m.pack_range(c.REJECT, *too_long) if extensions.fast else b"")
        assert list(protocol.peer_requests) == [(0, 0, limits.PEER_BLOCK)]
        beyond_the_piece = (1, limits.MIB - limits.PEER_BLOCK, limits.MIB)
        assert receive(protocol, m.pack_range(c.REQUEST, *beyond_the_piece)) == []
        assert taken(protocol) == (m.pack_range(c.REJECT, *beyond_the_piece) if extensions.fast else b"")


@pytest.mark.parametrize("key", [key for key in RANGES if all(0 <= x < 2**32 for x in key)])
@pytest.mark.parametrize("extensions", [PLAIN, FAST])
def test_a_request_out_of_range_closes_the_wire(key, extensions):
    offends(unchoking(extensions), m.pack_range(c.REQUEST, *key), c.REQUEST, 3)
    offends(established(extensions), m.pack_range(c.REQUEST, *key), c.REQUEST, 3)


def test_a_request_that_is_held_already_is_held_once():
    protocol = unchoking(FAST)
    request = m.pack_range(c.REQUEST, 0, 0, BLOCK)
    assert len(receive(protocol, request * 3)) == 1
    assert len(protocol.peer_requests) == 1
    assert taken(protocol) == b""


def test_a_flood_of_requests_is_held_to_2000():
    flood = [m.pack_range(c.REQUEST, 0, offset, 1) for offset in range(2005)]
    for extensions in (FAST, PLAIN):
        protocol = unchoking(extensions)
        assert len(receive(protocol, b"".join(flood))) == limits.PEER_REQUESTS == 2000
        assert len(protocol.peer_requests) == len(protocol.unanswered_requests) == 2000
        rejected = b"".join(m.pack_range(c.REJECT, 0, offset, 1) for offset in range(2000, 2005))
        assert taken(protocol) == (rejected if extensions.fast else b"")
        protocol.send_piece(0, 0, b"x")
        assert len(receive(protocol, flood[2004])) == 1


def test_a_cancel_drops_the_request_and_is_answered_with_fast():
    for extensions in (FAST, PLAIN):
        protocol = unchoking(extensions)
        receive(protocol, m.pack_range(c.REQUEST, 0, 0, BLOCK))
        assert receive(protocol, m.pack_range(c.CANCEL, 0, 0, BLOCK)) == [(c.CANCEL, 0, 0, BLOCK)]
        assert not protocol.peer_requests
        assert not protocol.unanswered_requests
        assert taken(protocol) == (m.pack_range(c.REJECT, 0, 0, BLOCK) if extensions.fast else b"")
        assert protocol.send_piece(0, 0, bytes(BLOCK)) is False


def test_a_cancel_that_comes_too_late_is_ignored():
    protocol = unchoking(FAST)
    assert receive(protocol, m.pack_range(c.CANCEL, 0, 0, BLOCK) + m.pack_range(c.CANCEL, 2**32 - 1, 0, 0)) == []
    assert taken(protocol) == b""


def test_we_reject_only_pending_requests():
    protocol = unchoking(FAST)
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, BLOCK))
    protocol.send_reject(0, 0, BLOCK)
    assert taken(protocol) == m.pack_range(c.REJECT, 0, 0, BLOCK)
    protocol.send_reject(0, 0, BLOCK)
    assert taken(protocol) == b""


def test_without_fast_a_pending_request_is_dropped_silently():
    protocol = unchoking(PLAIN)
    receive(protocol, m.pack_range(c.REQUEST, 0, 0, BLOCK))
    protocol.send_reject(0, 0, BLOCK)
    assert not protocol.peer_requests
    assert taken(protocol) == b""
    with pytest.raises(LocalProtocolError):
        protocol.send_reject(0, 0, BLOCK)


def test_a_dropped_request_is_rejected_with_fast_and_silent_without():
    for extensions in (FAST, PLAIN):
        protocol = unchoking(extensions)
        receive(protocol, m.pack_range(c.REQUEST, 0, 0, BLOCK))
        protocol.drop_request(0, 0, BLOCK)
        protocol.drop_request(0, 0, BLOCK)
        assert taken(protocol) == (m.pack_range(c.REJECT, 0, 0, BLOCK) if extensions.fast else b"")
        assert not protocol.peer_requests
