"""When a download cannot go on, by an injected clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from geventbt import limits
from geventbt.client.torrent.dead_end import MAX_RETRIES, DeadEnd
from geventbt.errors import DownloadError, NoPeersError


@dataclass
class Swarm:
    """The prospects of a download, as a test sets them."""

    seeding: bool = False
    broken: set[int] = field(default_factory=set)
    is_stuck: bool = False
    failures: int = 0
    """After how many failures each peer was given up; 0 while there is any."""
    last_failure: Exception | None = None

    def is_alone(self, failures: int) -> bool:
        return self.failures >= failures


@dataclass
class Past:
    """What the peers have done."""

    has_served: bool = False
    has_banned: bool = False


@dataclass
class Seeds:
    """The web seeds."""

    errors: tuple[str, ...] = ()


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def dead_end(
    clock: Clock, past: Past | None = None, *, has_named_peers: bool = True, errors: tuple[str, ...] = ()
) -> DeadEnd:
    return DeadEnd(past or Past(), Seeds(errors), has_named_peers=has_named_peers, now=clock)


ALONE = MAX_RETRIES


def test_a_download_with_peers_goes_on(clock: Clock) -> None:
    dead_end(clock).check(Swarm(), can_find_more=False)


def test_a_download_without_peers_goes_on_while_more_can_be_found(clock: Clock) -> None:
    dead_end(clock).check(Swarm(failures=ALONE), can_find_more=True)


def test_a_complete_download_needs_no_peers(clock: Clock) -> None:
    dead_end(clock).check(Swarm(seeding=True, failures=ALONE), can_find_more=False)


def test_a_peer_is_given_up_after_several_failures(clock: Clock) -> None:
    end = dead_end(clock)
    end.check(Swarm(failures=ALONE - 1), can_find_more=False)
    with pytest.raises(NoPeersError):
        end.check(Swarm(failures=ALONE), can_find_more=False)


@pytest.mark.parametrize(
    ("past", "text"),
    [
        (Past(), "no peer could be reached: refused"),
        (Past(has_served=True), "every peer has left: refused"),
        (Past(has_served=True, has_banned=True), "every peer has left, or sent wrong data: refused"),
    ],
)
def test_the_error_says_what_became_of_the_peers(clock: Clock, past: Past, text: str) -> None:
    failure = ConnectionError("refused")
    with pytest.raises(NoPeersError, match=text) as caught:
        dead_end(clock, past).check(Swarm(failures=ALONE, last_failure=failure), can_find_more=False)
    assert caught.value.__cause__ is failure


def test_the_error_says_that_there_were_no_peers_at_all(clock: Clock) -> None:
    with pytest.raises(NoPeersError, match="no peers to download from"):
        dead_end(clock, has_named_peers=False).check(Swarm(failures=ALONE), can_find_more=False)


def test_a_stuck_download_ends_at_once_when_nothing_can_find_more(clock: Clock) -> None:
    with pytest.raises(DownloadError, match="pieces 3, 17 are wrong from every peer"):
        dead_end(clock).check(Swarm(is_stuck=True, broken={17, 3}), can_find_more=False)


def test_a_stuck_download_waits_for_its_trackers(clock: Clock) -> None:
    end, swarm = dead_end(clock), Swarm(is_stuck=True, broken={3})
    end.check(swarm, can_find_more=True)
    clock.time += limits.STUCK_TIME - 1
    end.check(swarm, can_find_more=True)
    clock.time += 1
    with pytest.raises(DownloadError, match="pieces 3 are wrong"):
        end.check(swarm, can_find_more=True)


def test_a_stuck_download_that_finds_another_peer_waits_anew(clock: Clock) -> None:
    end, swarm = dead_end(clock), Swarm(is_stuck=True, broken={3})
    end.check(swarm, can_find_more=True)
    clock.time += limits.STUCK_TIME - 1
    end.check(Swarm(), can_find_more=True)
    clock.time += 2
    end.check(swarm, can_find_more=True)
    clock.time += limits.STUCK_TIME - 1
    end.check(swarm, can_find_more=True)


def test_only_some_of_many_broken_pieces_are_named(clock: Clock) -> None:
    with pytest.raises(DownloadError) as caught:
        dead_end(clock).check(Swarm(is_stuck=True, broken=set(range(100_000))), can_find_more=False)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        (("http://a/: 404 Not Found",), r"; no web seed can be used: http://a/: 404 Not Found$"),
        (("http://a/: 404", "http://b/: refused", "http://c/: 503"), "http://a/: 404, and 2 more$"),
    ],
)
def test_the_error_says_what_is_wrong_with_the_web_seeds(clock: Clock, errors: tuple[str, ...], text: str) -> None:
    for has_named_peers in (True, False):
        ended = dead_end(clock, has_named_peers=has_named_peers, errors=errors)
        with pytest.raises(NoPeersError, match=text):
            ended.check(Swarm(failures=ALONE), can_find_more=False)
