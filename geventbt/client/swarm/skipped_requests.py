"""Which requests a peer without the fast extension has dropped. Pure.

Such a peer does not say what it drops: what is over its queue's length, and with most clients all of its queue when it
chokes. But it answers in the order of the requests.

So a request is dropped when a number of later ones have been answered; the number leaves room for a peer that answers a
little out of order (libtorrent: twice its queue). At the end of a download there may be no later requests to wait for:
then a moment of silence is enough.

A choke leaves everything in doubt. If all were requested again at once, a peer that keeps its queue, or unchokes us
before our last requests reach it, would send all of that twice, at every choke. Requests sent after the unchoke tell:
a queue that was kept is answered before them. Where nothing else is to be requested, one of those in doubt is sent
again; rarely, to a peer that was seen to keep its queue. The same holds when a peer falls silent without a choke.

An answer to what was sent more than once says nothing: it may be that to the first copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from geventbt import limits
from geventbt.protocol.connection import RequestKey

_SKIPS = 2
"""Later requests that were answered for each one that was not, after which those that were not are given up."""
_SILENCE = 2.0
"""Seconds without an answer after which all that is pending may have been dropped."""
_MAX_WAIT = 64.0
"""Seconds of silence, at the most, before a request is sent again to a peer that keeps its queue when it chokes: at
first `_SILENCE`, and twice as long each time that it was of no use."""


class SkippedRequests:
    """The requests that were pending at one time, of which some may turn out to be dropped."""

    __slots__ = (
        "_choked",
        "_copied",
        "_dropped",
        "_has_later",
        "_later",
        "_old",
        "_probe",
        "_repeated",
        "_silent_since",
        "_wait",
    )

    def __init__(self) -> None:
        self._old: set[RequestKey] = set()
        self._later = 0
        # Those that a choke has left in doubt, in the order in which they were sent, and those that it has ended.
        self._choked: dict[RequestKey, None] = {}
        self._dropped: list[RequestKey] = []
        # Whether others have been sent since, and which one of them again.
        self._has_later = False
        self._repeated: RequestKey | None = None
        # The last of all that may be dropped, which was sent again.
        self._probe: RequestKey | None = None
        self._wait = 0.0
        self._silent_since: float | None = None
        # Those that were given up, and that may have two answers if they are sent again.
        self._copied: set[RequestKey] = set()

    def note_sent(self) -> None:
        """Note that requests were sent."""
        self._has_later = True

    def note_bytes(self) -> None:
        """Note that a part of an answer has come: the peer is not silent."""
        self._silent_since = None

    def note(self, answered: Iterable[RequestKey]) -> None:
        """Note the requests that were answered."""
        self._silent_since = None
        for key in answered:
            if key in self._copied:
                self._copied.remove(key)
                # Another one is to tell, but is not repeated at once.
                self._has_later = False
                self._wait = max(self._wait, _SILENCE)
                self._old.discard(key)
                continue
            if self._choked:
                # They were sent before.
                self._drop(list(self._choked))
            self._repeated = None
            if key in self._old:
                self._old.remove(key)
            elif key == self._probe:
                self._probe = None
                if self._old:
                    self._wait = 0.0
                self._later += _SKIPS * len(self._old) + 1
            else:
                self._later += 1

    def note_choked(self, key: RequestKey) -> None:
        """Note that a choke has left a request in doubt; in the order in which they were sent."""
        self._old.discard(key)
        self._choked[key] = None
        self._has_later = False

    def note_late(self, key: RequestKey) -> None:
        """Note that a request was answered after all that had ended in another way."""
        self._silent_since = None
        is_copied = key in self._copied
        self._copied.discard(key)
        if key not in self._choked:
            return
        keys = list(self._choked)
        before = keys[: keys.index(key)]
        del self._choked[key]
        if is_copied:
            return
        if before:
            self._drop(before)
        elif self._repeated is None:
            self._wait = max(self._wait, _SILENCE)
        else:
            self._wait = min(max(2 * self._wait, _SILENCE), _MAX_WAIT)
        self._repeated = None

    def _drop(self, keys: list[RequestKey]) -> None:
        self._dropped += keys
        self._wait = 0.0
        for key in keys:
            del self._choked[key]

    def _note_copied(self, keys: Iterable[RequestKey]) -> None:
        if len(self._copied) > limits.FORGOTTEN_REQUESTS:
            self._copied.clear()
        self._copied.update(keys)

    def forget(self, key: RequestKey) -> None:
        """Note that a request has ended in another way: it may be sent again."""
        self._old.discard(key)
        self._choked.pop(key, None)
        self._note_copied((key,))

    def forget_all(self, pending: Iterable[RequestKey]) -> None:
        """Note that all requests have been given up, those that are pending as well."""
        self._note_copied((*pending, *self._choked))
        self._old.clear()
        self._choked.clear()
        self._later = 0

    @property
    def has_choked(self) -> bool:
        """Whether a choke has left a request in doubt."""
        return bool(self._choked)

    @property
    def is_in_doubt(self) -> bool:
        """Whether a choke has left a request in doubt, and none has been sent since whose answer will tell."""
        return bool(self._choked and not self._has_later)

    def may_have_all(self, pending: int, now: float) -> bool:
        """Whether a number of requests, all that are pending, may be dropped, so that another one is to show it."""
        return pending <= len(self._old) and (self._later > 0 or self._is_silent(_SILENCE, now))

    def _is_silent(self, seconds: float, now: float) -> bool:
        if self._silent_since is None:
            self._silent_since = now
        return now - self._silent_since >= seconds

    @property
    def is_due(self) -> bool:
        """Whether enough later requests were answered for `take_dropped` to be called."""
        return self._later > _SKIPS * len(self._old)

    def take_passed_over(self, pending: Sequence[RequestKey], now: float) -> list[RequestKey]:
        """The requests that were dropped: those before later ones that were answered, where the peer has been silent
        for a while. Usually none.

        Args:
            pending: the requests that are not answered.
            now: the time.
        """
        if not self._old and self._is_silent(_SILENCE, now):
            # Nothing that was answered had them followed.
            self._old = set(pending)
        if not self._later or not self._old:
            return []
        return self.take_dropped(pending) if self._is_silent(_SILENCE, now) else []

    def take_dropped(self, pending: Sequence[RequestKey]) -> list[RequestKey]:
        """The requests that were dropped, usually none; those that are pending are followed from now on.

        Args:
            pending: the requests that are not answered.
        """
        dropped = [key for key in pending if key in self._old]
        self._old = set(pending).difference(dropped)
        self._later = 0
        return dropped

    def take_dropped_by_choke(self) -> list[RequestKey]:
        """The requests that a choke turned out to have ended, usually none."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def wants_probe(self, now: float) -> bool:
        """Whether `take_probe` is to be called, where no other request is to be sent: no choke explains a silence that
        is longer than those after which that was of no use."""
        return bool(self._old) and not self._choked and self._is_silent(max(self._wait, _SILENCE), now)

    def take_probe(self, pending: Sequence[RequestKey]) -> RequestKey | None:
        """The request that is to be sent once more, as all that are pending may be dropped; None for none.

        Args:
            pending: the requests that are not answered, in the order in which they were sent; at least one.
        """
        if len(pending) > len(self._old) or pending[-1] not in self._old:
            return None
        # Those before it are answered before it, or dropped.
        self._probe = pending[-1]
        self._old.remove(self._probe)
        self._wait = min(2 * max(self._wait, _SILENCE), _MAX_WAIT)
        return self._probe

    def take_repeated(self, now: float) -> RequestKey | None:
        """The request that is to be sent once more; None for none now. For when there is no other one to be sent."""
        if not self.is_in_doubt or not self._is_silent(self._wait, now):
            return None
        # The last one: all that a peer has kept is answered before it comes again.
        self._repeated, _ = self._choked.popitem()
        return self._repeated
