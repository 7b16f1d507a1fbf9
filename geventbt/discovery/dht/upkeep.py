"""Bootstrap and maintenance of a routing table: first nodes, pings and refreshes (BEP 5). Pure.

It begins with a lookup of our own id among the nodes that are known, then looks up an id in each bucket, from far to
near, two at a time, unless that has nodes enough. As long as there are too few nodes it tries again, less and less
often.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from geventbt import limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import Contact
from geventbt.discovery.dht.goals import FindNodes
from geventbt.discovery.dht.lookup import Lookup
from geventbt.discovery.dht.node_id import random_id_near
from geventbt.discovery.dht.routing_table import RoutingTable
from geventbt.discovery.dht.search import Search
from geventbt.net.addresses import Address
from geventbt.rates.allowances import Allowance

_BUCKETS_AT_ONCE = 2
_ADDRESSES = 100
_JITTER = 0.2


class Asker(Protocol):
    """The node that is looked after."""

    @property
    def table(self) -> RoutingTable:
        """Its routing table."""

    @property
    def node_id(self) -> bytes:
        """Its id."""

    def start(self, search: Search, now: float, *, is_background: bool = False) -> None:
        """Begin a search."""

    def ask(self, address: Address, request: m.Request, listener: None, now: float) -> bool:
        """Ask a single node."""

    def may_ask_in_background(self, now: float) -> bool:
        """Whether a query could be sent now for which no caller waits."""

    def stopped_starting(self, now: float) -> None:
        """No further nodes are being found."""


class Upkeep:
    """Keeps the routing table of one node.

    Args:
        node: the node.
        rng: random ids and times.
        now: the time.
    """

    def __init__(self, node: Asker, rng: random.Random, now: float) -> None:
        self._node = node
        self._rng = rng
        self._started_at = now
        self._contacts: list[Contact] = []
        self._addresses: deque[Address] = deque(maxlen=_ADDRESSES)
        self._unpinged: deque[Address] = deque(maxlen=_ADDRESSES)
        self._own_lookup: Search | None = None
        self._bucket_lookups: list[Search] = []
        self._thin_buckets: deque[int] = deque()
        self._tries = 0
        self._tries_at = float("inf")
        self._pings = Allowance(limits.DHT_PINGS_PER_SECOND, 1.0, now)
        self._pings_at = now
        self._refreshes_at = now + limits.DHT_REFRESH_INTERVAL
        self._is_started = False
        self._expects_nodes = False

    def begin(self, contacts: Iterable[Contact], now: float) -> None:
        """Bootstrap from nodes of an earlier run, 16 of them chosen at random."""
        known = list(contacts)
        self._contacts = self._rng.sample(known, min(len(known), 2 * limits.DHT_K))
        for contact in known:
            self._node.table.heard_of(contact, now)
        self.restart(now)

    def restart(self, now: float) -> None:
        """Look up our own id again."""
        self._is_started = True
        self._tries_at = float("inf")
        self._thin_buckets.clear()
        lookup = Lookup(self._node.node_id, self._node.node_id)
        lookup.add(self._contacts, trusted=True)
        lookup.add_addresses(self._addresses)
        self._own_lookup = Search(FindNodes(self._node.node_id), lookup)
        self._node.start(self._own_lookup, now, is_background=True)

    def add_addresses(self, addresses: Iterable[Address], now: float) -> None:
        """Add nodes by their addresses: for the bootstrap, or to be pinged later where there are nodes enough."""
        fresh = [address for address in addresses if address not in self._node.table]
        unknown = [address for address in fresh if address not in self._addresses]
        self._addresses.extend(unknown)
        self._unpinged.extend(fresh)
        if fresh and self._is_started and len(self._node.table) < limits.DHT_K:
            self._tries = 0
            self._start_with(unknown, now)
        self._pings_at = min(self._pings_at, now)

    def _start_with(self, addresses: Iterable[Address], now: float) -> None:
        """Look up our own id, among these nodes as well; never twice at a time, for peers may name nodes by the
        thousand."""
        if self._own_lookup is None or self._own_lookup.is_over:
            self.restart(now)
        else:
            self._own_lookup.lookup.add_addresses(addresses)
            self._node.start(self._own_lookup, now, is_background=True)

    def set_expects_nodes(self, expects_nodes: bool, now: float) -> None:
        """Say whether addresses of first nodes are still to come, whose names are being looked up."""
        self._expects_nodes = expects_nodes
        self._stop_starting(now)

    @property
    def is_starting(self) -> bool:
        """Whether the first nodes are being found."""
        return self._own_lookup is not None or self._expects_nodes

    def is_ready(self, now: float) -> bool:
        """Whether searches find what there is: there are nodes enough, or those that there are have all been asked."""
        good = self._node.table.good_count(now)
        return good >= limits.DHT_K or (good > 0 and self._is_started and not self.is_starting)

    def wants_routers(self, now: float) -> bool:
        """Whether the nodes that are known did not answer, or there are none."""
        has_nodes = bool(self._contacts or self._addresses)
        is_late = now - self._started_at >= limits.DHT_ROUTERS_AFTER
        return (is_late or not has_nodes) and len(self._node.table) < limits.DHT_K

    def is_online(self, now: float) -> bool:
        """Whether a node that does not answer is to blame for that: others have answered lately."""
        return any(now - node.answered_at < 2 * limits.DHT_ANSWER_TIMEOUT for node in self._node.table)

    def tick(self, now: float) -> None:
        """Do what is due."""
        if not self._is_started:
            return
        if self._own_lookup is not None and self._own_lookup.is_over:
            self._own_lookup = None
            self._thin_buckets.extend(range(self._node.table.depth))
            if len(self._node.table) < limits.DHT_K:
                wait = min(limits.DHT_BOOTSTRAP_RETRY * 2.0**self._tries, limits.MAX_DHT_BOOTSTRAP_RETRY)
                self._tries += 1
                self._tries_at = now + wait
            self._stop_starting(now)
        self._bucket_lookups = [search for search in self._bucket_lookups if not search.is_over]
        while self._thin_buckets and len(self._bucket_lookups) < _BUCKETS_AT_ONCE:
            bits = self._thin_buckets.popleft()
            if not self._node.table.has_enough(bits):
                self._look_up(random_id_near(self._node.node_id, bits, self._rng), now)
        if now >= self._tries_at:
            self.restart(now)
        if now >= self._pings_at:
            self._ping(now)
        if now >= self._refreshes_at:
            self._refresh(now)

    def next_tick(self, now: float) -> float:
        """When to call `tick`."""
        return min(self._tries_at, self._pings_at, self._refreshes_at) if self._is_started else float("inf")

    def _stop_starting(self, now: float) -> None:
        if not self.is_starting:
            self._node.stopped_starting(now)

    def _look_up(self, target: bytes, now: float) -> None:
        search = Search(FindNodes(target), Lookup(target, self._node.node_id))
        self._bucket_lookups.append(search)
        self._node.start(search, now, is_background=True)

    def _ping(self, now: float) -> None:
        self._pings_at = now + 1 / limits.DHT_PINGS_PER_SECOND
        if self.is_starting or not self._node.may_ask_in_background(now) or not self._pings.take(now):
            return
        while self._unpinged:
            address = self._unpinged.popleft()
            if address not in self._node.table:
                self._node.ask(address, m.Ping(), None, now)
                return
        contact = self._node.table.to_ping(now, urgent=True)
        if contact is None:
            self._pings_at = now + limits.DHT_PING_INTERVAL
            contact = self._node.table.to_ping(now, urgent=False)
        if contact is not None:
            self._node.ask(contact.address, m.Ping(), None, now)

    def _refresh(self, now: float) -> None:
        self._refreshes_at = now + limits.DHT_REFRESH_INTERVAL * self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        target = self._node.table.stale_target(now, self._rng)
        if target is not None:
            self._look_up(target, now)
