"""Iterative lookup of the nodes closest to a target: the closest known are asked for closer ones (BEP 5). Pure.

A few queries are outstanding at a time. The next node is asked when one does not answer soon, whose late answer is
still used: *measured* in a simulated network with 30 % dead nodes, a lookup ends so in 1.5 s, and in
30 s when each dead node is waited for. It has converged when the closest nodes that answered are closer than every
node that was not asked.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable
from enum import Enum

from geventbt import limits
from geventbt.discovery.dht.contacts import Contact, host_of
from geventbt.discovery.dht.node_id import is_secure, number_of
from geventbt.net.addresses import Address


class _State(Enum):
    NEW = 0
    ASKED = 1
    SLOW = 2
    ANSWERED = 3
    FAILED = 4


class Candidate:
    """A node that a lookup knows.

    Attributes:
        contact: the node.
        distance: to the target.
        is_secure: its id fits its address (BEP 42).
        token: for storing, once it has answered.
        asked_at: when it was asked.
    """

    __slots__ = ("asked_at", "contact", "distance", "is_secure", "state", "token")

    def __init__(self, contact: Contact, target: int) -> None:
        self.contact = contact
        self.distance = number_of(contact.id) ^ target
        self.is_secure = is_secure(contact.id, contact.address[0])
        self.state = _State.NEW
        self.token: bytes | None = None
        self.asked_at = 0.0

    def __lt__(self, other: Candidate) -> bool:
        return self.distance < other.distance


class Lookup:
    """One lookup.

    Args:
        target: 20 bytes.
        width: queries that are outstanding at a time.
        own_id: ours, which others may name.
    """

    def __init__(self, target: bytes, own_id: bytes, *, width: int = limits.DHT_LOOKUP_WIDTH) -> None:
        self.target = target
        self._number = number_of(target)
        self._own_id = own_id
        self._width = width
        self._nearest: list[Candidate] = []
        self._by_address: dict[Address, Candidate] = {}
        self._networks: set[bytes] = set()
        self._addresses: deque[Address] = deque(maxlen=limits.DHT_LOOKUP_CANDIDATES)
        self._asked_addresses = 0
        self._in_flight = 0

    def add(self, contacts: Iterable[Contact], *, trusted: bool = False) -> None:
        """Add nodes.

        Args:
            contacts: the nodes.
            trusted: they are from our own table. Of others one of a network (/24, /64) is enough, or one party that
                rents a network could surround the target.
        """
        for contact in contacts:
            if contact.address in self._by_address or contact.id == self._own_id:
                continue
            host = host_of(contact.address[0])
            if host.is_global:
                if host.network in self._networks and not trusted:
                    continue
                self._networks.add(host.network)
            self._insert(Candidate(contact, self._number))

    def add_addresses(self, addresses: Iterable[Address]) -> None:
        """Add nodes whose ids are not known; they are asked when there are no others."""
        self._addresses.extend(address for address in addresses if address not in self._by_address)

    def next(self, now: float) -> Contact | Address | None:
        """The node to ask next, which is taken to be asked then; an address only if its id is not known."""
        if self._in_flight >= self._width:
            return None
        candidate = self._next_candidate()
        if candidate is not None:
            candidate.state, candidate.asked_at = _State.ASKED, now
            self._in_flight += 1
            return candidate.contact
        if self._addresses and len(self._answers()) < limits.DHT_K:
            self._in_flight += 1
            self._asked_addresses += 1
            return self._addresses.popleft()
        return None

    def put_back(self, contact: Contact) -> None:
        """A node could not be asked yet after all."""
        candidate = self._by_address[contact.address]
        candidate.state = _State.NEW
        self._in_flight -= 1

    def _next_candidate(self) -> Candidate | None:
        counted = answers = 0
        for candidate in self._nearest:
            if candidate.state is _State.NEW:
                return candidate
            if candidate.state is _State.ANSWERED:
                answers += 1
                counted += candidate.is_secure
                if counted >= limits.DHT_K or answers >= limits.DHT_LOOKUP_INSECURE:
                    return None
        return None

    def _insert(self, candidate: Candidate) -> None:
        insort(self._nearest, candidate)
        self._by_address[candidate.contact.address] = candidate
        if len(self._nearest) > limits.DHT_LOOKUP_CANDIDATES:
            self._forget_farthest()

    def _forget_farthest(self) -> None:
        """Forget the farthest node that has not been asked. So no more are asked than are remembered, even if each
        names others that are closer."""
        for at in range(len(self._nearest) - 1, -1, -1):
            if self._nearest[at].state is _State.NEW:
                del self._by_address[self._nearest.pop(at).contact.address]
                return

    def answered(self, contact: Contact, token: bytes | None, *, was_slow: bool) -> None:
        """A node has answered."""
        candidate = self._by_address.get(contact.address)
        if candidate is None:
            # It was asked by its address alone.
            self._asked_addresses -= 1
            if contact.id == self._own_id:
                self._in_flight -= not was_slow
                return
            candidate = Candidate(contact, self._number)
            self._insert(candidate)
        if not was_slow:
            self._in_flight -= 1
        is_lie = candidate.contact.id != contact.id
        candidate.state = _State.FAILED if is_lie else _State.ANSWERED
        candidate.token = token

    def slow(self, address: Address) -> None:
        """A node does not answer soon; another may be asked."""
        self._in_flight -= 1
        candidate = self._by_address.get(address)
        if candidate is not None:
            candidate.state = _State.SLOW

    def failed(self, address: Address, *, was_slow: bool) -> None:
        """A node did not answer at all, or with an error."""
        if not was_slow:
            self._in_flight -= 1
        candidate = self._by_address.get(address)
        if candidate is None:
            self._asked_addresses -= 1
        else:
            candidate.state = _State.FAILED

    def has_converged(self, now: float) -> bool:
        """Whether no answer that is still worth waiting for can bring a closer node."""
        counted = answers = 0
        slowest = float("-inf")
        for candidate in self._nearest:
            if candidate.state in (_State.NEW, _State.ASKED):
                return False
            if candidate.state is _State.SLOW:
                slowest = max(slowest, candidate.asked_at)
            elif candidate.state is _State.ANSWERED:
                answers += 1
                counted += candidate.is_secure
                if counted >= limits.DHT_K or answers >= limits.DHT_LOOKUP_INSECURE:
                    return True
        if self._addresses or self._in_flight:
            return False
        patience = limits.DHT_LAST_PATIENCE if answers else limits.DHT_ANSWER_TIMEOUT
        return now - slowest >= patience and not (self._asked_addresses and not answers)

    def waits_until(self) -> float:
        """When `has_converged` may change without an answer; infinite if it cannot."""
        slow = [candidate.asked_at for candidate in self._nearest if candidate.state is _State.SLOW]
        return max(slow) + limits.DHT_LAST_PATIENCE if slow else float("inf")

    @property
    def is_starving(self) -> bool:
        """Whether it has too few nodes, and none left to ask."""
        return self._next_candidate() is None and len(self._answers()) < limits.DHT_K

    def closest(self) -> list[Candidate]:
        """The nodes to store something on: the closest that answered with a token and whose id fits their address; the
        others only where there are no such nodes."""
        answers = [candidate for candidate in self._answers() if candidate.token is not None]
        secure = [candidate for candidate in answers if candidate.is_secure]
        return (secure or answers)[: limits.DHT_K]

    def answers(self) -> list[Contact]:
        """The nodes that answered, the closest first."""
        return [candidate.contact for candidate in self._answers()]

    def _answers(self) -> list[Candidate]:
        return [candidate for candidate in self._nearest if candidate.state is _State.ANSWERED]
