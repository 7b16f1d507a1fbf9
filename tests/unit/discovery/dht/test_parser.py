"""What datagrams say, and which of them say nothing."""

from __future__ import annotations

from typing import Any

import pytest

from geventbt import bencoding, limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import IPV4, IPV6, Contact, pack_contacts
from geventbt.discovery.dht.items import Item, sign
from geventbt.discovery.dht.parser import BadQuery, NotAMessage, parse

ID = b"i" * 20
OTHER = b"o" * 20
REQUESTS = [
    m.Ping(),
    m.FindNode(OTHER),
    m.FindNode(OTHER, frozenset((IPV4, IPV6))),
    m.GetPeers(OTHER),
    m.GetPeers(OTHER, frozenset((IPV6,)), no_seeds=True, scrape=True),
    m.AnnouncePeer(OTHER, 6881, b"token"),
    m.AnnouncePeer(OTHER, 1, b"token", implied_port=True, is_seed=True),
    m.Get(OTHER),
    m.Get(OTHER, 5),
    m.PutItem(Item(b"d1:ai1ee"), b"token"),
    m.PutItem(sign([1, b"two"], b"s" * 32, 3, b"salt"), b"token", cas=2),
    m.SampleInfoHashes(OTHER),
]


def query(method: bytes, **arguments: Any) -> bytes:
    return bencoding.encode({"t": b"tt", "y": "q", "q": method, "a": {"id": ID, **arguments}})


def reply(top: dict[str, Any] | None = None, **values: Any) -> bytes:
    return bencoding.encode({"t": b"tt", "y": "r", "r": {"id": ID, **values}, **(top or {})})


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
@pytest.mark.parametrize("read_only", [False, True])
def test_a_query_is_read_as_it_was_written(request_: m.Request, read_only: bool) -> None:
    data = m.write_query(b"tt", ID, request_, read_only=read_only)
    assert parse(data) == m.Query(b"tt", ID, request_, read_only)
    assert bencoding.encode(bencoding.decode(data)) == data


def test_the_bytes_of_a_query() -> None:
    assert m.write_query(b"aa", b"abcdefghij0123456789", m.GetPeers(b"mnopqrstuvwxyz123456")) == (
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:v4:"
        + m.CLIENT
        + b"1:y1:qe"
    )


def test_the_bytes_of_a_reply_and_an_error() -> None:
    asker = ("127.0.0.1", 6881)
    values = {b"token": m.string(b"x")}
    assert m.write_reply(b"aa", ID, values, asker) == (
        b"d2:ip6:\x7f\0\0\x01\x1a\xe11:rd2:id20:iiiiiiiiiiiiiiiiiiii5:token1:xe1:t2:aa1:v4:" + m.CLIENT + b"1:y1:re"
    )
    assert m.write_failure(b"aa", 203, "no", asker) == (
        b"d1:eli203e2:noe2:ip6:\x7f\0\0\x01\x1a\xe11:t2:aa1:v4:" + m.CLIENT + b"1:y1:ee"
    )


def test_everything_that_a_reply_may_have() -> None:
    v4, v6 = Contact(OTHER, ("1.2.3.4", 5)), Contact(ID, ("2001:db8::1", 6))
    data = reply(
        {"ip": bytes([9, 8, 7, 6, 1, 0])},
        nodes=pack_contacts([v4]),
        nodes6=pack_contacts([v6]),
        values=[bytes([1, 2, 3, 4, 0, 5]), bytes(15) + b"\x01\0\x07"],
        token=b"token",
        BFsd=bytes(256),
        BFpe=bytes(256),
        samples=OTHER + ID + b"short",
        num=7,
        interval=60,
    )
    found = parse(data)
    assert isinstance(found, m.Reply)
    assert found.nodes == [v4, v6]
    assert found.peers == [("1.2.3.4", 5), ("::1", 7)]
    assert found.token == b"token"
    assert found.seeds is not None
    assert found.others is not None
    assert found.samples == (OTHER, ID)
    assert (found.sample_count, found.sample_interval) == (7, 60)
    assert found.own_address == ("9.8.7.6", 256)


def test_the_item_of_a_reply_keeps_its_bytes() -> None:
    item = sign({"b": 1, "a": 2}, b"s" * 32, 3)
    found = parse(m.write_reply(b"tt", ID, m.item_values(item), ("1.2.3.4", 5)))
    assert isinstance(found, m.Reply)
    assert found.item == item


def test_wrong_values_of_a_reply_are_left_out() -> None:
    found = parse(
        reply(
            {"ip": b"short"},
            nodes=1,
            nodes6=[b"x"],
            values={"a": 1},
            token=[],
            BFsd=b"short",
            BFpe=5,
            samples=3,
            num=-1,
            interval=b"x",
            seq=-4,
        )
    )
    assert found == m.Reply(b"tt", ID)


@pytest.mark.parametrize(
    "address",
    [
        bytes([1, 2, 3, 4, 0, 0]),
        bytes([0, 0, 0, 0, 0, 1]),
        bytes([224, 0, 0, 1, 0, 1]),
        bytes([255, 255, 255, 255, 0, 1]),
        b"\xff\x02" + bytes(15) + b"\x01",
        b"12345",
        b"",
    ],
)
def test_what_no_peer_can_have_is_no_peer(address: bytes) -> None:
    found = parse(reply(values=[address, 5, []], nodes=OTHER + address))
    assert isinstance(found, m.Reply)
    assert found.peers == []
    assert found.nodes == []


def test_an_error_is_read() -> None:
    data = bencoding.encode({"t": b"tt", "y": "e", "e": [203, b"bad\x1b[31m token"]})
    failure = parse(data)
    assert isinstance(failure, m.Failure)
    assert failure.code == 203
    assert failure.text.isprintable()


@pytest.mark.parametrize("error", [b"text alone", 5, [], [1], [b"x", 1], {}])
def test_an_odd_error_is_one_all_the_same(error: Any) -> None:
    assert isinstance(parse(bencoding.encode({"t": b"tt", "y": "e", "e": error})), m.Failure)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"d",
        b"de",
        b"le",
        b"i1e",
        b"d1:y1:qe",
        b"d1:ai1e-6:",
        bytes(100),
        b"d1:t0:1:y1:qe",
        b"d1:t2:tt1:y1:xe",
        b"d1:t2:tt1:y1:qe",
        b"d1:q4:ping1:t2:tt1:y1:qe",
        b"d1:ai1e1:q4:ping1:t2:tt1:y1:qe",
        b"d1:rle1:t2:tt1:y1:re",
        b"d1:rd2:id3:abce1:t2:tt1:y1:re",
        b"d1:ti5e1:y1:qe",
        b"d" + b"1:a" + b"l" * 100 + b"e" * 101,
        query(b"ping") + b"x",
        query(b"ping", padding=bytes(limits.DHT_PACKET)),
    ],
)
def test_what_is_not_a_message(data: bytes) -> None:
    with pytest.raises(NotAMessage):
        parse(data)


ITEM = {"token": b"t", "v": 1, "k": bytes(32), "sig": bytes(64), "seq": 1}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bencoding.encode({"t": b"tt", "y": "q", "q": "ping", "a": {}}), 203),
        (bencoding.encode({"t": b"tt", "y": "q", "q": "ping", "a": {"id": b"short"}}), 203),
        (query(b"find_node"), 203),
        (query(b"find_node", target=b"x" * 19), 203),
        (query(b"get_peers", info_hash=5), 203),
        (query(b"announce_peer", info_hash=OTHER, port=0, token=b"t"), 203),
        (query(b"announce_peer", info_hash=OTHER, port=65536, token=b"t"), 203),
        (query(b"announce_peer", info_hash=OTHER, port=1), 203),
        (query(b"get", target=b""), 203),
        (query(b"put", token=b"t"), 203),
        (query(b"put", v=1), 203),
        (query(b"put", token=b"t", v=bytes(997)), 205),
        (query(b"put", **{**ITEM, "salt": bytes(65)}), 207),
        (query(b"put", **{**ITEM, "k": b"short"}), 203),
        (query(b"put", **{**ITEM, "sig": b"short"}), 203),
        (query(b"put", **{**ITEM, "seq": -1}), 203),
        (query(b"put", **{**ITEM, "seq": 1 << 63}), 203),
        (query(b"put", token=b"t", v=1).replace(b"1:vi1e", b"1:vd1:bi1e1:ai1ee"), 203),
        (query(b"sample_infohashes"), 203),
        (query(b"vote"), 204),
    ],
)
def test_a_bad_query_has_its_error(data: bytes, code: int) -> None:
    with pytest.raises(BadQuery) as bad:
        parse(data)
    assert (bad.value.transaction_id, bad.value.code) == (b"tt", code)


@pytest.mark.parametrize("key", ["target", "info_hash"])
def test_an_unknown_query_with_a_target_is_one_for_nodes(key: str) -> None:
    found = parse(query(b"vote", **{key: OTHER}))
    assert isinstance(found, m.Query)
    assert found.request == m.FindNode(OTHER)


def test_a_query_with_an_implied_port_needs_no_port() -> None:
    found = parse(query(b"announce_peer", info_hash=OTHER, implied_port=1, token=b"t"))
    assert isinstance(found, m.Query)
    assert found.request == m.AnnouncePeer(OTHER, 0, b"t", implied_port=True)


def test_the_families_that_are_wanted() -> None:
    found = parse(query(b"find_node", target=OTHER, want=[b"n6", b"n9", 5, b"n4"]))
    assert isinstance(found, m.Query)
    assert found.request == m.FindNode(OTHER, frozenset((IPV4, IPV6)))
