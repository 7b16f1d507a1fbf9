"""The announcer, with trackers that are functions: tiers, times, events and failures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import inf
from time import monotonic
from typing import Any

import gevent
import pytest
from gevent.event import Event

from geventbt import limits
from geventbt.discovery.announce_queue import AnnounceQueue
from geventbt.discovery.trackers.announce import AnnounceRequest, AnnounceResponse
from geventbt.discovery.trackers.announcer import Announcer
from geventbt.errors import TrackerError
from tests.loopback.harness import eventually

PEERS = (("1.2.3.4", 1),)
GOOD = AnnounceResponse(interval=1800.0, peers=PEERS)
LONG = 3600.0


class Trackers:
    """Stands for every tracker: what each does is a response, an error, or a function of the request."""

    def __init__(self) -> None:
        self.does: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        self.requests: list[AnnounceRequest] = []

    def announce(self, url: str, request: AnnounceRequest, *, timeout: float = LONG) -> AnnounceResponse:
        self.asked.append((url, request.event))
        self.requests.append(request)
        what = self.does.get(url, GOOD)
        if callable(what):
            what = what(request)
        if isinstance(what, Exception):
            raise what
        return what

    def count(self, url: str) -> int:
        return sum(asked == url for asked, _ in self.asked)


@pytest.fixture
def trackers() -> Trackers:
    return Trackers()


@pytest.fixture(autouse=True)
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiers stay as they are written, for the tests that count on it."""
    monkeypatch.setattr("geventbt.discovery.trackers.tier.random.shuffle", lambda items: None)


@pytest.fixture
def announcing(trackers: Trackers) -> Iterator[Callable[..., Announcer]]:
    """Starts announcers, and stops them."""
    started: list[Announcer] = []

    def make(tiers: Any, on_peers: Any = lambda peers, url: None, make_request: Any = None) -> Announcer:
        default = lambda event: AnnounceRequest(b"i" * 20, b"p" * 20, 6881, event=event)  # noqa: E731
        started.append(Announcer(tiers, make_request or default, on_peers, announce=trackers.announce))
        started[-1].start()
        return started[-1]

    yield make
    for announcer in started:
        announcer.stop(0)


def hang(request: AnnounceRequest) -> AnnounceResponse:
    gevent.sleep(LONG)
    raise AssertionError("the wait is over 1000 days")


def test_peers_are_handed_on_with_the_url_they_come_from(trackers, announcing):
    got = []
    announcing([["a"]], lambda peers, url: got.append((peers, url)))
    eventually(lambda: got)
    assert got == [([("1.2.3.4", 1)], "a")]
    assert trackers.asked == [("a", "started")]


def test_one_tracker_of_each_tier_is_asked(trackers, announcing):
    announcing([["a", "b"], ["c"], ["d", "e"]])
    eventually(lambda: len(trackers.asked) == 3)
    assert {url for url, _ in trackers.asked} == {"a", "c", "d"}


def test_a_slow_tracker_delays_no_other_tier(trackers, announcing):
    trackers.does["slow"] = hang
    announcing([["slow"], ["b"]])
    eventually(lambda: ("b", "started") in trackers.asked)


def test_within_a_tier_the_next_is_asked_when_one_fails_and_moves_to_the_front(trackers, announcing):
    trackers.does["a"] = TrackerError("gone")
    announcer = announcing([["a", "b", "c"]])
    eventually(lambda: announcer.status["b"].registered)
    assert trackers.asked == [("a", "started"), ("b", "started")]
    assert list(announcer.status) == ["b", "a", "c"]
    assert announcer.status["a"].error == "gone"


def test_tiers_are_shuffled_at_the_start(monkeypatch):
    monkeypatch.setattr("geventbt.discovery.trackers.tier.random.shuffle", lambda items: items.reverse())
    announcer = Announcer([["a", "b", "c"], ["d"]], lambda event: None, lambda peers, url: None)
    assert list(announcer.status) == ["c", "b", "a", "d"]


def test_a_url_is_used_once_and_no_more_than_the_limit(monkeypatch):
    monkeypatch.setattr(limits, "TRACKERS", 3)
    announcer = Announcer([["a", "a"], ["a", "b"], [], ["a"], ["c", "d"], ["e"]], lambda event: None, print)
    assert list(announcer.status) == ["a", "b", "c"]


def test_the_interval_is_obeyed(trackers, announcing):
    trackers.does["a"] = AnnounceResponse(interval=0.02, min_interval=0.01)
    announcer = announcing([["a"], ["b"]])
    eventually(lambda: trackers.count("a") >= 4)
    assert trackers.count("b") == 1
    assert [event for url, event in trackers.asked if url == "a"][:3] == ["started", "", ""]
    assert announcer.status["b"].next_announce - monotonic() > 1700


def test_a_min_interval_over_the_interval_counts(trackers, announcing):
    trackers.does["a"] = AnnounceResponse(interval=0.01, min_interval=LONG)
    trackers.does["b"] = AnnounceResponse(interval=0.01, min_interval=0.01)
    announcing([["a"], ["b"]])
    eventually(lambda: trackers.count("b") > 3)
    assert trackers.count("a") == 1


def test_more_peers_are_asked_for_before_the_interval_but_not_before_the_min_interval(trackers, announcing):
    trackers.does["a"] = AnnounceResponse(interval=LONG, min_interval=0.01)
    trackers.does["b"] = AnnounceResponse(interval=LONG, min_interval=LONG)
    trackers.does["c"] = AnnounceResponse(interval=LONG)
    announcer = announcing([["a"], ["b"], ["c"]])
    eventually(lambda: len(trackers.asked) == 3)
    announcer.need_more()
    eventually(lambda: trackers.count("a") == 2)
    announcer.need_more()
    eventually(lambda: trackers.count("a") == 3)
    assert trackers.count("b") == trackers.count("c") == 1


def test_completed_is_told_at_once_and_once(trackers, announcing):
    announcer = announcing([["a"]])
    eventually(lambda: announcer.status["a"].registered)
    announcer.completed()
    announcer.completed()
    eventually(lambda: len(trackers.asked) == 2)
    announcer.completed()
    gevent.idle()
    assert trackers.asked == [("a", "started"), ("a", "completed")]


def test_a_tracker_that_does_not_know_us_yet_is_told_started_before_completed(trackers, announcing):
    answer = Event()
    trackers.does["a"] = lambda request: answer.wait() and GOOD
    announcer = announcing([["a"]])
    eventually(lambda: trackers.asked)
    announcer.completed()
    answer.set()
    eventually(lambda: len(trackers.asked) == 2)
    assert trackers.asked == [("a", "started"), ("a", "completed")]


def test_completed_is_told_again_when_it_got_lost(trackers, announcing, monkeypatch):
    monkeypatch.setattr(limits, "ANNOUNCE_RETRY", 0.01)
    announcer = announcing([["a"]])
    eventually(lambda: announcer.status["a"].registered)
    trackers.does["a"] = TrackerError("lost")
    announcer.completed()
    eventually(lambda: trackers.count("a") == 3)
    trackers.does["a"] = GOOD
    eventually(lambda: announcer.status["a"].error is None)
    assert {event for _, event in trackers.asked[1:]} == {"completed"}


def test_a_failing_tracker_is_asked_again_after_times_that_double(trackers, announcing, monkeypatch):
    monkeypatch.setattr(limits, "ANNOUNCE_RETRY", 0.01)
    times: list[float] = []
    trackers.does["a"] = lambda request: times.append(monotonic()) or TrackerError("no")
    announcer = announcing([["a"]])
    eventually(lambda: len(times) == 5)
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap >= 0.01 * 2**index for index, gap in enumerate(gaps))
    assert [event for _, event in trackers.asked] == ["started"] * 5
    trackers.does["a"] = GOOD
    eventually(lambda: announcer.status["a"].registered)
    assert announcer.status["a"].error is None


def test_doubling_ends(trackers, announcing, monkeypatch):
    monkeypatch.setattr(limits, "ANNOUNCE_RETRY", 0.001)
    monkeypatch.setattr(limits, "MAX_ANNOUNCE_RETRY", 0.002)
    trackers.does["a"] = TrackerError("no")
    announcing([["a"]])
    eventually(lambda: len(trackers.asked) > 40)


def test_asking_for_more_does_not_hurry_a_tracker_that_failed(trackers, announcing):
    trackers.does["a"] = TrackerError("no")
    announcer = announcing([["a"]])
    eventually(lambda: announcer.status["a"].error)
    announcer.need_more()
    announcer.completed()
    gevent.idle()
    assert len(trackers.asked) == 1


def test_a_tracker_says_itself_when_it_wants_to_be_asked_again(trackers, announcing):
    trackers.does["a"] = TrackerError("full", retry_in=0.01)
    trackers.does["b"] = TrackerError("not a tracker", retry_in=inf)
    trackers.does["c"] = TrackerError("full", retry_in=LONG)
    announcer = announcing([["a"], ["b"], ["c"]])
    eventually(lambda: trackers.count("a") >= 3)
    assert trackers.count("b") == trackers.count("c") == 1
    assert announcer.status["b"].next_announce == inf


def test_the_key_and_the_tracker_id_are_said_again(trackers, announcing):
    trackers.does["a"] = lambda request: AnnounceResponse(0.01, 0.01, trackerid=None if request.trackerid else b"id")
    trackers.does["b"] = AnnounceResponse(0.01, 0.01)
    announcing([["a"], ["b"]])
    eventually(lambda: trackers.count("a") > 2 and trackers.count("b") > 2)
    of_a = [request for (url, _), request in zip(trackers.asked, trackers.requests, strict=True) if url == "a"]
    of_b = [request for (url, _), request in zip(trackers.asked, trackers.requests, strict=True) if url == "b"]
    assert [request.trackerid for request in of_a][:3] == [None, b"id", b"id"]
    assert {request.trackerid for request in of_b} == {None}
    assert len({request.key for request in trackers.requests}) == 1
    assert trackers.requests[0].key is not None


def test_the_status_tells_of_the_last_answer(trackers, announcing):
    trackers.does["a"] = AnnounceResponse(
        LONG, seeders=3, leechers=4, peers=PEERS, warning="soon gone", external_ip="9.9.9.9"
    )
    announcer = announcing([["a"]])
    eventually(lambda: announcer.status["a"].registered)
    status = announcer.status["a"]
    assert (status.seeders, status.leechers, status.peers) == (3, 4, 1)
    assert (status.error, status.warning, status.external_ip) == (None, "soon gone", "9.9.9.9")


def test_an_exception_of_on_peers_is_logged_and_ends_nothing(trackers, announcing, caplog):
    trackers.does["a"] = AnnounceResponse(0.01, 0.01, peers=PEERS)

    def fail(peers: Any, url: str) -> None:
        raise RuntimeError("a bug of the user")

    announcing([["a"]], fail)
    eventually(lambda: trackers.count("a") > 2)
    assert "a bug of the user" in caplog.text


def test_an_exception_of_make_request_is_logged_and_ends_no_other_tier(trackers, announcing, caplog):
    calls = []

    def once(event: str) -> AnnounceRequest:
        calls.append(event)
        if len(calls) == 1:
            raise RuntimeError("a bug of the user")
        return AnnounceRequest(b"i" * 20, b"p" * 20, 6881)

    announcer = announcing([["a"], ["b"]], make_request=once)
    eventually(lambda: announcer.status["b"].registered)
    assert "a bug of the user" in caplog.text
    assert trackers.asked == [("b", "started")]


def test_stop_tells_the_trackers_that_know_us_and_no_others(trackers, announcing):
    trackers.does["bad"] = TrackerError("no")
    announcer = announcing([["a"], ["bad"], ["c", "backup"]])
    eventually(lambda: announcer.status["bad"].error and len(trackers.asked) == 3)
    eventually(lambda: announcer.status["a"].registered and announcer.status["c"].registered)
    announcer.stop()
    assert sorted(trackers.asked[3:]) == [("a", "stopped"), ("c", "stopped")]
    assert trackers.requests[-1].numwant == 0
    announcer.stop()
    assert len(trackers.asked) == 5


def test_who_leaves_as_soon_as_it_is_complete_says_both(trackers, announcing):
    announcer = announcing([["a"]])
    eventually(lambda: announcer.status["a"].registered)
    announcer.completed()
    announcer.stop()
    assert trackers.asked == [("a", "started"), ("a", "completed"), ("a", "stopped")]


def test_stop_waits_for_slow_trackers_no_longer_than_it_is_told(trackers, announcing):
    announcer = announcing([["a"], ["slow"], ["c"]])
    eventually(lambda: all(status.registered for status in announcer.status.values()))
    trackers.does["slow"] = trackers.does["a"] = hang
    announcer.stop(timeout=0.05)
    assert {(url, "stopped") for url in ("a", "slow", "c")} <= set(trackers.asked)


def test_stop_ends_a_regular_announce_that_is_under_way(trackers, announcing):
    trackers.does["a"] = lambda request: hang(request) if not request.event else AnnounceResponse(0.01, 0.01)
    announcer = announcing([["a"]])
    eventually(lambda: trackers.asked[-1:] == [("a", "")])
    announcer.stop(timeout=LONG)
    assert trackers.asked == [("a", "started"), ("a", ""), ("a", "stopped")]


def test_stop_without_time_says_nothing(trackers, announcing):
    trackers.does["a"] = hang
    announcer = announcing([["a"], ["b"]])
    eventually(lambda: announcer.status["b"].registered)
    announcer.stop(0)
    assert sorted(trackers.asked) == [("a", "started"), ("b", "started")]


def slowly(seconds: float) -> Callable[[AnnounceRequest], AnnounceResponse]:
    """A tracker that takes its time for each answer."""

    def answer(request: AnnounceRequest) -> AnnounceResponse:
        gevent.sleep(seconds)
        return GOOD

    return answer


def test_a_tracker_that_is_slow_to_answer_started_hears_of_the_end(trackers, announcing):
    trackers.does["a"] = slowly(0.05)
    announcer = announcing([["a"], ["b"]])
    eventually(lambda: ("a", "started") in trackers.asked and announcer.status["b"].registered)
    announcer.stop(timeout=5)
    assert [event for url, event in trackers.asked if url == "a"] == ["started", "stopped"]
    assert not announcer.status["a"].registered


def test_completed_is_told_on_leaving_to_a_tracker_that_is_slow_to_answer_started(trackers, announcing):
    trackers.does["a"] = slowly(0.05)
    announcer = announcing([["a"]])
    eventually(lambda: trackers.asked)
    announcer.completed()
    announcer.stop(timeout=5)
    assert [event for _, event in trackers.asked] == ["started", "completed", "stopped"]


def test_a_tracker_that_never_answers_is_told_all_the_same_within_the_time(trackers, announcing):
    trackers.does["a"] = hang
    announcer = announcing([["a"]])
    eventually(lambda: trackers.asked)
    announcer.completed()
    begin = monotonic()
    announcer.stop(timeout=0.4)
    assert [event for _, event in trackers.asked] == ["started", "completed", "stopped"]
    assert monotonic() - begin < 2


def test_a_tracker_that_refused_started_is_not_told_of_the_end(trackers, announcing):
    trackers.does["a"] = TrackerError("not a torrent of mine")
    announcer = announcing([["a"]])
    eventually(lambda: announcer.status["a"].error)
    announcer.stop()
    assert trackers.asked == [("a", "started")]


def test_no_other_tracker_of_a_tier_is_begun_with_at_the_end(trackers, announcing):
    answer = Event()
    trackers.does["a"] = lambda request: answer.wait() and TrackerError("no")
    announcer = announcing([["a", "b"]])
    eventually(lambda: trackers.asked)
    gevent.spawn_later(0.05, answer.set)
    announcer.stop(timeout=5)
    assert trackers.asked == [("a", "started")]


def test_torrents_that_share_a_queue_announce_to_one_tracker_in_turn(trackers: Trackers) -> None:
    queue, answer = AnnounceQueue(2, 9), Event()
    trackers.does["http://a/x"] = trackers.does["http://a/y"] = lambda request: answer.wait() and GOOD

    def announcer(url: str) -> Announcer:
        make_request = lambda event: AnnounceRequest(b"i" * 20, b"p" * 20, 6881, event=event)  # noqa: E731
        return Announcer([[url]], make_request, lambda peers, url: None, announce=trackers.announce, queue=queue)

    announcers = [announcer(f"http://a/{'xy'[number % 2]}") for number in range(5)]
    other = announcer("http://b/x")
    for each in (*announcers, other):
        each.start()
    eventually(lambda: other.status["http://b/x"].registered)
    assert len(trackers.asked) == 3
    announcers[2].stop(0)
    answer.set()
    eventually(lambda: all(known.registered for each in announcers[3:] for known in each.status.values()))
    assert len(trackers.asked) == 5
    for each in (*announcers, other):
        each.stop(0)


def early_waits(announcing: Any, trackers: Trackers, count: int, answer: Callable[[], AnnounceResponse]) -> list[float]:
    """The times between announces while more peers are wanted all the time."""
    times: list[float] = []
    trackers.does["a"] = lambda request: times.append(monotonic()) or answer()
    announcer = announcing([["a"]])
    while len(times) <= count:
        announcer.need_more()
        gevent.sleep(0.001)
    return [later - earlier for earlier, later in pairwise(times)][:count]


@pytest.mark.parametrize("peers", [(), PEERS])
def test_early_announces_that_bring_nobody_new_come_after_waits_that_double_up_to_the_interval(
    trackers, announcing, peers
):
    gaps = early_waits(announcing, trackers, 6, lambda: AnnounceResponse(0.2, min_interval=0.02, peers=peers))
    for gap, least in zip(gaps, [0.02, 0.04, 0.08, 0.16, 0.2, 0.2], strict=True):
        assert gap >= least


def test_an_early_announce_that_brings_a_new_peer_takes_the_wait_back(trackers, announcing):
    counts = iter(range(1000))

    def answer() -> AnnounceResponse:
        return AnnounceResponse(LONG, 0.01, peers=((f"1.2.3.{next(counts) // 4}", 1),))

    # Of each four one is new; were the wait not taken back, it would take minutes.
    assert len(early_waits(announcing, trackers, 40, answer)) == 40


def test_a_tracker_without_a_min_interval_is_asked_early_after_a_minute_at_the_earliest(trackers, announcing):
    trackers.does["a"] = AnnounceResponse(interval=1800.0)
    trackers.does["b"] = AnnounceResponse(interval=35.0)
    announcer = announcing([["a"], ["b"]])
    eventually(lambda: all(status.registered for status in announcer.status.values()))
    announcer.need_more()
    gevent.sleep(0.02)
    assert len(trackers.asked) == 2
    assert limits.EARLY_ANNOUNCE == 60


def test_what_is_remembered_as_given_is_bounded(trackers, announcing, monkeypatch):
    monkeypatch.setattr(limits, "TRACKER_GIVEN", 3)
    numbers = iter(range(1000))
    trackers.does["a"] = lambda request: AnnounceResponse(
        0.001, 0.001, peers=tuple((f"1.2.3.{next(numbers) % 200}", 1) for _ in range(2))
    )
    announcing([["a"]])
    eventually(lambda: len(trackers.asked) > 20)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_tracker_that_fails_is_warned_of_once_and_again_when_the_reason_changes(
    trackers, announcing, monkeypatch, caplog
):
    monkeypatch.setattr(limits, "ANNOUNCE_RETRY", 0.001)
    monkeypatch.setattr(limits, "MAX_ANNOUNCE_RETRY", 0.001)
    url = "https://user:secret@tracker.example:8080/passkey/announce?key=secret"
    trackers.does[url] = TrackerError("no answer")
    announcing([[url]])
    eventually(lambda: len(trackers.asked) > 10)
    assert warnings_of(caplog) == ["the tracker https://tracker.example:8080: no answer"]
    trackers.does[url] = TrackerError("not registered")
    eventually(lambda: len(warnings_of(caplog)) > 1)
    assert warnings_of(caplog)[1:] == ["the tracker https://tracker.example:8080: not registered"]
    assert "secret" not in caplog.text
    assert "passkey" not in caplog.text


def test_a_tracker_that_fails_again_after_an_answer_is_warned_of_again(trackers, announcing, monkeypatch, caplog):
    monkeypatch.setattr(limits, "ANNOUNCE_RETRY", 0.001)
    answers = iter([TrackerError("no"), TrackerError("no"), AnnounceResponse(0.001, 0.001), TrackerError("no"), GOOD])
    trackers.does["a"] = lambda request: next(answers)
    announcing([["a"]])
    eventually(lambda: len(trackers.asked) == 5)
    assert len(warnings_of(caplog)) == 2


def test_stop_may_be_called_by_on_peers(trackers, announcing):
    stopped = []

    def stop(peers: Any, url: str) -> None:
        announcer.stop()
        stopped.append(url)

    announcer = announcing([["a"], ["b"]], stop)
    eventually(lambda: len(stopped) == 1)
    assert ("a", "stopped") in trackers.asked


def test_an_announcer_is_started_once(announcing):
    announcer = announcing([["a"]])
    with pytest.raises(RuntimeError):
        announcer.start()


def test_without_trackers_there_is_nothing_to_do(announcing):
    announcer = announcing([])
    announcer.need_more()
    announcer.completed()
    announcer.stop()
    assert announcer.status == {}
