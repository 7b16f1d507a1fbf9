"""A rate that several greenlets share: each blocks until it has its bytes, first come, first served."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

import gevent
from gevent.hub import Waiter

from geventbt import limits
from geventbt.rates.token_bucket import RateLimit


@dataclass(slots=True, eq=False)
class _Turn:
    """A waiting greenlet, and the bytes that it does not have yet."""

    missing: int
    waiter: Any


class Throttle:
    """A rate in bytes a second that several greenlets share.

    A throttle may have a parent, as that of a torrent has the client's: bytes are then taken from both, one after the
    other, so the torrents share their parent's rate first come, first served as well.

    It has a timer only while a greenlet waits, and belongs to the hub of the first greenlet that waits.

    Args:
        rate: bytes a second, at least 1, or None for no limit.
        parent: another throttle that the same bytes are taken from, or None.

    Raises:
        ValueError: for a rate below 1.
    """

    def __init__(self, rate: int | None = None, parent: Throttle | None = None) -> None:
        self._limit = RateLimit(rate, monotonic())
        self._parent = parent
        self._turns: deque[_Turn] = deque()
        self._timer: Any = None

    @property
    def rate(self) -> int | None:
        """Bytes a second, or None for no limit. May be set at any time; applies to waiting greenlets, too."""
        return self._limit.rate

    @rate.setter
    def rate(self, rate: int | None) -> None:
        self._limit.set_rate(rate, monotonic())
        self._serve()

    @property
    def limited(self) -> bool:
        """Whether there is a limit, of this throttle or of a parent."""
        return self._limit.rate is not None or (self._parent is not None and self._parent.limited)

    @property
    def waiting(self) -> int:
        """The number of waiting greenlets."""
        return len(self._turns)

    def acquire(self, count: int) -> None:
        """Block this greenlet until it may send, or request, `count` bytes.

        It returns at once where there is no limit. A greenlet that is killed, or times out, returns its bytes.

        Raises:
            ValueError: for a count below 0.
        """
        if self._limit.rate is not None:
            self._acquire(count)
        if self._parent is not None:
            try:
                self._parent.acquire(count)
            except BaseException:
                self._give_back(count)
                raise

    def _acquire(self, count: int) -> None:
        turn = _Turn(count, None)
        if not self._turns:
            turn.missing -= self._limit.take(count, monotonic())
            if not turn.missing:
                return
        turn.waiter = Waiter()
        self._turns.append(turn)
        self._set_timer()
        try:
            turn.waiter.get()
        except BaseException:
            if turn.missing:
                self._turns.remove(turn)
            self._give_back(count - turn.missing)
            raise

    def _give_back(self, count: int) -> None:
        self._limit.give_back(count)
        self._serve()

    def _serve(self) -> None:
        """Give the available bytes to the waiting greenlets, in their order."""
        self._stop_timer()
        now = monotonic()
        loop = gevent.get_hub().loop
        while self._turns:
            turn = self._turns[0]
            turn.missing -= self._limit.take(turn.missing, now)
            if turn.missing:
                self._set_timer()
                return
            self._turns.popleft()
            # A callback instead of a switch: the loop polls its sockets between callbacks when there are many.
            loop.run_callback(turn.waiter.switch, None)

    def _set_timer(self) -> None:
        if self._timer is None:
            delay = max(self._limit.wait_for(self._turns[0].missing, monotonic()), limits.RATE_TICK)
            self._timer = gevent.get_hub().loop.timer(delay)
            self._timer.start(self._serve)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None
