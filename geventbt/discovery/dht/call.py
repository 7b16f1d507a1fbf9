"""A blocking call: the same search over each address family, and the greenlet that waits for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic
from weakref import WeakSet

from gevent.event import Event

from geventbt.arguments import check_seconds, given
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.driver import NodeDriver
from geventbt.discovery.dht.goals import Goal
from geventbt.discovery.dht.lookup import Lookup
from geventbt.discovery.dht.search import Search
from geventbt.errors import DHTTimeout


class Call:
    """One call, a context manager: at its end its searches stop.

    Args:
        drivers: the nodes.
        goals: what each node searches for.
        open_calls: where it is noted as long as it goes on.
    """

    def __init__(self, drivers: Sequence[NodeDriver], goals: Sequence[Goal], open_calls: WeakSet[Call]) -> None:
        self._changed = Event()
        self._open_calls = open_calls
        self._searches: list[Search] = []
        open_calls.add(self)
        for driver, goal in zip(drivers, goals, strict=True):
            search = Search(goal, Lookup(goal.target, driver.node.node_id), self._changed.set)
            self._searches.append(search)
            driver.start(search)

    @property
    def is_over(self) -> bool:
        """Whether all searches have come to their end."""
        return all(search.is_over for search in self._searches)

    @property
    def stored(self) -> int:
        """How many nodes have stored what they were asked to."""
        return sum(search.stored for search in self._searches)

    @property
    def answers(self) -> int:
        """How many nodes have answered."""
        return sum(len(search.lookup.answers()) for search in self._searches)

    @property
    def refusals(self) -> list[m.Failure]:
        """Why nodes did not store it."""
        return [refusal for search in self._searches for refusal in search.refusals]

    def changes(self, timeout: float | None) -> Iterator[None]:
        """Block for each change, until the searches are over or the time is; the last change is given, too."""
        check_seconds(**given(timeout=timeout))
        ends = None if timeout is None else monotonic() + timeout
        while True:
            self._changed.clear()
            is_last = self.is_over
            yield
            left = None if ends is None else ends - monotonic()
            if is_last or (left is not None and left <= 0):
                return
            self._changed.wait(left)

    def wait(self, timeout: float | None, text: str) -> None:
        """Block until the searches are over.

        Raises:
            DHTTimeout: they are not in time; with the text, and the time.
        """
        for _ in self.changes(timeout):
            pass
        if not self.is_over:
            raise DHTTimeout(f"{text} within {timeout:g} s")

    def close(self) -> None:
        """Stop the searches."""
        self._open_calls.discard(self)
        for search in self._searches:
            search.stop()

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
