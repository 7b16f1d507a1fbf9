"""A search: a lookup with a goal, and the storing that may follow it (BEP 5, 44). Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from geventbt import limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import Contact
from geventbt.discovery.dht.goals import Goal
from geventbt.discovery.dht.lookup import Lookup
from geventbt.net.addresses import Address


class Destination(NamedTuple):
    """Where a query goes: an address, and the id of the node there if it is known."""

    address: Address
    node_id: bytes | None


class Search:
    """One search.

    Args:
        goal: what it is for.
        lookup: finds the nodes closest to its target.
        on_change: called when it has found something, or is over; must neither block nor raise.

    Attributes:
        is_over: it sends no more queries, except to a node that answers late and should store something.
        stored: how many nodes have stored what the goal wanted.
        refusals: what the others said.
        queries: how many were sent.
    """

    def __init__(self, goal: Goal, lookup: Lookup, on_change: Callable[[], None] = lambda: None) -> None:
        self.goal = goal
        self.lookup = lookup
        self.is_over = False
        self.stored = 0
        self.refusals: list[m.Failure] = []
        self.queries = 0
        self._on_change = on_change
        self._stores: dict[Address, float | None] = {}
        self._is_storing = False
        self._is_stopped = False

    def next(self, now: float, want: m.Want) -> tuple[Destination, m.Request] | None:
        """The next query to send, which is taken to be sent then."""
        if self._is_stopped:
            return None
        if self._is_storing:
            return self._next_store(now)
        if self.is_over:
            return None
        node = self.lookup.next(now)
        if node is None:
            return None
        self.queries += 1
        destination = Destination(node.address, node.id) if isinstance(node, Contact) else Destination(node, None)
        return destination, self.goal.request(want)

    def put_back(self, destination: Destination, request: m.Request) -> None:
        """A query could not be sent yet after all."""
        self.queries -= 1
        if _is_store(request):
            del self._stores[destination.address]
        elif destination.node_id is None:
            self.lookup.failed(destination.address, was_slow=False)
            self.lookup.add_addresses([destination.address])
        else:
            self.lookup.put_back(Contact(destination.node_id, destination.address))

    def _next_store(self, now: float) -> tuple[Destination, m.Request] | None:
        for candidate in self.lookup.closest():
            contact = candidate.contact
            if contact.address not in self._stores and candidate.token is not None:
                self._stores[contact.address] = now
                self.queries += 1
                return Destination(contact.address, contact.id), self.goal.store_request(contact, candidate.token)
        return None

    def take_own(self, contact: Contact, reply: m.Reply) -> None:
        """Take what is stored with ourselves: in a small network that may be the only copy."""
        self.goal.take(contact, reply)
        self._on_change()

    def answered(self, contact: Contact, request: m.Request, reply: m.Reply, now: float, *, was_slow: bool) -> None:
        """A node has answered a query."""
        if _is_store(request):
            self._stores[contact.address] = None
            self.stored += 1
        else:
            self.lookup.answered(contact, reply.token, was_slow=was_slow)
            self.goal.take(contact, reply)
            self.lookup.add(reply.nodes)
            self._on_change()
        self.check(now)

    def failed(
        self, address: Address, request: m.Request, failure: m.Failure | None, now: float, *, was_slow: bool
    ) -> None:
        """A node has answered with an error, or not at all."""
        if not _is_store(request):
            self.lookup.failed(address, was_slow=was_slow)
        else:
            self._stores[address] = None
            if failure is not None:
                self.refusals.append(failure)
        self.check(now)

    def slow(self, address: Address, request: m.Request, now: float) -> None:
        """A node does not answer soon."""
        if not _is_store(request):
            self.lookup.slow(address)
        self.check(now)

    def stop(self) -> None:
        """Send no more queries."""
        self._is_stopped = True
        self._end()

    def check(self, now: float, *, may_wait: bool = False) -> None:
        """See whether it has come to its next step.

        Args:
            now: the time.
            may_wait: one that has too few nodes does not end yet, for others are being found.
        """
        if self.is_over:
            return
        if not self._is_storing:
            if not self.goal.is_reached and not self.lookup.has_converged(now):
                return
            if may_wait and self.lookup.is_starving and not self.goal.is_reached:
                return
            if not self.goal.prepare():
                self._end()
                return
            self._is_storing = True
        if not self._waits_for_stores(now):
            self._end()

    def wakes_at(self) -> float:
        """When `check` may find something although nothing has come; infinite if never."""
        if self.is_over:
            return float("inf")
        if self._is_storing:
            return max((at for at in self._stores.values() if at is not None), default=0.0) + limits.DHT_LAST_PATIENCE
        return self.lookup.waits_until()

    def _waits_for_stores(self, now: float) -> bool:
        closest = self.lookup.closest()
        return any(
            self._is_awaited(candidate.contact.address, now) for candidate in closest if candidate.token is not None
        )

    def _is_awaited(self, address: Address, now: float) -> bool:
        if address not in self._stores:
            return True
        asked_at = self._stores[address]
        return asked_at is not None and now - asked_at < limits.DHT_LAST_PATIENCE

    def _end(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._on_change()


def _is_store(request: m.Request) -> bool:
    return isinstance(request, (m.AnnouncePeer, m.PutItem))
