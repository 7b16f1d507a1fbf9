"""Message Stream Encryption with bytes only: every split, every pair of methods, every kind of invalid input."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geventbt import limits
from geventbt.errors import HandshakeError
from geventbt.protocol import mse
from geventbt.protocol.mse import PLAINTEXT, RC4, Initiator, Responder, req2
from geventbt.protocol.rc4 import DISCARDED, Rc4

INFO_HASH = b"the info hash of it."
TABLE = {req2(INFO_HASH): INFO_HASH, req2(b"x" * 20): b"x" * 20}

# A key costs a millisecond.
slow = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pour(data: bytes, into: mse.Opening, sizes: list[int]) -> None:
    """Feed bytes in parts of these sizes, in turn."""
    at = turn = 0
    while at < len(data):
        size = max(1, sizes[turn % len(sizes)])
        into.receive(data[at : at + size])
        if into.key_due:
            into.compute_key()
        at += size
        turn += 1


def converse(a: Initiator, b: Responder, sizes: list[int]) -> None:
    """Deliver the bytes of both sides until neither has any."""
    while a.outgoing or b.outgoing:
        pour(a.take_outgoing(), b, sizes)
        pour(b.take_outgoing(), a, sizes)


@slow
@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=5),
    st.sampled_from([PLAINTEXT, RC4, 3]),
    st.sampled_from([PLAINTEXT, RC4, 3]),
)
def test_both_sides_agree_however_the_stream_is_cut(sizes, offered, accepted):
    a, b = Initiator(INFO_HASH, offered), Responder(TABLE.get, accepted)
    if not offered & accepted:
        with pytest.raises(HandshakeError):
            converse(a, b, sizes)
        return
    converse(a, b, sizes)
    assert a.done
    assert b.done
    assert a.method == b.method == (RC4 if offered & accepted & RC4 else PLAINTEXT)
    assert b.info_hash == INFO_HASH
    if a.method == RC4:
        assert a.encryptor is not None
        assert b.decryptor is not None
        assert b.decryptor.crypt(a.encryptor.crypt(b"hello")) == b"hello"
        assert a.decryptor.crypt(b.encryptor.crypt(b"world")) == b"world"
    else:
        assert a.encryptor is a.decryptor is b.encryptor is b.decryptor is None


@slow
@given(st.binary(max_size=100), st.integers(1, 50))
def test_bytes_right_after_the_opening_belong_to_the_stream(stream, size):
    for methods in (RC4, PLAINTEXT):
        a, b = Initiator(INFO_HASH, methods), Responder(TABLE.get)
        pour(a.take_outgoing(), b, [size])
        pour(b.take_outgoing(), a, [size])
        pour(a.take_outgoing(), b, [size])
        assert b.done
        sent = b.take_outgoing() + (b.encryptor.crypt(stream) if b.encryptor else stream)
        a.receive(sent)
        assert (a.done, a.payload) == (True, stream)


def test_byte_by_byte():
    a, b = Initiator(INFO_HASH), Responder(TABLE.get)
    converse(a, b, [1])
    assert a.done
    assert b.done


def test_the_key_stream_is_rc4_without_its_first_bytes():
    """Against a second implementation of the algorithm."""
    key = b"some key of 20 bytes"
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    stream = bytearray()
    i = j = 0
    for _ in range(DISCARDED + 50):
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        stream.append(state[(state[i] + state[j]) % 256])
    assert Rc4(key).crypt(bytes(50)) == stream[DISCARDED:]
    buffer = bytearray(50)
    Rc4(key).crypt_in_place(buffer)
    assert buffer == stream[DISCARDED:]


def test_paddings_are_random_and_within_bounds():
    lengths = {len(Initiator(INFO_HASH).take_outgoing()) - mse.KEY_LENGTH for _ in range(50)}
    assert len(lengths) > 10
    assert max(lengths) <= limits.MSE_PADDING


# ---------------------------------------------------------------------- nonsense


@pytest.mark.parametrize("key", [0, 1, mse.PRIME - 1, mse.PRIME, mse.PRIME + 5, (1 << 768) - 1])
def test_a_degenerate_key_is_refused_by_both_sides(key):
    for side in (Initiator(INFO_HASH), Responder(TABLE.get)):
        with pytest.raises(HandshakeError):
            side.receive(key.to_bytes(mse.KEY_LENGTH, "big"))


def test_an_unknown_torrent_is_refused():
    with pytest.raises(HandshakeError, match="unknown torrent"):
        converse(Initiator(b"unknown unknown unkn"), Responder(TABLE.get), [1000])


@slow
@given(st.binary(min_size=700, max_size=700))
def test_no_synchronisation_ends_within_the_padding(noise):
    key = secrets.token_bytes(mse.KEY_LENGTH - 1)
    for side in (Initiator(INFO_HASH), Responder(TABLE.get)):
        with pytest.raises(HandshakeError):
            pour(b"\x7f" + key + noise, side, [50])


@slow
@given(st.binary(max_size=3000), st.lists(st.integers(1, 400), min_size=1, max_size=4))
def test_any_bytes_are_an_opening_or_a_handshake_error(data, sizes):
    for side in (Initiator(INFO_HASH), Responder(TABLE.get)):
        try:
            pour(data, side, sizes)
        except HandshakeError:
            continue
        assert not side.done
        assert len(side._buffer) <= limits.MSE_BUFFER


@pytest.mark.parametrize(
    "answer",
    [
        (0).to_bytes(4, "big") + bytes(2),
        (3).to_bytes(4, "big") + bytes(2),
        (4).to_bytes(4, "big") + bytes(2),
        (PLAINTEXT).to_bytes(4, "big") + bytes(2),
        (RC4).to_bytes(4, "big") + (513).to_bytes(2, "big"),
        (RC4).to_bytes(4, "big") + b"\xff\xff",
    ],
    ids=["none", "both", "unknown", "not offered", "padding", "long padding"],
)
def test_a_wrong_answer_is_refused(answer):
    a, b = Initiator(INFO_HASH, RC4), Responder(TABLE.get, methods=0)
    pour(a.take_outgoing(), b, [1000])
    pour(b.take_outgoing(), a, [1000])
    # It agrees to nothing, and so has answered nothing, but has its cipher.
    with pytest.raises(HandshakeError):
        pour(a.take_outgoing(), b, [1000])
    assert b.encryptor is not None
    with pytest.raises(HandshakeError):
        a.receive(b.encryptor.crypt(bytes(8) + answer))


@pytest.mark.parametrize(
    "offer",
    [
        b"\1" + bytes(7) + (3).to_bytes(4, "big") + bytes(4),
        bytes(8) + (4).to_bytes(4, "big") + bytes(4),
        bytes(8) + (3).to_bytes(4, "big") + (513).to_bytes(2, "big") + bytes(2),
        bytes(8) + (3).to_bytes(4, "big") + bytes(2) + (limits.MSE_INITIAL_PAYLOAD + 1).to_bytes(2, "big"),
    ],
    ids=["verification constant", "method", "padding", "initial payload"],
)
def test_a_wrong_offer_is_refused(offer):
    a, b = Initiator(INFO_HASH), Responder(TABLE.get)
    pour(a.take_outgoing(), b, [1000])
    pour(b.take_outgoing(), a, [1000])
    genuine = a.take_outgoing()
    # The same keys once more, but with another offer behind the hashes.
    secret_part = genuine[:40]
    assert b._private
    key_a = pow(mse.GENERATOR, a._private, mse.PRIME)
    secret = pow(key_a, b._private, mse.PRIME).to_bytes(mse.KEY_LENGTH, "big")
    forged = Rc4(mse._hash(b"keyA", secret, INFO_HASH)).crypt(offer)
    with pytest.raises(HandshakeError):
        pour(secret_part + forged, b, [1000])


def test_an_initial_payload_is_the_beginning_of_the_stream():
    a, b = Initiator(INFO_HASH), Responder(TABLE.get)
    pour(a.take_outgoing(), b, [1000])
    pour(b.take_outgoing(), a, [1000])
    genuine = a.take_outgoing()
    key_a = pow(mse.GENERATOR, a._private, mse.PRIME)
    secret = pow(key_a, b._private, mse.PRIME).to_bytes(mse.KEY_LENGTH, "big")
    offer = bytes(8) + (3).to_bytes(4, "big") + bytes(2) + (5).to_bytes(2, "big") + b"hello"
    pour(genuine[:40] + Rc4(mse._hash(b"keyA", secret, INFO_HASH)).crypt(offer), b, [7])
    assert (b.done, b.method, b.payload) == (True, RC4, b"hello")
