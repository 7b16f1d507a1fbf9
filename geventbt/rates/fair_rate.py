"""A rate in bytes a second that is shared fairly, among members and among groups of them. Pure.

A client has a rate and so has each of its torrents; the members of a torrent are its sources of blocks, or the
greenlets that send to its peers. Whatever is available is for the torrent whose turn it is, and there for the member
whose turn it is (`FairQueue`): torrents that want more than there is get equal shares, whatever the number of their
peers, or shares in proportion to their weights, and within a torrent the peers do. A torrent that has used up its own
rate is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from geventbt import limits
from geventbt.rates.fair_queue import FairQueue
from geventbt.rates.token_bucket import RateLimit


class Member(Protocol):
    """One that takes bytes of a rate."""

    def __hash__(self) -> int:
        """It is a key."""

    def fill(self) -> None:
        """It is its turn: take what it needs. It may also find that it needs nothing any more."""


class FairRate:
    """A rate that members share, and that may itself be a part of another one.

    Times are seconds of one monotonic clock.

    Args:
        rate: bytes a second, 0 for none at all, or None for no limit.
        now: the time; only two blocks are available then, as a burst would not be within the rate.
        parent: the rate that the same bytes are taken from as well, or None.

    Attributes:
        weight: its share of the rate that it is a part of, in proportion to those of the other parts; above 0.

    Raises:
        ValueError: for a rate below 0.
    """

    def __init__(self, rate: int | None, now: float, parent: FairRate | None = None) -> None:
        self.weight = 1.0
        self._limit = RateLimit(rate, now)
        self._limit.take(max(0, self._limit.burst - 2 * limits.BLOCK), now)
        self._parent = parent
        self._queue: FairQueue[Member | FairRate] = FairQueue()
        self._granted = 0
        self._served: Member | None = None

    @property
    def rate(self) -> int | None:
        """Bytes a second, or None for no limit."""
        return self._limit.rate

    def set_rate(self, rate: int | None, now: float) -> None:
        """Change the rate.

        Raises:
            ValueError: for a rate below 0.
        """
        self._limit.set_rate(rate, now)

    def set_parent(self, parent: FairRate | None) -> None:
        """Be a part of another rate, or of none, from now on. Those that wait are filled, and ask the new one."""
        waiting = list(self._waiting())
        for group, member in waiting:
            group.leave(member)
        self._parent = parent
        for _, member in waiting:
            member.fill()

    def _waiting(self) -> Iterator[tuple[FairRate, Member]]:
        """The waiting members, each with what it is a member of."""
        for each in self._queue:
            if isinstance(each, FairRate):
                yield from each._waiting()
            else:
                yield self, each

    @property
    def limited(self) -> bool:
        """Whether there is a limit, of this rate or of one that it is a part of."""
        return self._limit.rate is not None or (self._parent is not None and self._parent.limited)

    @property
    def waiting(self) -> int:
        """The number of waiting members."""
        return sum(each.waiting if isinstance(each, FairRate) else 1 for each in self._queue)

    def take(self, member: Member, units: int, unit: int, now: float) -> int:
        """Take up to `units` units of `unit` bytes, if it is the member's turn; else it waits from now on.

        Whole units only: a member that takes a part of a block, and returns it, again and again never gets a block.

        Returns:
            The number of units taken: no more than the member's share of what is available while others wait. If they
            are fewer than `units`, the member waits for more.
        """
        if units <= 0 or not self.limited:
            return units
        for node, key in self._path(member):
            node._queue.enter(key, unit)
        top = self._top
        if top._served is not member and top._next(now) != (self, member):
            return 0
        taken = min(units, self._share(member, unit, now))
        self._charge(member, taken * unit)
        for node, _ in self._path(member):
            node._limit.take(taken * unit, now)
        if taken == units:
            self.leave(member)
        return taken

    def give_back(self, member: Member, count: int) -> None:
        """Return bytes that were taken and not used."""
        self._charge(member, -count)
        for node, _ in self._path(member):
            node._limit.give_back(count)

    def leave(self, member: Member) -> None:
        """Have a member wait no more."""
        for node, key in self._path(member):
            if not (isinstance(key, FairRate) and key._queue):
                node._queue.leave(key)

    def turns(self, now: float) -> Iterator[Member]:
        """The members whose turn it is, one after the other, as long as enough is available: fill each.

        They may be members of other parts of what this is a part of. One that then takes nothing waits no more.
        """
        top = self._top
        while (found := top._next(now)) is not None:
            group, top._served = found
            granted = top._granted
            yield top._served
            if top._granted == granted:
                group.leave(top._served)
            top._served = None

    def wait(self, now: float) -> float:
        """Seconds until there is enough for the next member; infinite if none waits."""
        return self._top._wait(now)

    def _wait(self, now: float) -> float:
        first = float("inf")
        for key in self._queue:
            own = self._limit.wait_for(self._queue.amount(key), now)
            first = min(first, max(own, key._wait(now)) if isinstance(key, FairRate) else own)
        return first

    def _next(self, now: float) -> tuple[FairRate, Member] | None:
        """The member whose turn it is, with what it is a member of; None if none waits, or not enough is available."""
        for key in self._queue:
            found = key._next(now) if isinstance(key, FairRate) else (self, key)
            if found is not None:
                group, member = found
                return found if self._limit.affords(group._queue.amount(member), now) else None
        return None

    @property
    def _top(self) -> FairRate:
        """The outermost rate of which this is a part and that has a limit."""
        outer = self._parent._top if self._parent is not None and self._parent.limited else None
        return self if outer is None else outer

    def _path(self, member: Member) -> Iterator[tuple[FairRate, Member | FairRate]]:
        """This rate and those that it is a part of, each with what waits there: the member, or the part it is in."""
        node: FairRate | None = self
        key: Member | FairRate = member
        while node is not None:
            yield node, key
            key, node = node, node._parent

    def _share(self, member: Member, unit: int, now: float) -> int:
        """The units for a member whose turn it is: what is available, divided by those that wait as well."""
        available = [node._limit.available(now) for node, _ in self._path(member)]
        share = min(count for count in available if count is not None) // unit
        for node, _ in self._path(member):
            share = -(-share // max(1, len(node._queue)))
        return share

    def _charge(self, member: Member, count: int) -> None:
        for node, key in self._path(member):
            # A clock that runs more slowly has its turn more often.
            node._queue.charge(key, count / key.weight if isinstance(key, FairRate) else count)
            node._granted += count
