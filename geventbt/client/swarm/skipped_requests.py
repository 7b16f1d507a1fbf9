"""Which requests a peer without the fast extension has dropped. Pure.

Such a peer does not say what it drops: what is over its queue's length. But it answers
in the order of the requests. So a request is dropped when a number of later ones have been answered; the number leaves
room for a peer that answers a little out of order (libtorrent: twice its queue).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from geventbt.protocol.connection import RequestKey

_SKIPS = 2
"""Later requests that were answered for each one that was not, after which those that were not are given up."""


class SkippedRequests:
    """The requests that were pending at one time, of which some may turn out to be dropped."""

    __slots__ = ("_later", "_old")

    def __init__(self) -> None:
        self._old: set[RequestKey] = set()
        self._later = 0

    def note(self, answered: Iterable[RequestKey]) -> None:
        """Note the requests that were answered."""
        for key in answered:
            if key in self._old:
                self._old.remove(key)
            else:
                self._later += 1

    def forget(self, key: RequestKey) -> None:
        """Note that a request has ended in another way: it may be sent again."""
        self._old.discard(key)

    @property
    def has_suspects(self) -> bool:
        """Whether a request is pending that may be dropped."""
        return bool(self._later and self._old)

    @property
    def is_due(self) -> bool:
        """Whether so many later requests were answered that `take_dropped` is to be called."""
        return self._later > _SKIPS * len(self._old)

    def take_dropped(self, pending: Sequence[RequestKey]) -> list[RequestKey]:
        """The requests that were dropped, usually none; those that are pending are followed from now on.

        Args:
            pending: the requests that are not answered.
        """
        dropped = [key for key in pending if key in self._old]
        self._old = set(pending).difference(dropped)
        self._later = 0
        return dropped
