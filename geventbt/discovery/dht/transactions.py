"""Queries that wait for their answers, and how long they are worth waiting for (BEP 5; RFC 6298). Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Generic, TypeVar

from geventbt import limits
from geventbt.net.addresses import Address

_T = TypeVar("_T")

_TRANSACTION_ID = 2


class Pending(Generic[_T]):
    """One query.

    Attributes:
        transaction_id: of its answer.
        address: where it went.
        owner: whatever is to be known when the answer comes.
        asked_at: when it was sent.
        is_slow: another node is asked as well.
        unexpected: packets that came from its address and are not its answer.
    """

    __slots__ = ("address", "asked_at", "is_over", "is_slow", "owner", "transaction_id", "unexpected")

    def __init__(self, transaction_id: bytes, address: Address, owner: _T, now: float) -> None:
        self.transaction_id = transaction_id
        self.address = address
        self.owner = owner
        self.asked_at = now
        self.is_slow = False
        self.is_over = False
        self.unexpected = 0


class Transactions(Generic[_T]):
    """The queries that are not answered yet, by address and transaction id.

    A query has two times: after the first, which follows the round trips seen, its node is taken to be slow; after the
    second its answer is of no use any more.

    Args:
        rng: makes the transaction ids, so that only a host that has received a query can answer it.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._pending: dict[Address, dict[bytes, Pending[_T]]] = {}
        self._times: list[tuple[float, int, Pending[_T]]] = []
        self._count = 0
        self._round_trip: float | None = None
        self._variation = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._pending.values()))

    @property
    def patience(self) -> float:
        """Seconds after which a node is slow."""
        if self._round_trip is None:
            return limits.DHT_MAX_PATIENCE
        usual = self._round_trip + 2 * self._variation
        return min(limits.DHT_MAX_PATIENCE, max(limits.DHT_MIN_PATIENCE, usual))

    def open(self, address: Address, owner: _T, now: float) -> Pending[_T]:
        """Note a query that is sent now."""
        there = self._pending.setdefault(address, {})
        transaction_id = self._rng.randbytes(_TRANSACTION_ID)
        while transaction_id in there:
            transaction_id = self._rng.randbytes(_TRANSACTION_ID)
        pending = there[transaction_id] = Pending(transaction_id, address, owner, now)
        self._schedule(pending, now + self.patience)
        return pending

    def expects(self, address: Address) -> bool:
        """Whether a packet from this address may be an answer; after a few that are not, it is not believed."""
        there = self._pending.get(address)
        if there is None:
            return False
        pending = next(iter(there.values()))
        pending.unexpected += 1
        return pending.unexpected <= limits.DHT_UNEXPECTED + len(there)

    def close(self, address: Address, transaction_id: bytes, now: float) -> Pending[_T] | None:
        """The query that an answer is to, which is over with that; None if there is none."""
        pending = self._pending.get(address, {}).get(transaction_id)
        if pending is None:
            return None
        self._end(pending)
        self._measure(now - pending.asked_at)
        return pending

    def due(self, now: float) -> Iterator[Pending[_T]]:
        """The queries whose first time is over, `is_slow` then being set, and those whose second is, `is_over` too."""
        while self._times and (self._times[0][2].is_over or self._times[0][0] <= now):
            _, _, pending = heappop(self._times)
            if pending.is_over:
                continue
            if pending.is_slow:
                self._end(pending)
            else:
                pending.is_slow = True
                self._schedule(pending, pending.asked_at + limits.DHT_ANSWER_TIMEOUT)
            yield pending

    def next_due(self) -> float:
        """When `due` has something to give next; infinite if never."""
        while self._times and self._times[0][2].is_over:
            heappop(self._times)
        return self._times[0][0] if self._times else float("inf")

    def _schedule(self, pending: Pending[_T], when: float) -> None:
        self._count += 1
        heappush(self._times, (when, self._count, pending))

    def _end(self, pending: Pending[_T]) -> None:
        pending.is_over = True
        there = self._pending[pending.address]
        del there[pending.transaction_id]
        if not there:
            del self._pending[pending.address]

    def _measure(self, round_trip: float) -> None:
        if self._round_trip is None:
            self._round_trip, self._variation = round_trip, round_trip / 2
        else:
            self._variation += (abs(self._round_trip - round_trip) - self._variation) / 4
            self._round_trip += (round_trip - self._round_trip) / 8
