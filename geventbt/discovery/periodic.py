"""`AskAgain`: when a source of peers is asked next, one policy for all kinds of sources. Pure.

A tracker, the DHT and the local network are each asked

- when their interval is over;
- earlier while more peers are needed, though never before their minimum interval is over;
- with back-off: each question in a row that brings no new peer doubles the time after which need alone is a reason to
  ask, up to the interval, and one that does takes that back;
- as soon as the minimum interval is over when there is news for them;
- after a failure at the time that was set for it, however many peers are needed.

Peer exchange needs no rule: peers send their lists by themselves, at most one a minute (BEP 11). The one exception is
the "completed" of a tracker, which is sent at once: trackers count it, and expect it then (BEP 3).
"""

from __future__ import annotations

import random

_JITTER = 0.13
"""The part by which an interval varies, so that not all ask at once."""
_MAX_FRUITLESS = 20
"""Doublings; the wait is the interval long before."""


class AskAgain:
    """The time of the next question to one source. A new one is due at once.

    Args:
        interval: seconds between two questions.
        min_interval: seconds between two questions at the least.
        rng: varies the interval; None for a source that sets its intervals itself.
    """

    def __init__(self, interval: float, min_interval: float, rng: random.Random | None = None) -> None:
        self._interval = interval
        self._min_interval = min_interval
        self._rng = rng
        self._fruitless = 0
        self._asked_at = self._planned = self._earliest = float("-inf")
        self._is_needed = False
        self._has_news = False

    @property
    def planned(self) -> float:
        """When to ask if no more peers are needed; in the past for at once."""
        return self._planned

    @property
    def due(self) -> float:
        """When to ask next."""
        return min(self._planned, self._earliest) if self._is_needed else self._planned

    def need_more(self) -> bool:
        """Note that more peers are needed, until the next question. Returns whether that is news."""
        is_news, self._is_needed = not self._is_needed, True
        return is_news

    def ask_soon(self) -> None:
        """Note that there is news for the source."""
        self._has_news = True
        self._planned = min(self._planned, self._asked_at + self._min_interval)

    def begin(self) -> None:
        """Note that a question is being made: what is news after that is for another one."""
        self._has_news = False

    def asked(
        self, now: float, *, found: bool, interval: float | None = None, min_interval: float | None = None
    ) -> None:
        """Note a question that was answered.

        Args:
            now: the time.
            found: whether the answer named a new peer.
            interval: seconds that the source wants from now on; None for no change.
            min_interval: likewise.
        """
        self._interval = self._interval if interval is None else interval
        self._min_interval = self._min_interval if min_interval is None else min_interval
        self._fruitless = 0 if found else min(self._fruitless + 1, _MAX_FRUITLESS)
        variation = 1.0 if self._rng is None else self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._asked_at = now
        self._planned = now + self._interval * variation
        self._earliest = now + min(self._min_interval * 2.0**self._fruitless, self._interval)
        self._is_needed = False
        if self._has_news:
            self.ask_soon()

    def failed(self, now: float, wait: float) -> None:
        """Note a question that failed.

        Args:
            now: the time.
            wait: seconds until the next one.
        """
        self._asked_at = now
        self._planned = self._earliest = now + wait
        self._is_needed = False
