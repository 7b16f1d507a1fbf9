"""The messages of ut_holepunch (BEP 55)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt.errors import RemoteProtocolError
from geventbt.protocol.ut_holepunch import CONNECT, ERROR, NO_SUPPORT, RENDEZVOUS, HolepunchMessage

PEER = ("1.2.3.4", 6881)


@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (HolepunchMessage(RENDEZVOUS, PEER), "0000 01020304 1ae1 00000000"),
        (HolepunchMessage(CONNECT, ("2001:db8::1", 1)), "0101 20010db8000000000000000000000001 0001 00000000"),
        (HolepunchMessage(ERROR, PEER, NO_SUPPORT), "0200 01020304 1ae1 00000003"),
    ],
    ids=["rendezvous", "connect over IPv6", "error"],
)
def test_messages_are_as_bep_55_has_them(message: HolepunchMessage, payload: str) -> None:
    assert message.to_bytes() == bytes.fromhex(payload)
    assert HolepunchMessage.from_bytes(bytes.fromhex(payload)) == message


def test_libtorrent_leaves_the_error_out_where_there_is_none() -> None:
    assert HolepunchMessage.from_bytes(bytes.fromhex("0100010203041ae1")) == HolepunchMessage(CONNECT, PEER)


def test_an_error_without_its_code_is_one_all_the_same() -> None:
    assert HolepunchMessage.from_bytes(bytes.fromhex("0200010203041ae1 0000")) == HolepunchMessage(ERROR, PEER)


def test_an_error_of_a_message_that_is_none_is_ignored() -> None:
    assert HolepunchMessage.from_bytes(bytes.fromhex("0100010203041ae1 00000004 ff")).error == 0


@pytest.mark.parametrize(
    "payload",
    ["", "00", "0000", "0000 01020304 1a", "0002 01020304 1ae1", "0001 01020304 1ae1", "0000 01020304 0000",
     "0000 e0000001 1ae1", "0000 00000000 1ae1", "0001 ff020000000000000000000000000001 1ae1"],
    ids=["empty", "type alone", "no address", "cut", "no such family", "short for IPv6", "port 0", "multicast",
         "unspecified", "multicast over IPv6"],
)  # fmt: skip
def test_what_is_no_message_or_no_address_of_a_peer_is_a_violation(payload: str) -> None:
    with pytest.raises(RemoteProtocolError):
        HolepunchMessage.from_bytes(bytes.fromhex(payload))


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_violation(payload: bytes) -> None:
    try:
        message = HolepunchMessage.from_bytes(payload)
    except RemoteProtocolError:
        return
    assert HolepunchMessage.from_bytes(message.to_bytes()) == message
