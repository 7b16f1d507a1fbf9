"""A network of DHT nodes in virtual time: real packets, a heap of events, and no sockets.

A test sets round trips, losses, dead and lying nodes; nothing waits for a clock.
"""

from __future__ import annotations

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from typing import Any

from geventbt.discovery.dht.contacts import IPV4, Contact
from geventbt.discovery.dht.goals import Announce, FindPeers, Goal
from geventbt.discovery.dht.lookup import Lookup
from geventbt.discovery.dht.node import Node
from geventbt.discovery.dht.node_id import BITS, number_of, secure_id
from geventbt.discovery.dht.search import Search
from geventbt.net.addresses import Address

_KNOWN_OF_BUCKET = 16


class Network:
    """Nodes that send each other datagrams.

    Args:
        seed: everything random follows from it.
        loss: the part of the datagrams that are lost.
        round_trip: the shortest and the longest, in seconds; most are near the shortest.

    Attributes:
        now: the time.
        nodes: by address.
        packets: how many have been sent.
    """

    def __init__(self, seed: int = 1, *, loss: float = 0.0, round_trip: tuple[float, float] = (0.05, 0.8)) -> None:
        self.rng = random.Random(seed)
        self.now = 0.0
        self.nodes: dict[Address, Node] = {}
        self.packets = 0
        self._loss = loss
        self._round_trip = round_trip
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0
        self._wakes: dict[Address, float] = {}
        self._handlers: dict[Address, Callable[[bytes, Address], Iterable[tuple[bytes, Address]]]] = {}
        self._dead: set[Address] = set()

    # ------------------------------------------------------------------ nodes

    def new_address(self) -> Address:
        """An unused address of the internet, each in a network of its own."""
        while True:
            host = f"{self.rng.randrange(11, 100)}.{self.rng.randrange(256)}.{self.rng.randrange(256)}.1"
            if (host, 6881) not in self.nodes and (host, 6881) not in self._handlers:
                return host, 6881

    def add_node(self, address: Address | None = None, **options: Any) -> Node:
        """A node whose id fits its address."""
        address = address or self.new_address()
        host = address[0]
        rng = random.Random(self.rng.random())
        options.setdefault("node_id", secure_id(host, rng))
        node = Node(IPV4, rng=rng, now=self.now, own_host=host, **options)
        self.nodes[address] = node
        return node

    def add_handler(
        self, address: Address, handler: Callable[[bytes, Address], Iterable[tuple[bytes, Address]]]
    ) -> None:
        """Add a node whose answers a test makes itself."""
        self._handlers[address] = handler

    def grow(self, count: int, *, seconds: float = 60.0) -> list[Address]:
        """Add many nodes, each knowing three that came before it, and let them find each other."""
        grown: list[Address] = []
        for number in range(count):
            address = self.new_address()
            node = self.add_node(address)
            known = self.rng.sample(grown, min(3, len(grown)))
            self._at(self.now + seconds * number / count, self._begin, node, address, known)
            grown.append(address)
        self.run(seconds + 20.0)
        return grown

    def fill(self, count: int) -> list[Address]:
        """Add many nodes whose tables are as if they had been there for long: at most 16 nodes in a bucket, chosen at
        random."""
        filled = [self.new_address() for _ in range(count)]
        for address in filled:
            self.add_node(address)
        contacts = sorted(Contact(self.nodes[address].node_id, address) for address in filled)
        numbers = [number_of(contact.id) for contact in contacts]
        for address in filled:
            node = self.nodes[address]
            known: list[Contact] = []
            for bucket in self._buckets(number_of(node.node_id), numbers):
                known += (contacts[at] for at in self.rng.sample(bucket, min(len(bucket), _KNOWN_OF_BUCKET)))
            self.rng.shuffle(known)
            for contact in known:
                node.table.answered(contact, self.now)
        return filled

    def _buckets(self, number: int, numbers: list[int]) -> Iterator[range]:
        """The places in a sorted list of the ids that share 0, 1, 2, ... bits with an id in it, until it is alone."""
        for bits in range(BITS):
            left = BITS - 1 - bits
            sibling = (number >> left) ^ 1
            yield range(bisect_left(numbers, sibling << left), bisect_left(numbers, (sibling + 1) << left))
            first = number >> left << left
            if bisect_left(numbers, first + (1 << left)) - bisect_left(numbers, first) == 1:
                return

    def _begin(self, node: Node, address: Address, known: list[Address]) -> None:
        node.upkeep.begin([Contact(self.nodes[other].node_id, other) for other in known], self.now)
        self.flush(address)

    def kill(self, addresses: Iterable[Address]) -> None:
        """Stop nodes, which then drop every packet."""
        self._dead.update(addresses)

    def living(self) -> list[Address]:
        """The nodes that are still there."""
        return [address for address in self.nodes if address not in self._dead]

    def true_closest(self, target: bytes, count: int = 8) -> list[Address]:
        """The living nodes that are closest to a target."""
        number = int.from_bytes(target, "big")
        return sorted(self.living(), key=lambda address: int.from_bytes(self.nodes[address].node_id, "big") ^ number)[
            :count
        ]

    # ------------------------------------------------------------------ searches

    def search(self, address: Address, goal: Goal, on_change: Callable[[], None] = lambda: None) -> Search:
        """Begin a search at a node."""
        node = self.nodes[address]
        search = Search(goal, Lookup(goal.target, node.node_id), on_change)
        node.start(search, self.now)
        self.flush(address)
        return search

    def run_search(self, address: Address, goal: Goal, seconds: float = 60.0) -> Search:
        """Run a search to its end."""
        search = self.search(address, goal)
        self.run(seconds, until=lambda: search.is_over)
        assert search.is_over
        return search

    def announce(self, address: Address, info_hash: bytes, port: int = 6881) -> Search:
        """Announce a peer."""
        return self.run_search(address, FindPeers(info_hash, Announce(port)))

    # ------------------------------------------------------------------ time and packets

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, or only until a condition is true."""
        end = self.now + seconds
        while self._events and self._events[0][0] <= end and not until():
            when, _, function, arguments = heappop(self._events)
            self.now = max(self.now, when)
            function(*arguments)
        if not until():
            self.now = end

    def flush(self, address: Address) -> None:
        """Send what a node has to send, and note when it wants to wake."""
        node = self.nodes[address]
        for data, destination in node.take_outgoing():
            self.send(data, address, destination)
        wakes_at = node.next_wake(self.now)
        if wakes_at < self._wakes.get(address, float("inf")) - 1e-9:
            self._wakes[address] = wakes_at
            self._at(wakes_at, self._wake, address)

    def send(self, data: bytes, source: Address, destination: Address) -> None:
        """Put a datagram on its way."""
        self.packets += 1
        if self.rng.random() >= self._loss:
            self._at(self.now + self._delay(), self._deliver, data, source, destination)

    def _delay(self) -> float:
        """Half a round trip: 200 ms in the median for one of 50 to 800."""
        shortest, longest = self._round_trip
        return min(longest, max(shortest, self.rng.lognormvariate(-1.6, 0.6))) / 2

    def _deliver(self, data: bytes, source: Address, destination: Address) -> None:
        if destination in self._dead:
            return
        if destination in self._handlers:
            for answer, address in self._handlers[destination](data, source):
                self.send(answer, destination, address)
        elif destination in self.nodes:
            self.nodes[destination].receive(data, source, self.now)
            self.flush(destination)

    def _wake(self, address: Address) -> None:
        if self._wakes.get(address, float("inf")) <= self.now:
            del self._wakes[address]
            if address not in self._dead:
                self.nodes[address].wake(self.now)
                self.flush(address)

    def _at(self, when: float, function: Callable[..., None], *arguments: Any) -> None:
        self._count += 1
        heappush(self._events, (when, self._count, function, arguments))
