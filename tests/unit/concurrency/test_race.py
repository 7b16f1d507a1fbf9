"""Several ways to the same thing: whatever is opened is given to the caller or closed."""

from __future__ import annotations

import gevent
import pytest

from geventbt.concurrency.race import first_of
from tests.loopback.harness import eventually


class Way:
    """An `Attempt` that takes its time.

    Args:
        seconds: until it succeeds.
        dies_after: seconds that it takes to give up.
        succeeds_late: whether it has succeeded in the moment in which it is to give up.

    Attributes:
        opened, discarded: how often.
    """

    def __init__(self, seconds: float, *, dies_after: float = 0.0, succeeds_late: bool = False) -> None:
        self._seconds = seconds
        self._dies_after = dies_after
        self._succeeds_late = succeeds_late
        self.opened = self.discarded = 0

    def open(self) -> Way:
        try:
            gevent.sleep(self._seconds)
        except gevent.GreenletExit:
            if not self._succeeds_late:
                gevent.sleep(self._dies_after)
                raise
        self.opened += 1
        return self

    def discard(self, opened: Way) -> None:
        assert opened is self
        self.discarded += 1


def test_what_has_won_is_not_lost_while_the_others_are_given_up() -> None:
    slow, quick = Way(60, dies_after=0.2), Way(0)
    race = gevent.spawn(first_of, [slow, quick], 0.0)
    eventually(lambda: quick.opened)
    for _ in range(5):
        gevent.sleep(0)
    race.kill()
    assert race.value == (quick, 1)
    assert not quick.discarded


def test_what_succeeds_after_the_end_is_closed() -> None:
    late, quick = Way(60, succeeds_late=True), Way(0)
    assert first_of([late, quick], 0.0) == (quick, 1)
    eventually(lambda: late.opened)
    assert (late.discarded, quick.discarded) == (1, 0)


def test_what_has_succeeded_is_closed_when_the_caller_gives_up() -> None:
    late = Way(60, succeeds_late=True)
    with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
        first_of([late, Way(60)], 0.0)
    eventually(lambda: late.opened)
    assert late.discarded == 1
