"""When the silence of one peer has become too long. Pure.

Any byte of a block that was asked for is a sign of life. A peer snubs us when there is none for longer than its pauses
usually are: their mean and deviation are followed as those of round trips are in RFC 6298, over the one pause that
ends each second of waiting. That is every pause of more than a second; the many short ones inside a burst do not hide
it. After each timeout there is twice the patience (5.5), until the next byte: then what was learned of its pauses is
forgotten. Several pauses in a row that are much shorter than the mean show that it was a stall, which is forgotten,
too.

Where a peer may have dropped all without a word, a silence that a request after the timeout ended does not count as a
pause of its own (Karn's algorithm), unless a late block shows that it was one.
"""

from __future__ import annotations

from geventbt import limits
from geventbt.client.swarm.pace import Pace

_SHORT, _SHORT_PAUSES = 0.25, 3
"""The part of the mean pause that is much shorter, and how many such pauses in a row show another mean."""


class Patience:
    """The patience with one peer.

    Args:
        pace: of the peer.
        rejects: whether it rejects what it drops.

    Attributes:
        timeout: seconds without a sign of life after which the peer has snubbed us.
        is_lost: whether the peer has left requests unanswered for so long, and sent nothing since.
    """

    __slots__ = (
        "_deviation",
        "_is_late",
        "_pace",
        "_pause",
        "_rejects",
        "_short_pauses",
        "_silence",
        "_since",
        "is_lost",
        "timeout",
    )

    def __init__(self, pace: Pace, *, rejects: bool) -> None:
        self.timeout = limits.FIRST_SNUB_TIMEOUT
        self.is_lost = False
        self._pace = pace
        self._since = float("-inf")
        self._pause: float | None = None
        self._deviation = 0.0
        self._short_pauses = 0
        # Where the peer does not reject: whether it has answered after a timeout what it was asked before, and the
        # silence before that timeout.
        self._rejects = rejects
        self._is_late = False
        self._silence = 0.0

    def snubbed(self, now: float) -> bool:
        """Whether the peer has left requests unanswered for longer than is usual for it, and sent nothing since."""
        return self.is_lost or self.is_overdue(now)

    def is_overdue(self, now: float) -> bool:
        """Whether the patience is at its end: what was asked for is to be asked of others."""
        pace, timeout = self._pace, self.timeout
        return now - pace.last > timeout and now - self._since > timeout and pace.is_waiting

    def on_timeout(self, now: float) -> None:
        """Have twice the patience from now on."""
        self.is_lost = True
        self._since = now
        self.timeout = min(2 * self.timeout, limits.MAX_SNUB_TIMEOUT)

    def on_life(self, now: float) -> None:
        """Note that a lost peer is about to show a sign of life."""
        silence = self._pace.silence(now)
        if self._rejects or self._is_late:
            self._learn_anew(silence)
        else:
            # All may have been dropped, and this be the answer to another request.
            self._silence = silence
            self._pace.skip(now)
        self.is_lost = self._is_late = False

    def on_late_block(self) -> None:
        """Note that a block came that was given up."""
        if self.is_lost:
            self._is_late = True
        elif self._silence:
            self._learn_anew(self._silence)
            self._silence = 0.0

    def _learn_anew(self, pause: float) -> None:
        self._pause = None
        self.learn(pause)

    def learn(self, pause: float) -> None:
        """Follow the mean and the deviation of pauses, and derive the timeout (RFC 6298, 2.2 to 2.5).

        Twice the mean is the least, so that a peer as regular as a clock may be late once.
        """
        is_short = self._pause is not None and pause < _SHORT * self._pause
        self._short_pauses = self._short_pauses + 1 if is_short else 0
        if self._pause is None or self._short_pauses == _SHORT_PAUSES:
            self._pause, self._deviation = pause, pause / 2
        else:
            self._deviation += (abs(self._pause - pause) - self._deviation) / 4
            self._pause += (pause - self._pause) / 8
        patience = self._pause + max(4 * self._deviation, self._pause)
        self.timeout = min(max(patience, limits.MIN_SNUB_TIMEOUT), limits.MAX_SNUB_TIMEOUT)
