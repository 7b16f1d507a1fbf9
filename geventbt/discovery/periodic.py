"""When a source of peers is asked again: seldom where it is of no use, and never more often than it allows. Pure."""

from __future__ import annotations

import random


class AskAgain:
    """The time of the next question to one source.

    A question is due after the interval, or sooner when more peers are needed. Each question that brings no new peer
    doubles the time after which need alone is a reason to ask again, up to the interval.

    Args:
        interval: seconds between two questions.
        minimum: seconds between two questions, however great the need.
        rng: moves the interval by a few percent, so that not all ask at once.
    """

    def __init__(self, interval: float, minimum: float, rng: random.Random) -> None:
        self._interval = interval
        self._minimum = minimum
        self._rng = rng
        self._asked_at = float("-inf")
        self._wait = minimum
        self._due = float("-inf")
        self._is_needed = False

    @property
    def due(self) -> float:
        """When to ask next; in the past for at once."""
        return min(self._due, self._asked_at + self._wait) if self._is_needed else self._due

    def need_more(self) -> None:
        """More peers are needed."""
        self._is_needed = True

    def ask_soon(self) -> None:
        """There is news for the source: ask as soon as it allows."""
        self._due = self._asked_at + self._minimum

    def asked(self, now: float, *, found: bool) -> None:
        """It has been asked.

        Args:
            now: the time.
            found: whether it named a peer that was not known.
        """
        self._asked_at = now
        self._is_needed = False
        self._wait = self._minimum if found else min(2 * self._wait, self._interval)
        self._due = now + self._interval * self._rng.uniform(0.87, 1.13)
