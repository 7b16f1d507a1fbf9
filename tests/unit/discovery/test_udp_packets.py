"""The packets of BEP 15, byte by byte."""

from __future__ import annotations

import pytest

from geventbt import limits
from geventbt.discovery.trackers import udp_packets as packets
from geventbt.discovery.trackers.announce import AnnounceRequest, AnnounceResponse, ScrapeResult
from geventbt.discovery.trackers.udp import ConnectionIds
from geventbt.errors import TrackerError
from geventbt.net.network import DIRECT, Network
from geventbt.net.resolve import Endpoint


def test_a_connect_request():
    assert packets.pack_connect(0x01020304) == bytes.fromhex("0000041727101980 00000000 01020304")


def test_an_announce():
    request = AnnounceRequest(
        b"i" * 20, b"p" * 20, 6881, uploaded=3, downloaded=1, left=2, event="stopped", numwant=50, key=7
    )
    assert packets.pack_announce(0xA1A2A3A4A5A6A7A8, 0x01020304, request) == (
        bytes.fromhex("a1a2a3a4a5a6a7a8 00000001 01020304")
        + b"i" * 20
        + b"p" * 20
        + bytes.fromhex("0000000000000001 0000000000000002 0000000000000003")
        + bytes.fromhex("00000003 00000000 00000007 00000032 1ae1")
    )


@pytest.mark.parametrize(("event", "number"), [("", 0), ("completed", 1), ("started", 2), ("stopped", 3)])
def test_events_have_numbers(event, number):
    packet = packets.pack_announce(0, 0, AnnounceRequest(b"i" * 20, b"p" * 20, 1, event=event))
    assert packet[80:84] == number.to_bytes(4, "big")


def test_a_scrape():
    packet = packets.pack_scrape(1, 2, [b"a" * 20, b"b" * 20])
    assert packet == bytes.fromhex("0000000000000001 00000002 00000002") + b"a" * 20 + b"b" * 20


def test_a_header():
    assert packets.read_header(bytes.fromhex("00000003 00000009 ff")) == (3, 9)
    assert packets.read_header(bytes(7)) is None


def test_a_connection_id():
    assert packets.parse_connect(bytes.fromhex("00000000 00000001 a1a2a3a4a5a6a7a8 ff")) == 0xA1A2A3A4A5A6A7A8


HEAD = bytes.fromhex("00000001 00000009 00000708 00000002 00000003")


def test_an_answer_over_ipv4():
    assert packets.parse_announce(HEAD + b"\1\2\3\4\x1a\xe1" + b"\5\6\7\10\0\0" + b"\5", 4) == AnnounceResponse(
        1800, seeders=3, leechers=2, peers=(("1.2.3.4", 6881),)
    )


def test_an_answer_over_ipv6():
    assert packets.parse_announce(HEAD + bytes(15) + b"\1\0\1", 16).peers == (("::1", 1),)


def test_no_more_peers_are_taken_than_the_limit():
    peers = b"".join(b"\1\2" + number.to_bytes(2, "big") + b"\0\1" for number in range(2 * limits.TRACKER_PEERS))
    assert len(packets.parse_announce(HEAD + peers, 4).peers) == limits.TRACKER_PEERS


def test_an_answer_to_a_scrape():
    data = bytes.fromhex("00000002 00000009 00000001 00000002 00000003 00000004 00000005 00000006")
    assert packets.parse_scrape(data, [b"a" * 20, b"b" * 20]) == {
        b"a" * 20: ScrapeResult(seeders=1, leechers=3, completed=2),
        b"b" * 20: ScrapeResult(seeders=4, leechers=6, completed=5),
    }


def test_truncated_answers_are_errors():
    with pytest.raises(TrackerError, match="15 bytes"):
        packets.parse_connect(bytes(15))
    with pytest.raises(TrackerError, match="19 bytes"):
        packets.parse_announce(bytes(19), 4)
    with pytest.raises(TrackerError, match="31 bytes"):
        packets.parse_scrape(bytes(31), [b"a" * 20, b"b" * 20])


def test_an_error_has_a_clean_text():
    assert str(packets.parse_error(bytes(8) + b"go\x1b away\0")) == "go\ufffd away"
    assert str(packets.parse_error(bytes(8))) == "the tracker gives no reason"


def test_a_connection_id_is_good_for_a_minute():
    ids, endpoint = ConnectionIds(), Endpoint(2, ("127.0.0.1", 1))
    ids.put(DIRECT, endpoint, 7, 1000.0)
    assert ids.get(DIRECT, endpoint, 1059.9) == 7
    assert ids.get(DIRECT, endpoint, 1060.0) is None
    ids.put(DIRECT, endpoint, 7, 1000.0)
    assert ids.get(Network(), endpoint, 1000.0) is None
    ids.forget(DIRECT, endpoint)
    assert ids.get(DIRECT, endpoint, 1000.0) is None


def test_connection_ids_are_bounded(monkeypatch):
    monkeypatch.setattr(limits, "UDP_CONNECTION_IDS", 3)
    ids, endpoints = ConnectionIds(), [Endpoint(2, ("127.0.0.1", port)) for port in range(5)]
    for number, endpoint in enumerate(endpoints):
        ids.put(DIRECT, endpoint, number, 0.0)
    assert [ids.get(DIRECT, endpoint, 1.0) for endpoint in endpoints] == [None, None, 2, 3, 4]
