"""What is said to a tracker over HTTP, and what is taken of its answers."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from geventbt import bencoding, limits
from geventbt.discovery.trackers.announce import (
    AnnounceRequest,
    AnnounceResponse,
    ScrapeResult,
    announce_url,
    merged,
    parse_announce,
    parse_scrape,
    scrape_url,
)
from geventbt.errors import TrackerError

INFO_HASH = bytes(range(0x10, 0x24))
PEER_ID = b"-GB0100-abcdefghij~ "
REQUEST = AnnounceRequest(INFO_HASH, PEER_ID, 6881, uploaded=1, downloaded=2, left=3, numwant=50)


def answer(**fields: object) -> AnnounceResponse:
    """Parse an answer; underscores stand for spaces in the keys."""
    return parse_announce(bencoding.encode({key.replace("_", " "): value for key, value in fields.items()}))


def test_an_announce_as_a_url():
    assert announce_url("http://t.example/announce", REQUEST) == (
        "http://t.example/announce?info_hash=%10%11%12%13%14%15%16%17%18%19%1A%1B%1C%1D%1E%1F%20%21%22%23"
        "&peer_id=-GB0100-abcdefghij~%20&port=6881&uploaded=1&downloaded=2&left=3&compact=1&numwant=50"
    )


def test_an_announce_with_all_there_is():
    request = AnnounceRequest(INFO_HASH, PEER_ID, 1, event="started", key=0xBEEF, trackerid=b"a&b")
    assert announce_url("http://t.example/a", request).endswith("&event=started&key=0000BEEF&trackerid=a%26b")


def test_a_query_that_the_url_has_already_is_kept_and_a_fragment_is_not():
    url = announce_url("https://t.example:8443/announce?passkey=abc#top", REQUEST)
    assert url.startswith("https://t.example:8443/announce?passkey=abc&info_hash=%10")
    assert "#" not in url


@pytest.mark.parametrize(
    "wrong",
    [
        {"info_hash": b"short"},
        {"peer_id": bytes(21)},
        {"port": 65536},
        {"left": -1},
        {"uploaded": 2**63},
        {"event": "gone"},
        {"numwant": -1},
        {"key": 2**32},
    ],
)
def test_a_request_out_of_range_is_the_callers_error(wrong):
    with pytest.raises(ValueError):
        AnnounceRequest(**{"info_hash": INFO_HASH, "peer_id": PEER_ID, "port": 6881, **wrong})


@pytest.mark.parametrize(
    ("url", "scrape"),
    [
        ("http://t.example/announce", "http://t.example/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa"),
        ("http://t.example/x/announce.php", "http://t.example/x/scrape.php?info_hash=aaaaaaaaaaaaaaaaaaaa"),
        ("http://announce.example/announce?k=1", "http://announce.example/scrape?k=1&info_hash=aaaaaaaaaaaaaaaaaaaa"),
        ("http://t.example/announce/key", "http://t.example/scrape/key?info_hash=aaaaaaaaaaaaaaaaaaaa"),
    ],
)
def test_announce_in_the_path_becomes_scrape(url, scrape):
    assert scrape_url(url, [b"a" * 20]) == scrape


def test_several_torrents_are_scraped_at_once():
    assert scrape_url("http://t/announce", [b"a" * 20, b"b" * 20]).count("info_hash=") == 2


@pytest.mark.parametrize("url", ["http://announce.example/a", "http://[announce"])
def test_a_tracker_without_announce_in_its_path_cannot_be_scraped(url):
    with pytest.raises(TrackerError):
        scrape_url(url, [b"a" * 20])


def test_a_compact_answer():
    response = answer(
        interval=1800,
        min_interval=900,
        complete=5,
        incomplete=6,
        peers=b"\1\2\3\4\x1a\xe1" + b"\5\6\7\10\0\1",
        peers6=bytes(15) + b"\1\1\0",
        tracker_id=b"\0id",
        external_ip=b"\x09\x08\x07\x06",
        warning_message="be kind",
    )
    assert response == AnnounceResponse(
        interval=1800,
        min_interval=900,
        seeders=5,
        leechers=6,
        peers=(("1.2.3.4", 6881), ("5.6.7.8", 1), ("::1", 256)),
        warning="be kind",
        trackerid=b"\0id",
        external_ip="9.8.7.6",
    )


def test_an_answer_with_dictionaries():
    peers = [
        {"ip": "1.2.3.4", "port": 6881, "peer id": PEER_ID},
        {"ip": "2001:db8::1", "port": 6882},
        {"ip": "peer.example.org", "port": 6883},
    ]
    assert answer(peers=peers).peers == (("1.2.3.4", 6881), ("2001:db8::1", 6882), ("peer.example.org", 6883))


@pytest.mark.parametrize(
    "peer",
    [
        {"ip": "1.2.3.4", "port": 0},
        {"ip": "1.2.3.4", "port": 65536},
        {"ip": "1.2.3.4", "port": -1},
        {"ip": "1.2.3.4", "port": "80"},
        {"ip": "1.2.3.4"},
        {"ip": "1.2.3.4.5", "port": 80},
        {"ip": "127.1", "port": 80},
        {"ip": "0x7f.1", "port": 80},
        {"ip": "fe80::1%eth0", "port": 80},
        {"ip": "a b", "port": 80},
        {"ip": "host\n", "port": 80},
        {"ip": "a" * 64 + ".example", "port": 80},
        {"ip": "é.example".encode(), "port": 80},
        {"ip": "", "port": 80},
        {"ip": 5, "port": 80},
        {"ip": "0.0.0.0", "port": 80},
        {"ip": "ff02::1", "port": 80},
        {"ip": "::ffff:224.0.0.1", "port": 80},
        "1.2.3.4:80",
        7,
    ],
)
def test_what_is_no_peer_is_left_out(peer):
    assert answer(peers=[peer, {"ip": "9.9.9.9", "port": 9}]).peers == (("9.9.9.9", 9),)


def test_compact_peers_that_cannot_be_are_left_out():
    bad = b"\0\0\0\0\1\1" + b"\1\2\3\4\0\0" + b"\xe0\0\0\1\1\1" + b"\xff\xff\xff\xff\1\1"
    assert answer(peers=bad + b"\1\2\3\4\1\1" + b"\1\2\3\4\1\1" + b"cut").peers == (("1.2.3.4", 257),)


def test_no_more_peers_are_kept_than_the_limit():
    many = b"".join(number.to_bytes(4, "big") + b"\1\1" for number in range(0x01000000, 0x01000000 + 5000))
    assert len(answer(peers=many, peers6=bytes(15) + b"\1\1\1").peers) == limits.TRACKER_PEERS
    listed = [{"ip": f"1.2.{n // 250}.{n % 250}", "port": 1} for n in range(1500)]
    assert len(answer(peers=listed).peers) == limits.TRACKER_PEERS


def test_lists_of_peers_that_are_none_are_none():
    assert answer(peers={"a": 1}, peers6=7).peers == ()


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        (None, limits.ANNOUNCE_INTERVAL),
        (0, limits.ANNOUNCE_INTERVAL),
        (-5, limits.ANNOUNCE_INTERVAL),
        ("soon", limits.ANNOUNCE_INTERVAL),
        (1, limits.MIN_ANNOUNCE_INTERVAL),
        (1000, 1000),
        (2**62, limits.MAX_ANNOUNCE_INTERVAL),
    ],
)
def test_an_interval_is_kept_within_reason(said, taken):
    assert (answer() if said is None else answer(interval=said)).interval == taken


def test_a_min_interval_of_zero_is_none():
    assert answer(interval=900, min_interval=0) == AnnounceResponse(900.0)


def test_fields_of_the_wrong_kind_are_as_if_they_were_not_there():
    wrong = answer(
        min_interval="x", complete=-1, incomplete=[], tracker_id=bytes(257), external_ip=b"abc", warning_message=5
    )
    assert wrong == AnnounceResponse(limits.ANNOUNCE_INTERVAL)


def test_a_failure_reason_is_an_error_with_its_text_on_one_clean_line():
    reason = b"\x1b[2Junregistered\r\ntorrent \xff" + b"x" * 10_000
    with pytest.raises(TrackerError) as caught:
        answer(failure_reason=reason, peers=b"\1\2\3\4\1\1")
    text = str(caught.value)
    assert text.startswith("\ufffd[2Junregistered\ufffd\ufffdtorrent \ufffdxxx")
    assert text.isprintable()
    assert len(text) == limits.TRACKER_TEXT


@pytest.mark.parametrize("reason", [b"", 5, [], {}])
def test_a_failure_without_a_reason_is_an_error_too(reason):
    with pytest.raises(TrackerError, match="no reason"):
        answer(failure_reason=reason)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("never", inf),
        ("5", 300),
        (5, 300),
        (0, None),
        (-1, None),
        ("soon", None),
        ([], None),
        (10**9, limits.MAX_ANNOUNCE_INTERVAL),
    ],
)
def test_a_failure_may_say_when_to_try_again(said, seconds):
    with pytest.raises(TrackerError) as caught:
        answer(failure_reason="full", retry_in=said)
    assert caught.value.retry_in == seconds


@pytest.mark.parametrize("data", [b"", b"<html>", b"le", b"i1e", b"d8:interval", b"d1:ai1e-6:"])
def test_what_is_no_answer_is_an_error(data):
    with pytest.raises(TrackerError, match="not the answer of a tracker"):
        parse_announce(data)


@pytest.mark.parametrize("junk", [b"\n", b"\r\n", b"\0", b"<!-- 0.01 s -->"])
def test_bytes_behind_an_answer_are_ignored(junk):
    assert parse_announce(b"d8:intervali900e5:peers0:e" + junk) == parse_announce(b"d8:intervali900e5:peers0:e")
    with pytest.raises(TrackerError, match="full"):
        parse_announce(b"d14:failure reason4:fulle" + junk)


def test_a_scrape_counts_the_torrents_that_were_asked_for():
    counts = {"complete": 11, "downloaded": 13772, "incomplete": 19}
    data = bencoding.encode({"files": {b"x" * 20: counts, b"y" * 20: {"complete": -1}, b"z" * 20: 5, b"w" * 20: {}}})
    assert parse_scrape(data, [b"x" * 20, b"y" * 20, b"z" * 20, b"v" * 20]) == {
        b"x" * 20: ScrapeResult(seeders=11, leechers=19, completed=13772),
        b"y" * 20: ScrapeResult(0, 0, 0),
    }


@pytest.mark.parametrize("value", [{}, {"files": []}, {"failure reason": "no"}])
def test_a_scrape_without_files_is_an_error(value):
    with pytest.raises(TrackerError):
        parse_scrape(bencoding.encode(value), [b"x" * 20])


def test_the_answers_over_both_families_are_one():
    over_ipv4 = AnnounceResponse(600, 60, 1, 2, (("1.2.3.4", 1), ("5.6.7.8", 1)), trackerid=b"id")
    over_ipv6 = AnnounceResponse(900, None, 9, 9, (("::1", 1), ("1.2.3.4", 1)), warning="w", external_ip="::2")
    assert merged([over_ipv4, over_ipv6]) == AnnounceResponse(
        900, 60, 1, 2, (("1.2.3.4", 1), ("5.6.7.8", 1), ("::1", 1)), "w", b"id", "::2"
    )


def test_over_ipv6_it_is_the_port_there():
    request = replace(REQUEST, port=6881, port6=1)
    assert request.over_ipv6().port == 1
    assert replace(REQUEST, port=6881).over_ipv6().port == 6881


@pytest.mark.parametrize("address", [bytes(4), b"\xff" * 4, b"\xe0\0\0\1", bytes(16), b"abc"])
def test_what_cannot_be_our_address_is_none(address):
    assert parse_announce(bencoding.encode({"external ip": address})).external_ip is None
