"""The messages of ut_pex (BEP 11), in bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt import bencoding, limits
from geventbt.errors import RemoteProtocolError
from geventbt.net.addresses import normalise
from geventbt.protocol.ut_pex import SEED, PexMessage, changes

addresses = st.ip_addresses().filter(lambda ip: normalise((str(ip), 1)) == (str(ip), 1))
peers = st.tuples(addresses.map(str), st.integers(1, 65535))


def test_a_message_in_bytes():
    message = PexMessage({("1.2.3.4", 258): SEED, ("::1", 1): 0}, (("5.6.7.8", 80),))
    assert bencoding.decode(message.to_bytes()) == {
        b"added": b"\1\2\3\4\1\2",
        b"added.f": b"\2",
        b"added6": bytes(15) + b"\1\0\1",
        b"added6.f": b"\0",
        b"dropped": b"\5\6\7\10\0P",
        b"dropped6": b"",
    }
    assert PexMessage.from_bytes(message.to_bytes()) == message


@given(st.dictionaries(peers, st.integers(0, 255), max_size=20), st.lists(peers, max_size=20, unique=True))
def test_reading_inverts_writing(added, dropped):
    read = PexMessage.from_bytes(PexMessage(added, tuple(dropped)).to_bytes())
    assert (read.added, set(read.dropped)) == (added, set(dropped))


def test_lists_that_are_none_and_addresses_that_are_none_are_left_out():
    bad = {
        "added": b"\0\0\0\0\1\1" + b"\1\2\3\4\0\0" + b"\xe0\0\0\1\1\1" + b"\xff\xff\xff\xff\1\1" + b"\1\2\3\4\1\1",
        "added.f": b"too short",
        "added6": b"not eighteen",
        "dropped": 7,
        "dropped6": [b"x"],
    }
    assert PexMessage.from_bytes(bencoding.encode(bad)) == PexMessage({("1.2.3.4", 257): 0})


def test_no_more_than_fifty_of_each_are_taken():
    many = b"".join(bytes([10, 0, number >> 8, number & 255, 1, 1]) for number in range(10_000))
    message = PexMessage.from_bytes(bencoding.encode({"added": many, "dropped": many}))
    assert (len(message.added), len(message.dropped)) == (limits.PEX_PEERS, limits.PEX_PEERS)


@given(
    st.binary()
    | st.recursive(st.binary() | st.integers(), lambda x: st.dictionaries(st.binary(), x)).map(bencoding.encode)
)
def test_any_bytes_are_a_message_or_a_protocol_error(payload):
    try:
        message = PexMessage.from_bytes(payload)
    except RemoteProtocolError:
        return
    assert len(message.added) <= limits.PEX_PEERS


@pytest.mark.parametrize(
    "payload", [b"", b"i1e", b"l" * 10_000, b"d5:added" + b"9" * 5000 + b":", b"d5:addedi" + b"1" * 5000]
)
def test_anything_but_a_dictionary_is_a_violation(payload):
    with pytest.raises(RemoteProtocolError):
        PexMessage.from_bytes(payload)


@pytest.mark.parametrize("junk", [b"\0", b"\n", b"de"])
def test_bytes_behind_a_message_are_ignored(junk):
    message = PexMessage({("1.2.3.4", 5): 0})
    assert PexMessage.from_bytes(message.to_bytes() + junk) == message


def test_changes_are_the_peers_not_yet_sent():
    told = {("1.1.1.1", 1): 0, ("2.2.2.2", 2): 0}
    assert changes(told, [(("2.2.2.2", 2), 0), (("3.3.3.3", 3), SEED)]) == PexMessage(
        {("3.3.3.3", 3): SEED}, (("1.1.1.1", 1),)
    )
