"""What a client with many wires uses: requests answered many at a time, and a delegate that gets blocks together."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from geventbt import Geometry, RemoteProtocolError, RequestRejected, WireClosed, limits
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.connection import Event, RequestKey
from geventbt.wire.requests import WireDelegate
from tests.loopback.harness import BLOCK, eventually

LARGE_PIECES = Geometry(1 << 26, 1 << 20)

# --- answers ---


def give_all(batch: list[RequestKey]) -> list[bytes]:
    return [bytes([piece]) * length for piece, _, length in batch]


def ask(wire: Any, peer: Any, *keys: RequestKey) -> None:
    """Have a peer ask for blocks, and wait until all of its requests are there."""
    wire.unchoke()
    peer.send(b"".join(m.pack_range(c.REQUEST, *key) for key in keys))
    eventually(lambda: len(wire.peer_requests) == len(keys))
    assert peer.message() == m.pack_bare(c.UNCHOKE)[4:]


def block_message(piece: int, offset: int, block: bytes) -> bytes:
    return (m.pack_piece_header(piece, offset, len(block)) + block)[4:]


def test_requests_are_answered_in_order_and_it_ends_when_none_is_left(raw):
    wire, peer = raw()
    keys = [(piece, 0, 4) for piece in (3, 1, 2)]
    ask(wire, peer, *keys)
    wire.serve_pending(give_all)
    assert [peer.message() for _ in keys] == [block_message(piece, 0, bytes([piece]) * 4) for piece, _, _ in keys]
    assert not wire.peer_requests


def test_batches_grow_with_the_speed_up_to_what_may_be_queued(raw):
    wire, peer = raw(geometry=LARGE_PIECES)
    count = 100
    ask(wire, peer, *[(number // 64, number % 64 * BLOCK, BLOCK) for number in range(count)])
    batches = []

    def read(batch: list[RequestKey]) -> list[bytes]:
        batches.append(sum(length for _, _, length in batch))
        return give_all(batch)

    server = gevent.spawn(wire.serve_pending, read)
    peer.receive(count * (BLOCK + 13))
    server.join(timeout=10)
    assert sum(batches) == count * BLOCK
    assert batches[0] == limits.LOW_OUTPUT
    assert max(batches) <= limits.HIGH_WATER


def test_what_a_reader_leaves_out_is_asked_for_again(raw):
    wire, peer = raw()
    ask(wire, peer, (0, 0, 4), (1, 0, 4), (2, 0, 4))
    batches = []

    def read_one(batch: list[RequestKey]) -> list[bytes]:
        batches.append(len(batch))
        return give_all(batch[:1])

    wire.serve_pending(read_one)
    assert batches == [3, 2, 1]
    assert [peer.message()[0:9] for _ in range(3)] == [block_message(piece, 0, b"")[:9] for piece in range(3)]


def test_an_exception_in_place_of_a_block_rejects_its_request_alone(raw):
    wire, peer = raw()
    ask(wire, peer, (0, 0, 4), (1, 0, 4))
    wire.serve_pending(lambda batch: [OSError("bad disk"), b"good"])
    # What is refused and what is given may overtake each other.
    assert {peer.message() for _ in range(2)} == {m.pack_range(c.REJECT, 0, 0, 4)[4:], block_message(1, 0, b"good")}


def test_what_is_cancelled_while_it_is_read_is_not_sent(raw):
    wire, peer = raw()
    ask(wire, peer, (0, 0, 4), (1, 0, 4))
    reading, go_on = gevent.event.Event(), gevent.event.Event()

    def read(batch: list[RequestKey]) -> list[bytes]:
        reading.set()
        go_on.wait()
        return give_all(batch)

    server = gevent.spawn(wire.serve_pending, read)
    assert reading.wait(timeout=5)
    peer.send(m.pack_range(c.CANCEL, 0, 0, 4))
    eventually(lambda: wire.peer_requests == [(1, 0, 4)])
    go_on.set()
    server.join(timeout=10)
    assert peer.message() == m.pack_range(c.REJECT, 0, 0, 4)[4:]
    assert peer.message() == block_message(1, 0, b"\1" * 4)
    assert wire.uploaded == 4


def test_a_wire_that_closes_meanwhile_ends_the_serving(raw):
    wire, peer = raw()
    ask(wire, peer, (0, 0, 4), (1, 0, 4))

    def read(batch: list[RequestKey]) -> list[bytes]:
        wire.close(0)
        return give_all(batch)

    wire.serve_pending(read)
    assert wire.closed
    assert peer.is_closed()


# --- a feed ---


class Recorder(WireDelegate):
    """Remembers its calls, in order."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def on_blocks(self, blocks: list[Event]) -> None:
        self.told.append([(piece, offset, bytes(block)) for _, piece, offset, block, _ in blocks])

    def on_request_failed(self, key: RequestKey, error: Exception) -> None:
        self.told.append((key, type(error)))

    def on_late_block(self, event: Event) -> None:
        self.told.append(("late", event[1], event[2], bytes(event[3])))

    def on_message(self, event: Event) -> None:
        self.told.append(event[0])

    def on_closed(self) -> None:
        self.told.append("closed")


def fed(raw: Any) -> tuple[Any, Any, Recorder]:
    """A wire with a feed that has asked for three blocks of piece 2."""
    wire, peer = raw()
    peer.send(m.pack_bare(c.HAVE_ALL) + m.pack_bare(c.UNCHOKE))
    wire.wait_unchoked(timeout=10)
    feed = Recorder()
    wire.attach(feed)
    wire.request_run(2, 0, 3 * BLOCK)
    peer.receive(3 * 17)
    return wire, peer, feed


def piece_message(number: int) -> bytes:
    """The answer to one of its requests."""
    block = bytes([number]) * BLOCK
    return bytes(m.pack_piece_header(2, number * BLOCK, BLOCK)) + block


def taken(*numbers: int) -> list[tuple[int, int, bytes]]:
    return [(2, number * BLOCK, bytes([number]) * BLOCK) for number in numbers]


def test_a_feed_is_told_of_blocks_together_and_of_all_else_in_its_order(raw):
    wire, peer, feed = fed(raw)
    peer.send(piece_message(0) + m.pack_index(c.HAVE, 1) + m.pack_bare(c.INTERESTED) + piece_message(2))
    eventually(lambda: wire.downloaded == 2 * BLOCK)
    blocks = [entry for told in feed.told if isinstance(told, list) for entry in told]
    assert blocks == taken(0, 2)
    assert feed.told.index(c.INTERESTED) > 0
    assert isinstance(feed.told[0], list)


def test_blocks_before_a_broken_rule_are_kept(raw):
    wire, peer, feed = fed(raw)
    peer.send(piece_message(1) + m.pack_index(c.HAVE, 1 << 20))
    eventually(lambda: wire.closed)
    assert isinstance(wire.close_reason, RemoteProtocolError)
    assert feed.told[0] == taken(1)
    assert feed.told[1:] == [((2, 0, BLOCK), WireClosed), ((2, 2 * BLOCK, BLOCK), WireClosed), "closed"]


def test_a_feed_and_a_greenlet_may_wait_for_the_same_block(raw):
    wire, peer, feed = fed(raw)
    other = gevent.spawn(wire.request, 2, BLOCK, BLOCK)
    gevent.idle()
    peer.send(piece_message(1))
    assert other.get(timeout=10) == bytes([1]) * BLOCK
    assert feed.told == [taken(1)]


def test_a_reject_fails_its_block_alone(raw):
    wire, peer, feed = fed(raw)
    peer.send(m.pack_range(c.REJECT, 2, BLOCK, BLOCK) + piece_message(0))
    eventually(lambda: wire.downloaded == BLOCK)
    assert feed.told == [c.REJECT, ((2, BLOCK, BLOCK), RequestRejected), taken(0)]


@pytest.mark.parametrize("how", ["cancel_all", "give_up_all"])
def test_a_feed_gets_late_blocks_of_what_was_given_up(raw, how):
    wire, peer, feed = fed(raw)
    getattr(wire, how)()
    assert wire.requests == []
    peer.send(piece_message(0) + piece_message(1))
    eventually(lambda: wire.downloaded == 2 * BLOCK)
    assert [(kind, offset) for kind, _, offset, _ in feed.told] == [("late", 0), ("late", BLOCK)]
    assert (wire.wasted, wire.closed) == (0, False)


def test_a_peer_that_is_choked_while_its_output_is_full_is_not_read_for(raw):
    wire, peer = raw(geometry=LARGE_PIECES)
    count = 500
    ask(wire, peer, *[(number // 64, number % 64 * BLOCK, BLOCK) for number in range(count)])
    batches = []

    def read(batch: list[RequestKey]) -> list[bytes]:
        batches.append(len(batch))
        return give_all(batch)

    server = gevent.spawn(wire.serve_pending, read)
    eventually(lambda: wire.queued > 0 and wire.has_unanswered_requests)
    wire.choke()
    drain = gevent.spawn(lambda: all(peer.receive(1024) for _ in range(count * BLOCK)))
    server.get(timeout=5)
    drain.kill()
    assert all(batches)
    assert sum(batches) < count
