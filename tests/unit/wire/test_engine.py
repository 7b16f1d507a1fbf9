"""A wire without a socket: its engine over a transport in memory."""

from __future__ import annotations

import gc
import mmap
from typing import Any
from weakref import ref

import gevent
import pytest

from geventbt import Extensions, Geometry, Handshake, Wire, limits
from geventbt.errors import LocalProtocolError, WireClosed, WireTimeout
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.wire.engine import Engine
from geventbt.wire.plug_ins import PlugIns
from geventbt.wire.transports.base import BULK_READ, SMALL_READ, Transport
from tests.recording_transport import RecordingTransport

INFO_HASH, OURS, THEIRS = b"i" * 20, b"o" * 20, b"t" * 20
BLOCK = limits.BLOCK
GEOMETRY = Geometry(64 * 4 * BLOCK, 4 * BLOCK)


@pytest.fixture
def connected() -> tuple[Wire, RecordingTransport]:
    """A wire behind both handshakes, unchoked by a peer and unchoking it."""
    transport = RecordingTransport()
    wire = Wire(transport, incoming=False)
    shaking = gevent.spawn(wire.handshake, INFO_HASH, OURS, fast=False, geometry=GEOMETRY)
    gevent.idle()
    transport.receive(Handshake(INFO_HASH, THEIRS).to_bytes() + m.pack_bare(c.UNCHOKE))
    assert shaking.get(timeout=5).peer_id == THEIRS
    wire.unchoke()
    gevent.idle()
    transport.buffers.clear()
    return wire, transport


class Owner:
    """Stands for the wire, which the engine does not keep."""


@pytest.fixture
def engine() -> Any:
    owner, plug_ins = Owner(), PlugIns()
    made = Engine(owner, plug_ins, RecordingTransport(), incoming=False, is_known_torrent=None, on_closed=None)
    made.start(None)
    yield made
    made.shut(None)


def test_the_transport_in_memory_is_a_transport():
    assert isinstance(RecordingTransport(), Transport)


def test_a_wire_takes_any_transport(connected):
    wire, transport = connected
    assert wire.remote_address == transport.remote_address
    assert wire.local_address == transport.local_address
    assert wire.encryption == "plaintext"
    assert not wire.peer_choking


def test_a_handshake_goes_out_even_if_the_bitfield_behind_it_is_refused():
    transport = RecordingTransport()
    wire = Wire(transport, incoming=False)
    with pytest.raises(LocalProtocolError, match="a bitfield of 0 bytes"):
        wire.handshake(INFO_HASH, OURS, geometry=GEOMETRY, bitfield=b"")
    gevent.idle()
    assert transport.sent == Handshake(INFO_HASH, OURS, Extensions(fast=True, extended=True)).to_bytes()
    wire.close(0)


def test_a_request_goes_out_and_its_block_comes_back(connected):
    wire, transport = connected
    waiting = gevent.spawn(wire.request, 3, BLOCK, 4)
    gevent.idle()
    assert transport.sent == m.pack_range(c.REQUEST, 3, BLOCK, 4)
    transport.receive(m.pack_piece_header(3, BLOCK, 4) + b"good")
    assert waiting.get(timeout=5) == b"good"


def test_requests_of_one_turn_go_out_in_one_flush(connected):
    wire, transport = connected
    waits = [gevent.spawn(wire.request, piece, 0, 4) for piece in range(20)]
    gevent.idle()
    assert transport.sent == b"".join(m.pack_range(c.REQUEST, piece, 0, 4) for piece in range(20))
    wire.close(0)
    gevent.joinall(waits, timeout=5)
    assert [type(wait.exception) for wait in waits] == [WireClosed] * 20


def test_reads_are_large_while_blocks_arrive_and_small_otherwise(connected):
    wire, transport = connected
    waiting = gevent.spawn(wire.read, 0, 0, 2 * BLOCK)
    gevent.idle()
    message = m.pack_piece_header(0, 0, BLOCK) + bytes(BLOCK)
    transport.receive(m.pack_index(c.HAVE, 1), message, m.pack_piece_header(0, BLOCK, BLOCK) + bytes(BLOCK - 100))
    assert transport.read_sizes[-3:] == [SMALL_READ, BULK_READ, 100 + SMALL_READ]
    transport.receive(bytes(100))
    assert waiting.get(timeout=5) == bytes(2 * BLOCK)


def test_a_memory_map_is_served_without_a_copy(connected, tmp_path):
    wire, transport = connected
    path = tmp_path / "data"
    path.write_bytes(b"x" * BLOCK)
    with open(path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapped)
    transport.receive(m.pack_range(c.REQUEST, 5, 0, BLOCK))
    assert wire.piece(5, 0, view)
    gevent.idle()
    assert [buffer.obj for buffer in transport.buffers if isinstance(buffer, memoryview)] == [mapped]
    transport.buffers.clear()
    view.release()


def test_piece_waits_while_the_peer_does_not_read(connected):
    wire, transport = connected
    transport.stalled = True
    count = 2 * limits.HIGH_WATER // BLOCK
    transport.receive(*(m.pack_range(c.REQUEST, number >> 2, number % 4 * BLOCK, BLOCK) for number in range(count)))
    server = gevent.spawn(wire.serve, lambda piece, offset, length: bytes(length))
    gevent.sleep(0.01)
    assert limits.HIGH_WATER < wire.queued < 2 * limits.HIGH_WATER
    with pytest.raises(WireTimeout, match=r"the send queue not drained within 0\.01 s"):
        wire.wait_drained(0.01)
    transport.drain()
    gevent.sleep(0.01)
    assert wire.uploaded == count * BLOCK
    wire.close(0)
    server.get(timeout=5)


def test_a_transport_that_fails_is_the_reason_of_the_close(connected):
    wire, transport = connected
    broken = ConnectionResetError("it broke")
    transport.end(broken)
    assert wire.close_reason is broken
    assert transport.closed
    with pytest.raises(WireClosed, match=r"192\.0\.2\.1:6881 is closed: it broke") as caught:
        wire.interested()
    assert caught.value.__cause__ is broken


def test_the_loop_has_no_timer_that_holds_a_closed_wire():
    transport = RecordingTransport()
    Wire(transport, incoming=True).close(0)
    dropped = ref(transport)
    del transport
    gevent.idle()
    gc.collect()
    assert dropped() is None


def test_killing_a_greenlet_that_waits_leaves_nothing(engine):
    waits = [
        gevent.spawn(engine.publisher.wait_for, "have", None),
        gevent.spawn(engine.conditions.wait_until, lambda: False, None, "never"),
    ]
    gevent.idle()
    assert engine.publisher.has_listeners("have")
    assert len(engine.conditions) == 1
    gevent.killall(waits)
    assert not engine.publisher.has_listeners("have")
    assert len(engine.conditions) == 0


def test_a_wire_that_is_closed_and_dropped_is_collected():
    wire = Wire(RecordingTransport(), incoming=True)
    wire.close(0)
    dropped = ref(wire)
    del wire
    gevent.idle()
    gc.collect()
    assert dropped() is None


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (lambda wire: wire.wait_for_piece(3, 0.01), r"piece 3 not announced within 0\.01 s"),
        (lambda wire: wire.wait_for("have", 0.01), r"no 'have' signal within 0\.01 s"),
        (lambda wire: wire.request(2, 0, 4, timeout=0.01), r"piece 2, offset 0, length 4 within 0\.01 s"),
        (lambda wire: wire.read(2, 0, 4, timeout=0.01), r"no block of piece 2 from the peer within 0\.01 s"),
    ],
)
def test_a_timeout_says_what_did_not_happen(connected, wait, text):
    with pytest.raises(WireTimeout, match=text):
        wait(connected[0])


def test_a_timeout_of_the_unchoking_says_so(connected):
    wire, transport = connected
    transport.receive(m.pack_bare(c.CHOKE))
    with pytest.raises(WireTimeout, match=r"^not unchoked within 0\.01 s$"):
        wire.wait_unchoked(0.01)


def test_serving_gives_other_connections_their_turn_between_two_batches(connected):
    """By the time of the fourth batch the loop has polled the sockets, which two calls of `sleep(0)` do not ensure."""
    wire, transport = connected
    left, right = gevent.socket.socketpair()
    arrived: list[bytes] = []
    reader = gevent.spawn(lambda: arrived.append(right.recv(1)))
    gevent.idle()
    batch = limits.HIGH_WATER // BLOCK
    transport.receive(*(m.pack_range(c.REQUEST, n >> 2, n % 4 * BLOCK, BLOCK) for n in range(4 * batch)))
    seen: list[bool] = []

    def read_blocks(requests):
        seen.append(bool(arrived))
        return [bytes(request[2]) for request in requests]

    left.send(b"x")
    wire.serve_pending(read_blocks)
    reader.kill()
    left.close()
    right.close()
    assert seen[-1]
