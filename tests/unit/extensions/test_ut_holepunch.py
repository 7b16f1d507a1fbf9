"""ut_holepunch over a transport in memory (BEP 55)."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from geventbt import Extensions, Handshake, UtHolepunch, Wire, limits
from geventbt.errors import LocalProtocolError, RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.ut_holepunch import CONNECT, ERROR, NO_SELF, NOT_CONNECTED, RENDEZVOUS, HolepunchMessage
from tests.recording_transport import RecordingTransport

PEER = ("1.2.3.4", 6881)
OURS = 1
"""The id of the only extension that we have."""


class Conversation:
    """A wire with a peer, which supports the extension or not, and what its signals said."""

    def __init__(self, extended_handshake: bytes = b"d1:md12:ut_holepunchi7eee") -> None:
        self.transport = RecordingTransport()
        self.wire = Wire(self.transport, incoming=False)
        self.holepunch = self.wire.use(UtHolepunch)
        self.heard: list[tuple[str, dict[str, Any]]] = []
        for name in UtHolepunch.signal_names:
            self.holepunch.on(name, lambda holepunch, name=name, **fields: self.heard.append((name, fields)))
        shaking = gevent.spawn(self.wire.handshake, b"i" * 20, b"o" * 20)
        gevent.idle()
        theirs = Handshake(b"i" * 20, b"t" * 20, Extensions(extended=True)).to_bytes()
        self.transport.receive(theirs + m.pack_extended(c.EXTENDED_HANDSHAKE, extended_handshake))
        shaking.get(timeout=5)
        gevent.idle()
        self.transport.buffers.clear()

    def receive(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.transport.receive(m.pack_extended(OURS, payload))
        gevent.idle()


def test_a_request_is_sent_under_the_peers_own_id() -> None:
    talk = Conversation()
    assert talk.holepunch.rendezvous(PEER)
    gevent.idle()
    assert talk.transport.sent == m.pack_extended(7, HolepunchMessage(RENDEZVOUS, PEER).to_bytes())


def test_both_peers_are_told_or_one_is_told_why_not() -> None:
    talk = Conversation()
    assert talk.holepunch.connect(PEER)
    assert talk.holepunch.refuse(PEER, NO_SELF)
    gevent.idle()
    told = [HolepunchMessage(CONNECT, PEER), HolepunchMessage(ERROR, PEER, NO_SELF)]
    assert talk.transport.sent == b"".join(m.pack_extended(7, message.to_bytes()) for message in told)


def test_each_message_is_a_signal() -> None:
    talk = Conversation()
    talk.receive(
        HolepunchMessage(RENDEZVOUS, PEER).to_bytes(),
        HolepunchMessage(CONNECT, PEER).to_bytes(),
        HolepunchMessage(ERROR, PEER, NOT_CONNECTED).to_bytes(),
        HolepunchMessage(9, PEER).to_bytes(),
    )
    assert talk.heard == [
        ("rendezvous", {"address": PEER}),
        ("connect", {"address": PEER}),
        ("error", {"address": PEER, "code": NOT_CONNECTED}),
    ]


def test_a_bad_message_is_a_warning_and_the_wire_stays() -> None:
    talk = Conversation()
    talk.receive(b"\0")
    ((name, fields),) = talk.heard
    assert name == "warning"
    assert isinstance(fields["error"], RemoteProtocolError)
    assert not talk.wire.closed


def test_a_flood_is_cut_off_either_way() -> None:
    talk = Conversation()
    burst = int(limits.HOLEPUNCH_BURST)
    talk.receive(*[HolepunchMessage(CONNECT, PEER).to_bytes()] * 10 * burst)
    assert burst <= len(talk.heard) <= burst + 1
    sent = [talk.holepunch.rendezvous(PEER) for _ in range(10 * burst)]
    assert burst <= sum(sent) <= burst + 1
    gevent.idle()
    assert talk.transport.sent == sum(sent) * m.pack_extended(7, HolepunchMessage(RENDEZVOUS, PEER).to_bytes())


def test_a_peer_that_could_not_be_answered_is_not_listened_to() -> None:
    talk = Conversation(b"d1:mdee")
    talk.receive(HolepunchMessage(CONNECT, PEER).to_bytes())
    assert talk.heard == []
    with pytest.raises(LocalProtocolError):
        talk.holepunch.rendezvous(PEER)


def test_a_name_is_not_an_address() -> None:
    with pytest.raises(ValueError, match="a name"):
        Conversation().holepunch.rendezvous(("a name", 1))
