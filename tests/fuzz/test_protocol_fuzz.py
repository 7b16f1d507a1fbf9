"""Any bytes at all give messages or a `RemoteProtocolError`, the same however they are cut, and are not hoarded.

The check and the damage are those of `scripts/fuzz_protocol.py`, which runs for as long as one likes; a stream that it
finds is saved in `corpus/` and from then on is a test.
"""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt import limits
from geventbt.bencoding import encode
from geventbt.errors import RemoteProtocolError
from geventbt.protocol import constants as c
from geventbt.protocol import messages as m
from geventbt.protocol.connection import PeerProtocol
from geventbt.protocol.handshake import Handshake
from geventbt.protocol.parser import Parser

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_protocol.py"
_spec = importlib.util.spec_from_file_location("fuzz_protocol", _SCRIPT)
fuzz_protocol = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz_protocol)

CORPUS = fuzz_protocol.corpus()
HANDSHAKE = Handshake(fuzz_protocol.INFO_HASH, b"p" * 20, fuzz_protocol.ALL).to_bytes()


def test_the_corpus_is_there():
    assert len(CORPUS) >= 10
    assert sum(map(len, CORPUS.values())) < 100_000


@pytest.mark.parametrize("name", CORPUS)
def test_a_saved_stream_keeps_the_invariant(name):
    fuzz_protocol.check(CORPUS[name])


@given(data=st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_keep_the_invariant(data):
    fuzz_protocol.check(data)


@given(data=st.binary(max_size=300))
@settings(deadline=None)
def test_any_bytes_behind_a_handshake_keep_the_invariant(data):
    fuzz_protocol.check(HANDSHAKE + data)


@given(message_id=st.integers(0, 255), payload=st.binary(max_size=60), rest=st.binary(max_size=60))
@settings(deadline=None)
def test_any_payload_of_any_message_keeps_the_invariant(message_id, payload, rest):
    fuzz_protocol.check(HANDSHAKE + pack(">IB", 1 + len(payload), message_id) + payload + rest)


@given(payload=st.binary(max_size=100))
@settings(deadline=None)
def test_any_extended_handshake_keeps_the_invariant(payload):
    fuzz_protocol.check(HANDSHAKE + m.pack_extended(0, payload))
    fuzz_protocol.check(HANDSHAKE + m.pack_extended(0, b"d1:m" + payload + b"e"))


@pytest.mark.parametrize("seed", range(8))
def test_damaged_streams_keep_the_invariant(seed):
    chance = random.Random(seed)
    for _ in range(60):
        fuzz_protocol.check(fuzz_protocol.damaged(fuzz_protocol.valid_stream(chance), chance))


def test_the_check_can_fail(monkeypatch):
    """A parser that drops the last byte of what it keeps must be found out."""
    feed = Parser.feed

    def forgetful(self, data):
        yield from feed(self, data)
        del self._tail[200:]

    monkeypatch.setattr(Parser, "feed", forgetful)
    with pytest.raises(fuzz_protocol.InvariantBroken):
        fuzz_protocol.check(CORPUS["block.bin"])


# ---------------------------------------------------------------------- memory, whatever is repeated


def _extended_handshake(n):
    keys = {f"key {n}.{i}": bytes(1000) for i in range(300)}
    return m.pack_extended(0, encode({**keys, "m": {f"name {n}.{i}": 1 for i in range(300)}}))


ENDLESS = {
    "have": lambda n: b"".join(m.pack_index(c.HAVE, (n * 1000 + i) * 61 % limits.PIECES) for i in range(1000)),
    "bitfield": lambda n: m.pack_bitfield(bytes(limits.MESSAGE)),
    "allowed_fast": lambda n: b"".join(m.pack_index(c.ALLOWED_FAST, n * 1000 + i) for i in range(1000)),
    "request": lambda n: b"".join(m.pack_range(c.REQUEST, n, i, 1) for i in range(1000)),
    "cancelled request": lambda n: m.pack_range(c.REQUEST, 0, n, 1) + m.pack_range(c.CANCEL, 0, n, 1),
    "extended handshake": _extended_handshake,
    "extended": lambda n: m.pack_extended(7, bytes(100_000)),
    "unknown": lambda n: pack(">IB", 1 + 100_000, 99) + bytes(100_000),
    "hashes": lambda n: m.pack_hash_range(c.HASHES, bytes(32), 0, n, 2, 0, bytes(3200)),
}
"""What a peer may say for ever: the n-th part of its stream."""


@pytest.mark.parametrize("name", ENDLESS)
def test_what_a_peer_repeats_for_ever_is_not_kept_for_ever(name):
    protocol = PeerProtocol()
    protocol.send_handshake(Handshake(fuzz_protocol.INFO_HASH, b"o" * 20, fuzz_protocol.ALL))
    protocol.send_unchoke()
    list(protocol.receive(HANDSHAKE))
    if name == "bitfield":
        stream = b"".join(ENDLESS[name](n) for n in range(30))
        with pytest.raises(RemoteProtocolError, match="bitfields"):
            list(protocol.receive(stream))
        return
    for n in range(30):
        data = ENDLESS[name](n)
        for at in range(0, len(data), 60_000):
            for _ in protocol.receive(data[at : at + 60_000]):
                pass
            protocol.take_outgoing()
        if n == 14:
            half_way = fuzz_protocol.kept_by(protocol)
    kept = fuzz_protocol.kept_by(protocol)
    assert kept < fuzz_protocol.KEPT
    assert kept < half_way * 1.7 + 50_000


@pytest.mark.parametrize("message_id", [c.BITFIELD, c.EXTENDED, 99])
def test_a_message_that_is_never_finished_is_kept_once(message_id):
    protocol = PeerProtocol()
    protocol.send_handshake(Handshake(fuzz_protocol.INFO_HASH, b"o" * 20, fuzz_protocol.ALL))
    list(protocol.receive(HANDSHAKE))
    before = fuzz_protocol.kept_by(protocol)
    list(protocol.receive(pack(">IB", 1 + limits.MESSAGE, message_id)))
    assert fuzz_protocol.kept_by(protocol) < before + 1000
    for _ in range(limits.MESSAGE // 65536 - 1):
        list(protocol.receive(bytes(65536)))
    assert fuzz_protocol.kept_by(protocol) < before + limits.MESSAGE * 1.25
