"""A rate that greenlets share: each blocks until it has its bytes."""

from __future__ import annotations

import math
from time import monotonic
from typing import Any

import gevent
from gevent.hub import Waiter

from geventbt import limits
from geventbt.rates.fair_rate import FairRate


class Throttle:
    """A rate in bytes a second that several greenlets share.

    Greenlets that always want more get equal shares; see `FairRate`. A throttle may have a parent, as that of a torrent
    has the client's: bytes are then taken from both, and torrents get equal shares of their parent's rate.

    It has a timer only while a greenlet waits, and belongs to the hub of the first greenlet that waits.

    Args:
        rate: bytes a second, 0 for none at all, or None for no limit.
        parent: another throttle that the same bytes are taken from, or None.

    Raises:
        ValueError: for a rate below 0.
    """

    def __init__(self, rate: int | None = None, parent: Throttle | None = None) -> None:
        self._shared: FairRate = FairRate(rate, monotonic(), None if parent is None else parent._shared)
        self._timer: Any = None

    @property
    def rate(self) -> int | None:
        """Bytes a second, or None for no limit. May be set at any time; applies to waiting greenlets, too."""
        return self._shared.rate

    @rate.setter
    def rate(self, rate: int | None) -> None:
        self._shared.set_rate(rate, monotonic())
        self._serve()

    @property
    def weight(self) -> float:
        """Its share of its parent's rate, in proportion to those of the other parts; may be set at any time."""
        return self._shared.weight

    @weight.setter
    def weight(self, weight: float) -> None:
        self._shared.weight = weight

    def set_parent(self, parent: Throttle | None) -> None:
        """Take bytes from another throttle as well, or from none, from now on; applies to waiting greenlets, too."""
        self._shared.set_parent(None if parent is None else parent._shared)
        self._serve()

    @property
    def limited(self) -> bool:
        """Whether there is a limit, of this throttle or of a parent."""
        return self._shared.limited

    @property
    def waiting(self) -> int:
        """The number of waiting greenlets."""
        return self._shared.waiting

    def acquire(self, count: int) -> None:
        """Block this greenlet until it may send, or request, `count` bytes.

        It returns at once where there is no limit. A greenlet that is killed, or times out, returns its bytes.

        Raises:
            ValueError: for a count below 0.
        """
        if count < 0:
            raise ValueError(f"cannot acquire {count} bytes of a rate: must be 0 or more")
        if not self._shared.limited or not count:
            return
        turn = _Turn(self._shared, count)
        turn.fill()
        if turn.has_come:
            return
        self._set_timer()
        try:
            turn.wait()
        except BaseException:
            turn.give_up()
            self._serve()
            raise

    def _serve(self) -> None:
        """Give the available bytes to the waiting greenlets."""
        self._stop_timer()
        for turn in self._shared.turns(monotonic()):
            turn.fill()
        self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None or not self._shared.waiting:
            return
        delay = max(self._shared.wait(monotonic()), limits.RATE_TICK)
        # At a rate of 0 it is infinite: until there is another rate.
        if delay < math.inf:
            self._timer = gevent.get_hub().loop.timer(delay)
            self._timer.start(self._serve)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None


class _Turn:
    """A greenlet's turn at a rate. All turns of one greenlet count as the same member of the rate.

    Args:
        shared: the rate.
        count: the bytes that the greenlet needs.

    Attributes:
        has_come: whether it has its bytes.
    """

    __slots__ = ("_count", "_greenlet", "_shared", "_waiter", "has_come")

    def __init__(self, shared: FairRate, count: int) -> None:
        self._shared = shared
        self._count = count
        self._greenlet = id(gevent.getcurrent())
        self._waiter: Any = None
        self.has_come = False

    def __hash__(self) -> int:
        return hash(self._greenlet)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turn) and self._greenlet == other._greenlet

    def fill(self) -> None:
        """Take the bytes, and wake the greenlet if it waits."""
        self.has_come = bool(self._shared.take(self, 1, self._count, monotonic()))
        if self.has_come and self._waiter is not None:
            # A callback instead of a switch: the loop polls its sockets between callbacks when there are many.
            gevent.get_hub().loop.run_callback(self._waiter.switch, None)

    def wait(self) -> None:
        """Block until it has come."""
        self._waiter = Waiter()
        self._waiter.get()

    def give_up(self) -> None:
        """Wait no more, and return the bytes."""
        if self.has_come:
            self._shared.give_back(self, self._count)
        else:
            self._shared.leave(self)
