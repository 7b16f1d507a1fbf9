"""A node of the DHT of one address family: datagrams in, datagrams out (BEP 5, 32, 42, 43). Pure.

It knows no socket and no clock. Its driver hands in the datagrams (`receive`) and calls `wake` when `next_wake`
says so, always with the time, and sends what `take_outgoing` gives. Each query belongs to a listener: a search, or a
single question.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from geventbt import limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import IPV4, IPV6, Contact, family_of, host_of
from geventbt.discovery.dht.gate import Gate
from geventbt.discovery.dht.node_id import random_id, secure_id
from geventbt.discovery.dht.own_address import OwnAddress
from geventbt.discovery.dht.parser import BadQuery, NotAMessage, parse
from geventbt.discovery.dht.responder import Responder
from geventbt.discovery.dht.routing_table import RoutingTable
from geventbt.discovery.dht.search import Destination, Search
from geventbt.discovery.dht.searches import Searches
from geventbt.discovery.dht.transactions import Transactions
from geventbt.discovery.dht.upkeep import Upkeep
from geventbt.net.addresses import Address, normalise
from geventbt.rates.allowances import Allowance, Allowances

_LOOPBACK = {IPV4: "127.0.0.1", IPV6: "::1"}
_EXPIRY_INTERVAL = 60.0
_DUE_AT_ONCE = 32
"""Timeouts handled before other greenlets run: after a suspension hundreds are due at one time."""


class Listener(Protocol):
    """What a query belongs to."""

    def answered(self, contact: Contact, request: m.Request, reply: m.Reply, now: float, *, was_slow: bool) -> None:
        """The node has answered."""

    def failed(
        self, address: Address, request: m.Request, failure: m.Failure | None, now: float, *, was_slow: bool
    ) -> None:
        """The node has answered with an error, or in ten seconds not at all."""

    def slow(self, address: Address, request: m.Request, now: float) -> None:
        """The node has not answered soon."""


class _Asked(NamedTuple):
    listener: Listener | None
    destination: Destination
    request: m.Request


@dataclass(slots=True)
class Counters:
    """What a node has done and seen.

    Attributes:
        queries: sent.
        replies: that came to them.
        failures: errors that came to them, and queries that were not answered.
        answered: queries of others that were answered.
        malformed: packets that were not messages.
        unexpected: answers to no question.
        refused: packets over a limit.
    """

    queries: int = 0
    replies: int = 0
    failures: int = 0
    answered: int = 0
    malformed: int = 0
    unexpected: int = 0
    refused: int = 0


class Node:
    """One node: a `QuerySender`, and an `Asker`.

    Args:
        family: `IPV4` or `IPV6`.
        rng: everything random.
        now: the time, in seconds of a monotonic clock, as everywhere here.
        node_id: of an earlier run; a new one if None.
        own_host: our address of an earlier run.
        read_only: answer no queries, and say so in ours (BEP 43).
        query_rate: queries a second.

    Attributes:
        table: the nodes we know.
        responder: what others have stored here.
        counters: what it has done.
        own_address: our address as others see it.
    """

    def __init__(
        self,
        family: int,
        *,
        rng: random.Random,
        now: float,
        node_id: bytes | None = None,
        own_host: str | None = None,
        read_only: bool = False,
        query_rate: float = limits.DHT_QUERY_RATE,
    ) -> None:
        self.family = family
        self.read_only = read_only
        self.own_address = OwnAddress(own_host)
        self.table = RoutingTable(node_id or _new_id(own_host, rng), now)
        self.responder = Responder(family, self.table, rng, now)
        self.counters = Counters()
        self.upkeep = Upkeep(self, rng, now)
        self._searches = Searches(self)
        self._partner: Node | None = None
        self._rng = rng
        self._gate = Gate(now)
        self._transactions: Transactions[_Asked] = Transactions(rng)
        self._queries = Allowance(query_rate, max(limits.DHT_QUERY_BURST, 2 * query_rate), now)
        self._background = max(limits.DHT_QUERY_BURST, 2 * query_rate) / 2
        self._of_address: Allowances[object] = Allowances(
            limits.DHT_ADDRESS_RATE, limits.DHT_ADDRESS_BURST, limits.DHT_SOURCES
        )
        self._answers = Allowance(limits.DHT_ANSWER_RATE, limits.DHT_ANSWER_BURST, now)
        self._outgoing: list[tuple[bytes, Address]] = []
        self._routers: set[Address] = set()
        self._expires_at = now + _EXPIRY_INTERVAL
        self._wakes_at = float("inf")

    @property
    def node_id(self) -> bytes:
        """Our id."""
        return self.table.node_id

    def pair_with(self, other: Node) -> None:
        """Let a node of each family know of the other's nodes (BEP 32)."""
        self._partner, other._partner = other, self
        self.responder.tables[other.family] = other.table
        other.responder.tables[self.family] = self.table

    # ------------------------------------------------------------------ datagrams

    def receive(self, data: bytes, address: Address, now: float) -> None:
        """Take a datagram, which may be anything.

        Args:
            data: the datagram.
            address: where it came from; the host is an IP address.
            now: the time.
        """
        if not self._transactions.expects(address) and not self._gate.admits(address, len(data), now):
            self.counters.refused += 1
            return
        try:
            message = parse(data)
        except NotAMessage:
            self.counters.malformed += 1
            return
        except BadQuery as bad:
            self.counters.malformed += 1
            if not self.read_only and normalise(address):
                self._answer(m.write_failure(bad.transaction_id, bad.code, bad.text, address), address, now)
            return
        if isinstance(message, m.Query):
            self._asked(message, address, now)
        elif isinstance(message, m.Reply):
            self._replied(message, address, now)
        else:
            self._failed(message, address, now)
        self.upkeep.tick(now)

    def take_outgoing(self) -> list[tuple[bytes, Address]]:
        """The datagrams to send, each with its address."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _asked(self, query: m.Query, address: Address, now: float) -> None:
        if query.node_id == self.node_id or self.read_only or not normalise(address):
            return
        if not query.read_only:
            self.table.asked_us(Contact(query.node_id, address), now)
        if self._answers.wait(now, limits.DHT_MAX_ANSWER):
            # Before anything is looked up for it: that costs more than the datagram.
            self.counters.refused += 1
            return
        if self._answer(self.responder.answer(query, address, now), address, now):
            self.counters.answered += 1

    def _answer(self, data: bytes, address: Address, now: float) -> bool:
        if not self._answers.take(now, len(data)):
            self.counters.refused += 1
            return False
        self._outgoing.append((data, address))
        return True

    def _replied(self, reply: m.Reply, address: Address, now: float) -> None:
        pending = self._transactions.close(address, reply.transaction_id, now)
        if pending is None:
            self.counters.unexpected += 1
            return
        self.counters.replies += 1
        contact = Contact(reply.node_id, address)
        if address not in self._routers:
            self.table.answered(contact, now)
        self._learn(reply, contact, now)
        listener = pending.owner.listener
        if listener is not None:
            listener.answered(contact, pending.owner.request, reply, now, was_slow=pending.is_slow)
            self._pump_listener(listener, now)

    def _failed(self, failure: m.Failure, address: Address, now: float) -> None:
        pending = self._transactions.close(address, failure.transaction_id, now)
        if pending is None:
            self.counters.unexpected += 1
            return
        self.counters.failures += 1
        self._tell_failed(pending.owner, failure, now, was_slow=pending.is_slow)

    def _tell_failed(self, asked: _Asked, failure: m.Failure | None, now: float, *, was_slow: bool) -> None:
        if asked.listener is not None:
            asked.listener.failed(asked.destination.address, asked.request, failure, now, was_slow=was_slow)
            self._pump_listener(asked.listener, now)

    def _learn(self, reply: m.Reply, contact: Contact, now: float) -> None:
        """Take from an answer what does not belong to its query alone."""
        if reply.own_address is not None and self.own_address.vote(contact.address, reply.own_address):
            self._fit_id(now)
        scope = host_of(contact.address[0]).scope
        # No node sends us to a place that is nearer to us than it is; see `may_connect`.
        named = [known for known in reply.nodes if host_of(known.address[0]).scope >= scope]
        reply.nodes, others = _by_family(named, self.family)
        for known in reply.nodes:
            self.table.heard_of(known, now)
        if self._partner is not None and others:
            self._partner.hear_of(others, now)
        self._searches.feed(reply.nodes if contact.address in self._routers else [contact, *reply.nodes], now)

    def note_own_host(self, host: str, now: float) -> None:
        """Take our own IP address, such as from the router, unless nodes have said it already."""
        if self.own_address.host is None:
            self.own_address.host = host
            self._fit_id(now)

    def _fit_id(self, now: float) -> None:
        """Take an id that fits our address, unless ours does (BEP 42)."""
        host = self.own_address.host
        assert host is not None
        if not host_of(host).is_global:
            return
        self.table = self.table.change_id(secure_id(host, self._rng), now)
        self.responder.tables[self.family] = self.table
        if self._partner is not None:
            self._partner.responder.tables[self.family] = self.table
        self.upkeep.restart(now)

    # ------------------------------------------------------------------ nodes

    def hear_of(self, contacts: Iterable[Contact], now: float) -> None:
        """Add nodes that others have named."""
        known = list(contacts)
        for contact in known:
            self.table.heard_of(contact, now)
        self._searches.feed(known, now)

    def add_addresses(self, addresses: Iterable[Address], now: float, *, are_routers: bool = False) -> None:
        """Add nodes by their addresses alone; they are asked for others.

        Args:
            addresses: of our family; others are left out.
            now: the time.
            are_routers: they name nodes to nodes that start, and must not be asked for anything else (BEP 5).
        """
        usable = [known for known in map(normalise, addresses) if known and family_of(known) == self.family]
        if are_routers:
            self._routers.update(usable)
        self.upkeep.add_addresses(usable, now)

    # ------------------------------------------------------------------ searches and questions

    def start(self, search: Search, now: float, *, is_background: bool = False) -> None:
        """Begin a search.

        Args:
            search: whose goal and lookup it has; the nodes that we know are added, and what is stored here is taken.
            now: the time.
            is_background: it leaves half of the queries that may be sent to others.
        """
        ourselves = Contact(self.node_id, (_LOOPBACK[self.family], 0))
        search.take_own(ourselves, self.responder.stored(search.goal.request(frozenset())))
        nodes = self.table.closest(search.lookup.target, 2 * limits.DHT_K, secure=True)
        self._searches.start(search, nodes, now, is_background=is_background)

    def ask(self, address: Address, request: m.Request, listener: Listener | None, now: float) -> bool:
        """Ask a single node something. Returns False if that is one query too many at the moment."""
        return self.send(Destination(address, None), request, listener, now)

    def may_ask(self, now: float) -> bool:
        """Whether any query could be sent now."""
        return self._queries.wait(now) <= 0

    def may_ask_in_background(self, now: float) -> bool:
        """Whether a query could be sent now for which no caller waits."""
        return self._queries.wait(now, self._background) <= 0

    def _pump_listener(self, listener: Listener, now: float) -> None:
        if isinstance(listener, Search):
            self._searches.pump(listener, now)

    @property
    def is_finding_nodes(self) -> bool:
        return self.upkeep.is_starting

    def stopped_starting(self, now: float) -> None:
        """No further nodes are being found: searches without any have to end."""
        if self._searches.end_starving(now):
            self._wakes_at = now

    def want(self) -> m.Want:
        is_both = self._partner is not None and len(self._partner.table) < limits.DHT_K
        return frozenset((IPV4, IPV6)) if is_both else frozenset()

    def send(self, destination: Destination, request: m.Request, listener: Listener | None, now: float) -> bool:
        """Send a query. Returns False if it is one too many at the moment."""
        address = destination.address
        key = address[0] if host_of(address[0]).is_global else address
        if self._queries.wait(now) > 0 or not self._of_address.take(key, now) or not self._queries.take(now):
            self._wakes_at = min(
                self._wakes_at, now + max(self._queries.wait(now), self._of_address.wait(key, now), 0.001)
            )
            return False
        pending = self._transactions.open(address, _Asked(listener, destination, request), now)
        data = m.write_query(pending.transaction_id, self.node_id, request, read_only=self.read_only)
        self._outgoing.append((data, address))
        self.counters.queries += 1
        return True

    # ------------------------------------------------------------------ time

    def wake(self, now: float) -> None:
        """Do what is due."""
        self._wakes_at = float("inf")
        for pending in islice(self._transactions.due(now), _DUE_AT_ONCE):
            self._timed_out(pending.owner, now, is_over=pending.is_over)
        self._searches.wake(now)
        if self._searches.are_starving and not self.upkeep.is_starting:
            self.stopped_starting(now)
        if now >= self._expires_at:
            self._expires_at = now + _EXPIRY_INTERVAL
            self.responder.expire(now)
        self.upkeep.tick(now)

    def next_wake(self, now: float) -> float:
        """When to call `wake`."""
        background = now + self._queries.wait(now, self._background) if self._searches.are_blocked else float("inf")
        alarm = self._searches.next_alarm
        times = (self._transactions.next_due(), alarm, self._wakes_at, self._expires_at, self.upkeep.next_tick(now))
        return min(*times, background)

    def _timed_out(self, asked: _Asked, now: float, *, is_over: bool) -> None:
        listener = asked.listener
        address, node_id = asked.destination
        if not is_over:
            if listener is not None:
                listener.slow(address, asked.request, now)
                self._pump_listener(listener, now)
            return
        self.counters.failures += 1
        if self.upkeep.is_online(now):
            self.table.failed(address, now)
            if node_id is not None:
                self.table.forget(Contact(node_id, address), now)
        self._tell_failed(asked, None, now, was_slow=True)


def _new_id(host: str | None, rng: random.Random) -> bytes:
    return secure_id(host, rng) if host is not None else random_id(rng)


def _by_family(contacts: list[Contact], family: int) -> tuple[list[Contact], list[Contact]]:
    """Those of a family, and the others."""
    ours = [contact for contact in contacts if family_of(contact.address) == family]
    return ours, [contact for contact in contacts if family_of(contact.address) != family]
