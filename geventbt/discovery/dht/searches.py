"""`Searches`: the searches of one node, which share the queries that it may send. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Protocol

from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import Contact
from geventbt.discovery.dht.search import Destination, Search

_FED_AT_ONCE = 16
_DUE_AT_ONCE = 32
"""Searches that are gone on with before other greenlets run: after a suspension hundreds are due at one time."""


class QuerySender(Protocol):
    """Sends the queries of searches: a node."""

    def want(self) -> m.Want:
        """The families of which other nodes are to be named."""

    def send(self, destination: Destination, request: m.Request, search: Search, now: float) -> bool:
        """Send a query, unless it is one too many at the moment. Returns whether it was sent."""

    def may_ask(self, now: float) -> bool:
        """Whether any query could be sent now."""

    def may_ask_in_background(self, now: float) -> bool:
        """Whether a query could be sent now for which no caller waits."""

    @property
    def is_finding_nodes(self) -> bool:
        """Whether the first nodes are being found."""


class Searches:
    """Goes on with searches: as nodes answer, as time passes, and as queries may be sent again.

    Args:
        sender: sends their queries.
    """

    def __init__(self, sender: QuerySender) -> None:
        self._sender = sender
        self._alarms: list[tuple[float, int, Search]] = []
        self._alarm_of: dict[Search, float] = {}
        self._alarm_count = 0
        self._blocked: dict[Search, None] = {}
        self._starving: dict[Search, None] = {}
        self._in_background: set[Search] = set()

    def start(self, search: Search, nodes: Sequence[Contact], now: float, *, is_background: bool) -> None:
        """Begin a search at some nodes; see `Node.start`."""
        if is_background:
            self._in_background.add(search)
        search.lookup.add(nodes, trusted=True)
        self.pump(search, now)

    def pump(self, search: Search, now: float) -> None:
        """Send what a search wants to send, and see how it stands."""
        self._blocked.pop(search, None)
        while True:
            if search in self._in_background and not self._sender.may_ask_in_background(now):
                if not search.is_over:
                    self._blocked[search] = None
                break
            query = search.next(now, self._sender.want())
            if query is None:
                break
            if not self._sender.send(*query, search, now):
                search.put_back(*query)
                self._blocked[search] = None
                break
        if search not in self._blocked:
            search.check(now, may_wait=self._may_find_more(search))
        self._starving.pop(search, None)
        if search.is_over:
            self._in_background.discard(search)
        elif self._may_find_more(search) and search.lookup.is_starving:
            self._starving[search] = None
        self._set_alarm(search, now)

    def _may_find_more(self, search: Search) -> bool:
        """Whether a search without nodes may wait for those that are being found."""
        return self._sender.is_finding_nodes and search not in self._in_background

    def _set_alarm(self, search: Search, now: float) -> None:
        wakes_at = max(search.wakes_at(), now + 0.001)
        if wakes_at < self._alarm_of.get(search, float("inf")):
            self._alarm_of[search] = wakes_at
            self._alarm_count += 1
            heappush(self._alarms, (wakes_at, self._alarm_count, search))

    def feed(self, contacts: Sequence[Contact], now: float) -> None:
        """Give nodes to the searches that have none; not to all of very many at once, but each has its turn."""
        for search in list(self._starving)[:_FED_AT_ONCE]:
            search.lookup.add(contacts)
            self.pump(search, now)

    def end_starving(self, now: float) -> bool:
        """End searches without nodes, for no others are being found. Returns whether there are more of them."""
        for search in list(self._starving)[:_FED_AT_ONCE]:
            self.pump(search, now)
        return bool(self._starving)

    def wake(self, now: float) -> None:
        """Go on with those that are due, and those that may send their query now."""
        for _ in range(_DUE_AT_ONCE):
            if not self._alarms or self._alarms[0][0] > now:
                break
            search = heappop(self._alarms)[2]
            self._alarm_of.pop(search, None)
            if not search.is_over:
                self.pump(search, now)
        for search in sorted(self._blocked, key=lambda search: search in self._in_background):
            if not self._sender.may_ask(now):
                break
            self.pump(search, now)

    @property
    def next_alarm(self) -> float:
        """When one is due; infinite if never."""
        return self._alarms[0][0] if self._alarms else float("inf")

    @property
    def are_blocked(self) -> bool:
        """Whether one has a query to send, which would have been one too many."""
        return bool(self._blocked)

    @property
    def are_starving(self) -> bool:
        """Whether one has no nodes to ask."""
        return bool(self._starving)
