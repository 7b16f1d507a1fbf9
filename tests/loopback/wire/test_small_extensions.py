"""lt_donthave (BEP 54), upload_only (BEP 21) and ut_pex (BEP 11) on bare wires."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from geventbt import (
    Extensions,
    LocalProtocolError,
    LtDonthave,
    PieceNotAvailable,
    UploadOnly,
    UtPex,
    Wire,
    bencoding,
    limits,
)
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol import ut_pex as pex
from geventbt.protocol.ut_pex import PexMessage
from tests.loopback.harness import GEOMETRY, INFO_HASH, OUR_ID, PEER_ID, eventually


@pytest.fixture
def pair(wires: Any) -> Any:
    """Makes two wires that both use a plug-in, after both extended handshakes."""

    def make(plugin: Any) -> tuple[Wire, Wire]:
        a, b = wires(handshake=False)
        for wire in (a, b):
            wire.use(plugin)
        other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID, geometry=GEOMETRY)
        a.handshake(INFO_HASH, OUR_ID, geometry=GEOMETRY)
        other.get(timeout=5)
        eventually(lambda: a.peer_extended_mapping and b.peer_extended_mapping)
        return a, b

    return make


# ---------------------------------------------------------------------- lt_donthave


def test_a_donthave_takes_the_piece_back_and_fires_once(pair):
    a, b = pair(LtDonthave)
    gone = []
    a.lt_donthave.on("donthave", lambda extension, index: gone.append(index))
    b.have_all()
    a.wait_for_piece(3, timeout=5)
    b.lt_donthave.donthave(3)
    b.lt_donthave.donthave(3)
    b.lt_donthave.donthave(4)
    eventually(lambda: gone == [3, 4])
    assert not a.peer_has(3)
    assert a.peer_pieces.count() == 8
    b.have(3)
    a.wait_for_piece(3, timeout=5)


@pytest.mark.parametrize("piece", [-1, 1 << 32])
def test_a_donthave_of_a_piece_that_cannot_exist_is_refused(pair, piece):
    a, _ = pair(LtDonthave)
    with pytest.raises(LocalProtocolError, match=f"cannot withdraw piece {piece}"):
        a.lt_donthave.donthave(piece)


def test_a_donthave_fails_the_requests_for_the_piece(pair):
    a, b = pair(LtDonthave)
    b.have_all()
    b.unchoke()
    a.wait_unchoked(timeout=5)
    waits = [gevent.spawn(a.request, 3, 0, 4), gevent.spawn(a.read, 3, 0, 65536)]
    other = gevent.spawn(a.request, 4, 0, 4)
    eventually(lambda: len(b.peer_requests) == 6)
    b.lt_donthave.donthave(3)
    for wait in waits:
        with pytest.raises(PieceNotAvailable):
            wait.get(timeout=5)
    b.piece(4, 0, b"good")
    assert other.get(timeout=5) == b"good"
    with pytest.raises(PieceNotAvailable):
        a.request(3, 0, 4)


@pytest.mark.parametrize("payload", [b"", b"\0\0\0", b"\0\0\0\1\0", b"\xff\xff\xff\xff"])
def test_a_senseless_donthave_says_nothing(pair, payload):
    a, b = pair(LtDonthave)
    gone = []
    a.lt_donthave.on("donthave", lambda extension, index: gone.append(index))
    b.have_all()
    b.lt_donthave.send(payload)
    b.lt_donthave.donthave(1)
    eventually(lambda: gone == [1])
    assert not a.closed


# ---------------------------------------------------------------------- upload_only


def test_upload_only_is_told_in_the_handshake_and_later(wires):
    a, b = wires(handshake=False)
    changes = []
    a.use(UploadOnly).on("upload_only", lambda extension, value: changes.append(value))
    b.use(UploadOnly).announce(True)
    other = gevent.spawn(b.handshake, INFO_HASH, PEER_ID)
    a.handshake(INFO_HASH, OUR_ID)
    other.get(timeout=5)
    eventually(lambda: changes == [True])
    assert a.upload_only.peer_upload_only
    eventually(lambda: b.upload_only.supported)
    b.upload_only.announce(False)
    b.upload_only.announce(False)
    eventually(lambda: changes == [True, False])


# ---------------------------------------------------------------------- ut_pex

PEERS = {("10.0.0.1", 6881): 0, ("10.0.0.2", 6882): pex.SEED, ("2001:db8::1", 6883): pex.OUTGOING}


def test_peers_are_told_once_and_taken_back(pair, monkeypatch):
    monkeypatch.setattr(limits, "PEX_INTERVAL", 0.05)
    a, b = pair(UtPex)
    heard: list[Any] = []
    a.ut_pex.on("peers", lambda extension, added, dropped: heard.append((added, dropped)))
    b.ut_pex.update(PEERS)
    eventually(lambda: a.ut_pex.peers == PEERS)
    b.ut_pex.update(PEERS)
    remaining = {("10.0.0.1", 6881): 0, ("10.0.0.9", 9): 0}
    b.ut_pex.update(remaining)
    eventually(lambda: a.ut_pex.peers == remaining)
    assert heard == [(PEERS, []), ({("10.0.0.9", 9): 0}, [("10.0.0.2", 6882), ("2001:db8::1", 6883)])]


def test_no_more_than_one_message_in_an_interval_goes_out(pair):
    a, b = pair(UtPex)
    messages = []
    a.on("extended", lambda wire, **fields: messages.append(fields))
    b.ut_pex.update([("10.0.0.1", 1)])
    eventually(lambda: len(messages) == 1)
    b.ut_pex.update([("10.0.0.1", 1), ("10.0.0.2", 2)])
    b.ut_pex.update([("10.0.0.3", 3)])
    b.interested()
    eventually(lambda: a.peer_interested)
    assert len(messages) == 1


def test_fifty_at_a_time_are_told(pair, monkeypatch):
    monkeypatch.setattr(limits, "PEX_INTERVAL", 0.02)
    a, b = pair(UtPex)
    counts: list[int] = []
    a.on("extended", lambda wire, payload, **_: counts.append(len(PexMessage.from_bytes(payload).added)))
    b.ut_pex.update([(f"10.0.1.{number}", 6881) for number in range(120)])
    eventually(lambda: counts == [50, 50, 20])


def test_a_peer_is_not_told_of_itself(pair):
    a, b = pair(UtPex)
    b.ut_pex.update([b.remote_address, ("10.0.0.1", 1)])
    eventually(lambda: list(a.ut_pex.peers) == [("10.0.0.1", 1)])


BAD_ADDRESSES = [("localhost", 1), ("", 1), ("10.0.0.2", 0), ("10.0.0.2", -1), ("10.0.0.2", 70000), ("0.0.0.0", 1)]


@pytest.mark.parametrize("bad", BAD_ADDRESSES)
def test_an_address_that_cannot_be_sent_is_left_out_and_the_others_are_sent(pair, bad):
    a, b = pair(UtPex)
    b.ut_pex.update([("10.0.0.1", 1), bad, ("10.0.0.3", 3)])
    eventually(lambda: a.ut_pex.peers == {("10.0.0.1", 1): 0, ("10.0.0.3", 3): 0})


@pytest.mark.parametrize("flags", [-1, 256])
def test_flags_that_do_not_fit_are_an_error_of_the_caller(pair, flags):
    _, b = pair(UtPex)
    with pytest.raises(ValueError, match="flags"):
        b.ut_pex.update({("10.0.0.1", 1): flags})


def test_a_peer_that_tells_too_often_is_not_heard(pair):
    a, b = pair(UtPex)
    for number in range(1, 5):
        b.ut_pex.send(PexMessage({(f"10.0.0.{number}", 1): 0}).to_bytes())
    b.interested()
    eventually(lambda: a.peer_interested and a.ut_pex.peers)
    gevent.sleep(0)
    assert list(a.ut_pex.peers) == [("10.0.0.1", 1)]


def test_what_is_kept_of_one_peer_is_bounded(pair, monkeypatch):
    monkeypatch.setattr(limits, "PEX_INTERVAL", 0.0)
    a, b = pair(UtPex)
    for block in range(10):
        b.ut_pex.send(PexMessage({(f"10.0.{block}.{number}", 1): 0 for number in range(50)}).to_bytes())
    eventually(lambda: len(a.ut_pex.peers) == limits.PEX_KNOWN)


def test_a_private_torrent_exchanges_nothing(pair):
    a, b = pair(lambda wire: UtPex(wire, private=True))
    a.ut_pex.update(PEERS)
    b.ut_pex.send(PexMessage(PEERS).to_bytes())
    b.interested()
    eventually(lambda: a.peer_interested)
    gevent.sleep(0)
    assert a.ut_pex.peers == b.ut_pex.peers == {}


def test_a_senseless_message_is_a_warning(pair, nothing_logged):
    a, b = pair(UtPex)
    warnings = []
    a.ut_pex.on("warning", lambda extension, error: warnings.append(error))
    b.ut_pex.send(b"d1:ai1e-6:")
    eventually(lambda: len(warnings) == 1)
    assert not a.closed


def test_an_extension_that_was_switched_off_is_not_used(raw):
    wire, peer = raw(extensions=Extensions(extended=True))
    wire.use(UtPex)
    for number in (1, 0):
        peer.send(m.pack_extended(0, bencoding.encode({"m": {"ut_pex": number}})))
        eventually(lambda number=number: wire.ut_pex.supported == bool(number))
    wire.ut_pex.update(PEERS)
    with pytest.raises(LocalProtocolError):
        wire.ut_pex.send(b"")
    wire.interested()
    while (message := peer.message())[0] != c.INTERESTED:
        assert message[:2] == bytes([c.EXTENDED, c.EXTENDED_HANDSHAKE])
