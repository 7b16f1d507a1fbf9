"""ut_pex over a transport in memory (BEP 11)."""

from __future__ import annotations

import gc
from weakref import ref

import gevent

from geventbt import Extensions, Handshake, UtPex, Wire
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from tests.recording_transport import RecordingTransport


def test_closing_leaves_no_timer_of_the_next_message():
    transport = RecordingTransport()
    wire = Wire(transport, incoming=False)
    pex = wire.use(UtPex)
    shaking = gevent.spawn(wire.handshake, b"i" * 20, b"o" * 20)
    gevent.idle()
    theirs = Handshake(b"i" * 20, b"t" * 20, Extensions(extended=True)).to_bytes()
    transport.receive(theirs + m.pack_extended(c.EXTENDED_HANDSHAKE, b"d1:md6:ut_pexi1eee"))
    shaking.get(timeout=5)
    pex.update([("10.0.0.1", 6881)])
    gevent.sleep(0.01)
    assert b"5:added" in transport.sent
    # The next message is due in a minute.
    pex.update([])
    wire.close()
    dropped = ref(pex)
    del wire, pex, transport, shaking
    gevent.idle()
    gc.collect()
    assert dropped() is None
