"""Downloads that stand still: when, for what, and which causes are news."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geventbt.client.torrent.standstill import (
    Cause,
    PeerCounts,
    Search,
    StandstillWatch,
    cause_of_disk,
    cause_with_peers,
    cause_without_metadata,
    cause_without_peers,
)
from geventbt.discovery.trackers.tracker_state import TrackerStatus
from geventbt.errors import StorageError

CHOKED, PEERS = Cause("choked", "all choke us"), Cause("peers", "no peers")


# ------------------------------------------------------------------ when


def test_a_download_stands_still_after_a_time_without_progress() -> None:
    watch = StandstillWatch(60)
    assert [watch.is_still(1, now) for now in (0, 59, 60, 200)] == [False, False, True, True]


def test_progress_ends_a_standstill() -> None:
    watch = StandstillWatch(60)
    assert [watch.is_still(*at) for at in ((1, 0), (1, 60), (2, 61), (2, 120), (2, 121))] == [
        False,
        True,
        False,
        False,
        True,
    ]


def test_what_is_stopped_stands_still_at_once() -> None:
    watch = StandstillWatch(60)
    assert not watch.is_still(1, 0)
    assert watch.is_still(1, 1, is_stopped=True)
    assert watch.is_still(2, 2, is_stopped=True)
    assert not watch.is_still(3, 3)


# ------------------------------------------------------------------ what is news


def news(watch: StandstillWatch, causes: list[tuple[float, object, Cause]]) -> list[bool]:
    """Whether each cause is reported, at its time and with the progress that was made by then."""
    return [watch.is_still(progress, now) and watch.is_news(cause, now) for now, progress, cause in causes]


def test_a_cause_is_reported_once() -> None:
    reports = news(StandstillWatch(60), [(now, 0, PEERS) for now in range(0, 1000, 10)])
    assert reports.count(True) == 1
    assert reports[6]


def test_a_cause_is_reported_when_it_changes() -> None:
    watch = StandstillWatch(60)
    assert news(watch, [(0, 0, PEERS), (60, 0, PEERS), (130, 0, CHOKED), (200, 0, PEERS)]) == [False, True, True, True]


def test_causes_that_alternate_are_reported_once_in_the_time() -> None:
    watch = StandstillWatch(60)
    reports = news(watch, [(now, 0, PEERS if now % 2 else CHOKED) for now in range(600)])
    assert reports.count(True) <= 10


def test_other_numbers_of_the_same_kind_are_no_news() -> None:
    watch = StandstillWatch(60)
    assert watch.is_news(Cause("choked", "12 peers"), 0)
    assert not watch.is_news(Cause("choked", "11 peers"), 100)


def test_one_block_now_and_then_is_no_reason_to_report_again() -> None:
    watch = StandstillWatch(60)
    reports = news(watch, [(now, now // 65, CHOKED) for now in range(0, 1000, 5)])
    assert reports.count(True) == 1


def test_a_cause_is_reported_again_after_the_download_had_moved() -> None:
    watch = StandstillWatch(60)
    still = [(float(now), 0, PEERS) for now in range(0, 100, 10)]
    moving = [(float(now), now, PEERS) for now in range(100, 300, 10)]
    again = [(float(now), 290, PEERS) for now in range(300, 400, 10)]
    assert news(watch, [*still, *moving, *again]).count(True) == 2


# ------------------------------------------------------------------ for what

COUNTS = PeerCounts(peers=12, useful=4, unchoked=2, silent=0, missing=3, broken=0)


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        (replace(COUNTS, useful=0, unchoked=0), "12 peers, none has the 3 pieces missing"),
        (replace(COUNTS, peers=1, useful=0, unchoked=0, missing=1), "1 peer, none has the 1 piece missing"),
        (replace(COUNTS, unchoked=0), "12 peers, 4 with pieces that are missing: these all choke us"),
        (
            replace(COUNTS, silent=2),
            "12 peers, 4 with pieces that are missing: none of these answers our requests",
        ),
        (COUNTS, "12 peers, 4 with pieces that are missing: no block comes from these"),
        (replace(COUNTS, broken=3), "12 peers, the 3 pieces missing came wrong from every one that has them"),
    ],
)
def test_the_cause_with_peers(counts: PeerCounts, text: str) -> None:
    assert cause_with_peers(counts).text == text


FAILING = TrackerStatus(error="connection refused")
ANSWERING = TrackerStatus(registered=True)
NOTHING = Search({}, None, 0, None)


@pytest.mark.parametrize(
    ("search", "text"),
    [
        (NOTHING, "no peers: no addresses known; no trackers"),
        (replace(NOTHING, dht_nodes=0), "no peers: no addresses known; no trackers; DHT: 0 nodes"),
        (
            replace(NOTHING, trackers={"http://a.example/key": FAILING, "udp://b": ANSWERING}, dht_nodes=1),
            "no peers: no addresses known; 1 of 2 trackers failing (http://a.example: connection refused), "
            "1 tracker answering; DHT: 1 node",
        ),
        (
            replace(NOTHING, trackers={"http://a": TrackerStatus()}),
            "no peers: no addresses known; 1 tracker not asked yet",
        ),
        (
            replace(NOTHING, known=2, failure=ConnectionError("refused")),
            "no peers: 2 addresses known (the last failed: refused); no trackers",
        ),
    ],
)
def test_the_cause_without_peers(search: Search, text: str) -> None:
    assert cause_without_peers(search).text == text


def test_a_key_of_the_user_in_a_url_is_not_told() -> None:
    url = "http://user:secret@tracker.example:80/secret/announce?key=secret"
    text = cause_without_peers(replace(NOTHING, trackers={url: FAILING})).text
    assert "tracker.example:80" in text
    assert "secret" not in text


def test_untrusted_text_is_made_printable() -> None:
    search = replace(NOTHING, trackers={"http://a\x1b[2J": TrackerStatus(error="b\x1b[2J")}, known=1)
    assert cause_without_peers(replace(search, failure=OSError("c\r\n"))).text.isprintable()


def test_the_cause_of_a_link_without_metadata() -> None:
    assert cause_without_metadata(2, NOTHING).text == "the metadata: 2 peers asked"
    assert cause_without_metadata(0, NOTHING).text == "the metadata: no peers: no addresses known; no trackers"


def test_a_fault_of_the_disk_says_when_it_is_tried_again() -> None:
    error = StorageError("cannot write data: no space left on device")
    assert cause_of_disk(error, 29.6).text == "the disk: cannot write data: no space left on device; next try in 30 s"
    assert cause_of_disk(error, None).text.endswith("; tried again on resume")


def test_a_fault_of_the_disk_is_reported_once_however_often_it_is_tried_again() -> None:
    watch = StandstillWatch(60)
    error = StorageError("full")
    causes = [(now, cause_of_disk(error, 60 - now % 60)) for now in range(0, 600, 2)]
    reports = [watch.is_still(now // 60, now, is_stopped=True) and watch.is_news(cause, now) for now, cause in causes]
    assert reports.count(True) == 1
