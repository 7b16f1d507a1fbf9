"""`FoundPeers`: what a search for peers gives, as it is found."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from geventbt.discovery.dht.call import Call
from geventbt.discovery.dht.goals import FindPeers
from geventbt.net.addresses import Address


class FoundPeers(Iterator[tuple[Address, str]]):
    """The peers of a torrent as they are found: blocks for the next (address, IP address of the node that named it).

    Args:
        call: the searches.
        goals: of the searches.
        timeout: seconds for all of it; None for no limit.
    """

    def __init__(self, call: Call, goals: Sequence[FindPeers], timeout: float | None) -> None:
        self._call = call
        self._peers = _found(call, goals, timeout)

    def __next__(self) -> tuple[Address, str]:
        return next(self._peers)

    @property
    def stored(self) -> int:
        """How many nodes have stored the announce."""
        return self._call.stored

    @property
    def answers(self) -> int:
        """How many nodes have answered."""
        return self._call.answers

    def close(self) -> None:
        """Stop searching."""
        self._peers.close()
        self._call.close()


def _found(call: Call, goals: Sequence[FindPeers], timeout: float | None) -> Generator[tuple[Address, str], None, None]:
    given: set[Address] = set()
    with call:
        for _ in call.changes(timeout):
            for address, node in _take(goals):
                if address not in given:
                    given.add(address)
                    yield address, node


def _take(goals: Sequence[FindPeers]) -> Iterator[tuple[Address, str]]:
    """What the searches have found by now, each out of its queue as it is asked for."""
    for goal in goals:
        while goal.found:
            yield goal.found.popleft()
