"""The peers of a torrent that we know of and might connect to: whom to try next, and when. Pure.

What strangers tell is bounded and worth little. There is room for a number of addresses; when there is none, a new one
comes in only in the place of one that is worth less. Worth more is, in this order: what has not been given up, what has
given us data before, what has failed less often, and what a better source named. One teller has at most a quarter of
the room, and a public host at most a few ports; so lists of invented addresses displace each other, and never a peer
that worked.

Bans. No honest peer is to be banned for what another one sent, and a host is not a peer: many share the address of
their provider's or university's router, and several clients one machine. So a ban is of what a single peer has: the
host and port that we connected to, or that an inbound peer told that it listens at; and of an inbound one its host with
its peer id, as its port changes. A liar that takes a new id, or a new port, each time comes back, at the price of a
connection for each failed piece; that is bounded, whereas a ban of its host would be a way to have others banned.
A whole host is banned only when the user says so (`ban_host`); nothing that was received makes that certain.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TypeAlias, TypeVar

from geventbt import limits
from geventbt.client.peers.backoff import backoff
from geventbt.net.addresses import Address, Scope, may_connect, normalise, scope_of

_Key = TypeVar("_Key")


class Source(IntEnum):
    """Who told of a peer; the greater, the more an untried address is worth."""

    PEX = 0
    DHT = 1
    TRACKER = 2
    INBOUND = 3
    """The peer itself, having connected to us, told where it listens (BEP 10, `p`)."""
    LOCAL = 4
    """The local network (BEP 14)."""
    USER = 5


_Teller: TypeAlias = tuple[Source, str]
_Worth: TypeAlias = tuple[bool, bool, float, int]
_WORTHLESS: _Worth = (False, False, -math.inf, 0)


class _State(Enum):
    IDLE = 0
    TRYING = 1
    CONNECTED = 2


@dataclass(slots=True, eq=False)
class _Candidate:
    address: Address
    source: Source
    teller: _Teller
    due: float
    failures: int = 0
    worked: bool = False
    state: _State = _State.IDLE
    tried_at: float = -math.inf
    worth: _Worth = field(init=False)

    def __post_init__(self) -> None:
        self.weigh()

    @property
    def given_up(self) -> bool:
        return self.failures >= limits.CONNECT_FAILURES

    def weigh(self) -> None:
        self.worth = (not self.given_up, self.worked, -self.failures, self.source)


class Candidates:
    """The known addresses of one torrent's peers. All times are seconds of one monotonic clock.

    Args:
        limit: how many are kept.
        rng: the order among those of equal worth.
        retry: seconds before the first retry of one that failed; doubled with each further failure.
    """

    def __init__(
        self,
        limit: int = limits.KNOWN_PEERS,
        *,
        rng: random.Random | None = None,
        retry: float = limits.FIRST_RETRY,
    ) -> None:
        self._limit = limit
        self._share = max(1, limit // limits.KNOWN_SHARE)
        self._rng = rng or random.Random()
        self._retry = retry
        self._known: dict[Address, _Candidate] = {}
        self._of_teller: Counter[_Teller] = Counter()
        self._of_host: Counter[str] = Counter()
        # What was refused for want of room, by the teller whose share was full, or None for the whole; until anything
        # changes, all that is worth no more is refused without a look at everyone.
        self._refused: dict[_Teller | None, _Worth] = {}
        self._banned: dict[tuple[str, int | bytes], None] = {}
        self._banned_hosts: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, address: object) -> bool:
        return normalise(address) in self._known

    # ------------------------------------------------------------------ what we are told

    def add(self, address: object, source: Source, now: float, *, told_by: str = "") -> bool:
        """Learn of a peer.

        One that was given up gets another try when it is named again, though not by peer exchange, and not soon.

        Args:
            address: (host, port), as a stranger made it. A name is no address: it is to be resolved before.
            source: what told of it.
            now: the time.
            told_by: the IP address of the tracker, node or peer that told of it; the rules of `may_connect` and the
                share of a teller go by it. The user needs none.

        Returns:
            Whether it is known now. It is not when we may not connect to it, it is banned, or there is no room for it.
        """
        known = normalise(address)
        trusted = source is Source.USER
        if known is None or not may_connect(known, None if trusted else told_by) or self.is_banned(known):
            return False
        candidate = self._known.get(known)
        if candidate is not None:
            self._name_again(candidate, source, now)
            return True
        candidate = _Candidate(known, source, (source, told_by), due=now)
        if not (trusted or self._host_has_room(known[0])) or not self._make_room(candidate):
            return False
        self._refused.clear()
        self._known[known] = candidate
        self._of_teller[candidate.teller] += 1
        self._of_host[known[0]] += 1
        return True

    def _name_again(self, candidate: _Candidate, source: Source, now: float) -> None:
        candidate.source = max(candidate.source, source)
        rested = now - candidate.tried_at >= limits.RETRY_RENAMED
        if candidate.given_up and candidate.state is _State.IDLE and source is not Source.PEX and rested:
            candidate.failures = limits.CONNECT_FAILURES - 1
            candidate.due = now
        candidate.weigh()

    def _host_has_room(self, host: str) -> bool:
        """Nearer hosts need no bound: their addresses come from the user, or from as near."""
        return scope_of(host) is not Scope.GLOBAL or self._of_host[host] < limits.PEERS_OF_HOST

    def _make_room(self, newcomer: _Candidate) -> bool:
        """Whether there is room for a new one, after its teller's, or all in all the, worst has left if it must."""
        if newcomer.source is not Source.USER and self._of_teller[newcomer.teller] >= self._share:
            return self._drop_worst(newcomer, newcomer.teller)
        return len(self._known) < self._limit or self._drop_worst(newcomer, None)

    def _drop_worst(self, newcomer: _Candidate, teller: _Teller | None) -> bool:
        if newcomer.worth <= self._refused.get(teller, _WORTHLESS):
            return False
        worst: _Candidate | None = None
        idle = _State.IDLE
        for candidate in self._known.values():
            if candidate.state is not idle or (teller is not None and candidate.teller != teller):
                continue
            if worst is None or candidate.worth < worst.worth:
                worst = candidate
        if worst is None or worst.worth >= newcomer.worth:
            self._refused[teller] = newcomer.worth
            return False
        self._drop(worst)
        return True

    def _drop(self, candidate: _Candidate) -> None:
        self._refused.clear()
        del self._known[candidate.address]
        _count_down(self._of_teller, candidate.teller)
        _count_down(self._of_host, candidate.address[0])

    # ------------------------------------------------------------------ whom to try

    def next(self, now: float) -> Address | None:
        """The address to try now, or None; it is being tried until `connected` or `failed` is called.

        Those that worked before come first, then those that failed least often, then those of better sources; in
        random order among equals.
        """
        best: list[_Candidate] = []
        idle = _State.IDLE
        for candidate in self._known.values():
            if candidate.state is not idle or candidate.due > now:
                continue
            if not best or candidate.worth > best[0].worth:
                best = [candidate]
            elif candidate.worth == best[0].worth:
                best.append(candidate)
        if not best:
            return None
        candidate = self._rng.choice(best)
        candidate.state = _State.TRYING
        candidate.tried_at = now
        return candidate.address

    def next_due(self, now: float) -> float | None:
        """When `next` will have an address if nothing happens before: `now` if it has one, None for never."""
        due = min((candidate.due for candidate in self._known.values() if candidate.state is _State.IDLE), default=None)
        return None if due is None or due == math.inf else max(due, now)

    def is_exhausted(self, failures: int) -> bool:
        """Whether nobody is connected or being tried, and there is little hope in those that are known: each has failed
        at once, or so often after it had worked."""
        return all(
            candidate.state is _State.IDLE and candidate.failures >= (failures if candidate.worked else 1)
            for candidate in self._known.values()
        )

    # ------------------------------------------------------------------ what became of it

    def connected(self, address: object) -> None:
        """Note that there is a connection to a peer, whoever opened it: it is not to be tried until `closed`."""
        candidate = self._find(address)
        if candidate is not None:
            candidate.state = _State.CONNECTED

    def failed(self, address: object, now: float) -> None:
        """Note that a try was in vain: no connection, or no handshake. Nothing happens to one that is not being
        tried."""
        candidate = self._find(address)
        if candidate is not None and candidate.state is _State.TRYING:
            self._rest(candidate, candidate.failures + 1, now)

    def closed(self, address: object, now: float, *, worked: bool) -> None:
        """Note that the last connection to a peer is over. Nothing happens to one that is not connected.

        Args:
            address: whose.
            now: the time.
            worked: whether the peer gave us anything that we could use. If not it counts as a failure, or a peer that
                has no room for us would be tried for ever.
        """
        candidate = self._find(address)
        if candidate is not None and candidate.state is _State.CONNECTED:
            candidate.worked = candidate.worked or worked
            self._rest(candidate, 0 if worked else candidate.failures + 1, now)

    def released(self, address: object, now: float, *, worked: bool = False) -> None:
        """Note that we have given up a try or a connection for reasons of our own: that says nothing of the peer, which
        may be tried again at once.

        Args:
            address: whose.
            now: the time.
            worked: whether it gave us something before.
        """
        candidate = self._find(address)
        if candidate is not None and candidate.state is not _State.IDLE:
            candidate.state = _State.IDLE
            candidate.due = now
            candidate.worked = candidate.worked or worked
            candidate.weigh()

    def retry_all(self, now: float) -> None:
        """Forget what went wrong: everyone is worth a try again, and at once, because we want more than before."""
        self._refused.clear()
        for candidate in self._known.values():
            if candidate.state is _State.IDLE:
                candidate.failures = 0
                candidate.due = now
                candidate.weigh()

    def _rest(self, candidate: _Candidate, failures: int, now: float) -> None:
        self._refused.clear()
        candidate.state = _State.IDLE
        candidate.failures = failures
        delay = backoff(max(1, failures), first=self._retry, longest=limits.MAX_RETRY, rng=self._rng)
        candidate.due = math.inf if candidate.given_up else now + delay
        candidate.tried_at = now
        candidate.weigh()

    def _find(self, address: object) -> _Candidate | None:
        known = normalise(address)
        return None if known is None else self._known.get(known)

    # ------------------------------------------------------------------ bans

    def ban(self, address: object, peer_id: bytes | None = None) -> None:
        """Never connect to an address again.

        Args:
            address: where the peer was connected to, or said that it listens; the port of an inbound connection is
                nobody's.
            peer_id: of an inbound peer: on this host it is refused as well.
        """
        known = normalise(address)
        if known is None:
            return
        for mark in _marks(known, peer_id):
            self._banned[mark] = None
        while len(self._banned) > limits.BANNED:
            del self._banned[next(iter(self._banned))]
        if known in self._known:
            self._drop(self._known[known])

    def unban(self, address: object, peer_id: bytes | None = None) -> None:
        """Take a ban back: the torrent was wrong, and not the peer (see `Blame.parked`)."""
        known = normalise(address)
        if known is not None:
            for mark in _marks(known, peer_id):
                self._banned.pop(mark, None)

    def ban_host(self, host: str) -> None:
        """Never connect to any port of a host, nor take it in: for the user's own list only, see above.

        Raises:
            ValueError: for what is no IP address.
        """
        known = normalise((host, 1))
        if known is None:
            raise ValueError(f"{host!r} is not the IP address of a host")
        self._banned_hosts.add(known[0])
        for candidate in [c for c in self._known.values() if c.address[0] == known[0]]:
            self._drop(candidate)

    def is_banned(self, address: object, peer_id: bytes | None = None) -> bool:
        """Whether a peer is banned: its address, its host, or its peer id on that host.

        Args:
            address: where it listens, or what an inbound connection comes from.
            peer_id: of an inbound peer, once it is known.
        """
        known = normalise(address)
        if known is None:
            return False
        return known[0] in self._banned_hosts or any(mark in self._banned for mark in _marks(known, peer_id))


def _count_down(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]


def _marks(address: Address, peer_id: bytes | None) -> list[tuple[str, int | bytes]]:
    host, _ = address
    return [address] if peer_id is None else [address, (host, peer_id)]
