"""Any answer of a tracker is a response or a TrackerError, and the fields of a response are valid."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote_to_bytes, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from geventbt import bencoding, limits
from geventbt.discovery.trackers import udp_packets as packets
from geventbt.discovery.trackers.announce import (
    AnnounceRequest,
    AnnounceResponse,
    ScrapeResult,
    announce_url,
    parse_announce,
    parse_scrape,
    scrape_url,
)
from geventbt.errors import FetchError, TrackerError
from geventbt.net.text import clean_text

hashes = st.binary(min_size=20, max_size=20)
counts = st.integers(0, 2**63 - 1)
requests = st.builds(
    AnnounceRequest,
    info_hash=hashes,
    peer_id=hashes,
    port=st.integers(0, 65535),
    uploaded=counts,
    downloaded=counts,
    left=counts,
    event=st.sampled_from(["", "started", "completed", "stopped"]),
    numwant=st.integers(0, 2**31 - 1),
    key=st.none() | st.integers(0, 2**32 - 1),
    trackerid=st.none() | st.binary(max_size=30),
)
scalars = st.integers(-(2**64), 2**64) | st.binary(max_size=40) | st.sampled_from([b"never", b"5", b"1.2.3.4"])
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4)
)
peers = st.fixed_dictionaries({b"ip": values, b"port": values}) | values
names = (
    b"interval", b"min interval", b"complete", b"incomplete", b"peers6", b"tracker id", b"external ip",
    b"warning message", b"failure reason", b"retry in", b"files",
)  # fmt: skip
answers = st.fixed_dictionaries(
    {}, optional={b"peers": values | st.lists(peers, max_size=5), **dict.fromkeys(names, values)}
)
bodies = st.binary(max_size=200) | answers.map(bencoding.encode)


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """Its result, or its TrackerError or FetchError, whose text can be printed."""
    try:
        return call(*args)
    except (TrackerError, FetchError) as error:
        text, result = str(error), error
    assert text.isprintable()
    return result


def check(response: AnnounceResponse) -> None:
    assert limits.MIN_ANNOUNCE_INTERVAL <= response.interval <= limits.MAX_ANNOUNCE_INTERVAL
    assert len(response.peers) == len(set(response.peers)) <= limits.TRACKER_PEERS
    for host, port in response.peers:
        assert 0 < port < 65536
        assert host.isascii()
        assert host.isprintable()
    assert response.warning is None or response.warning.isprintable()
    assert response.external_ip is None or ipaddress.ip_address(response.external_ip)


@given(bodies)
def test_any_bytes_are_an_answer_to_an_announce_or_an_error(data: bytes):
    response = outcome(parse_announce, data)
    if isinstance(response, TrackerError):
        assert response.retry_in is None or response.retry_in > 0
    else:
        check(response)


@given(bodies, st.lists(hashes, max_size=3))
def test_any_bytes_are_an_answer_to_a_scrape_or_an_error(data: bytes, wanted: list[bytes]):
    results = outcome(parse_scrape, data, wanted)
    if isinstance(results, TrackerError):
        return
    assert set(results) <= set(wanted)
    assert all(isinstance(result, ScrapeResult) for result in results.values())


@given(st.binary(max_size=100), st.sampled_from([4, 16]), st.lists(hashes, max_size=3, unique=True))
def test_any_packet_is_an_answer_or_an_error(data: bytes, size: int, wanted: list[bytes]):
    packets.read_header(data)
    assert str(packets.parse_error(data)).isprintable()
    try:
        packets.parse_connect(data)
        check(packets.parse_announce(data, size))
        packets.parse_scrape(data, wanted)
    except TrackerError:
        pass


@given(st.text(max_size=40) | st.text("htps:/?#[]@.%a0 \r\n", max_size=40).map("http://".__add__))
def test_any_text_can_be_scraped_or_not(url: str):
    outcome(scrape_url, url, [bytes(20)])


@given(requests)
def test_an_announce_url_contains_the_fields_of_the_request(request: AnnounceRequest):
    query = urlsplit(announce_url("http://t/announce?passkey=x", request)).query
    fields = dict(parse_qsl(query, encoding="latin-1"))
    assert fields["passkey"] == "x"
    assert fields["info_hash"].encode("latin-1") == request.info_hash
    assert int(fields["left"]) == request.left
    assert fields.get("event", "") == request.event
    raw = dict(part.split("=") for part in query.split("&"))
    assert unquote_to_bytes(raw["peer_id"]) == request.peer_id
    assert query.isascii()


@given(requests, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
def test_any_request_fits_a_packet(request: AnnounceRequest, connection_id: int, transaction_id: int):
    assert len(packets.pack_announce(connection_id, transaction_id, request)) == 98


@given(st.text() | st.binary(max_size=2000))
def test_a_text_is_clean_and_short(text: str | bytes):
    clean = clean_text(text)
    assert clean.isprintable()
    assert len(clean) <= limits.TRACKER_TEXT
