"""The addresses of a torrent's peers: which to try next, and when. Pure.

Addresses from untrusted parties are bounded, and ranked low. There is room for a number of addresses; when it is full,
a new one comes in only in the place of one of a lower rank. Ranks go, in this order, by: not given up, has given us
data before, has failed less often, named by a better source. One reporter has at most a quarter of the room, and a
public host at most a few ports; so lists of invented addresses displace each other, and never a peer that worked.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Protocol, TypeAlias, TypeVar

from geventbt import limits
from geventbt.client.peers.backoff import backoff
from geventbt.client.peers.bans import Bans
from geventbt.net.addresses import Address, Scope, may_connect, normalise, scope_of
from geventbt.net.ip_filter import NO_FILTER, HostFilter

_Key = TypeVar("_Key")


class Source(IntEnum):
    """What named a peer; the greater, the higher the rank of an untried address."""

    HOLEPUNCH = 0
    """A peer that is connected to both, and has told both to connect to each other (BEP 55)."""
    PEX = 1
    DHT = 2
    TRACKER = 3
    INBOUND = 4
    """The peer itself, having connected to us: where it listens (BEP 10, `p`)."""
    LSD = 5
    """The local network (BEP 14)."""
    USER = 6


_Reporter: TypeAlias = tuple[Source, str]
_Rank: TypeAlias = tuple[bool, bool, float, int]
_LOWEST_RANK: _Rank = (False, False, -math.inf, 0)


class News(Protocol):
    """Wakes a greenlet: an `Event`."""

    def set(self) -> None:
        """There is news."""


class _State(Enum):
    IDLE = 0
    TRYING = 1
    CONNECTED = 2


@dataclass(slots=True, eq=False)
class _KnownPeer:
    address: Address
    source: Source
    reporter: _Reporter
    due: float
    failures: int = 0
    worked: bool = False
    is_seed: bool = False
    state: _State = _State.IDLE
    tried_at: float = -math.inf
    rank: _Rank = field(init=False)
    named_by: int = 0
    """A bit for each `Source` that named it."""
    info_hashes: tuple[bytes, ...] = ()
    """Those by which it is known to know the torrent, where its source says that."""

    def __post_init__(self) -> None:
        self.note_source(self.source)
        self.update_rank()

    def note_source(self, source: Source) -> None:
        self.source = max(self.source, source)
        self.named_by |= 1 << source

    @property
    def given_up(self) -> bool:
        return self.failures >= limits.CONNECT_FAILURES

    def try_at(self, now: float) -> None:
        self.state = _State.TRYING
        self.tried_at = now

    def update_rank(self) -> None:
        self.rank = (not self.given_up, self.worked, -self.failures, self.source)


class KnownPeers:
    """The known addresses of one torrent's peers. All times are seconds of one monotonic clock.

    Args:
        limit: the number of addresses that are kept.
        rng: the order among those of equal rank.
        retry: seconds before the first retry of one that failed; doubled with each further failure.
        hosts: those that it blocks are not added.
        news: is set when there may be less hope than before: a peer has failed, has left, or is not to be tried.

    Attributes:
        bans: the peers that are never connected to.
        wants_seeds: whether peers that have everything are candidates: something is missing here.
    """

    def __init__(
        self,
        limit: int = limits.KNOWN_PEERS,
        *,
        rng: random.Random | None = None,
        retry: float = limits.FIRST_RETRY,
        hosts: HostFilter = NO_FILTER,
        news: News | None = None,
    ) -> None:
        self._limit = limit
        self._share = max(1, limit // limits.KNOWN_SHARE)
        self._rng = rng or random.Random()
        self._retry = retry
        self._hosts = hosts
        self._news = news
        self._known: dict[Address, _KnownPeer] = {}
        self._by_reporter: Counter[_Reporter] = Counter()
        self._by_host: Counter[str] = Counter()
        # What was refused for want of room, by the reporter whose share was full, or None for the whole; until anything
        # changes, all that ranks no higher is refused without a look at every address.
        self._refused: dict[_Reporter | None, _Rank] = {}
        self.bans = Bans()
        self.wants_seeds = True

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, address: object) -> bool:
        return normalise(address) in self._known

    def sources_of(self, address: object) -> tuple[Source, ...]:
        """What has named a peer; empty if it is not known."""
        peer = self._find(address)
        return () if peer is None else tuple(source for source in Source if peer.named_by & 1 << source)

    def info_hashes_of(self, address: object) -> tuple[bytes, ...]:
        """The info hashes under which a peer was found; empty if that is not known."""
        peer = self._find(address)
        return () if peer is None else peer.info_hashes

    # ------------------------------------------------------------------ adding

    def add(
        self,
        address: object,
        source: Source,
        now: float,
        *,
        reported_by: str = "",
        info_hash: bytes | None = None,
        is_seed: bool = False,
    ) -> bool:
        """Add the address of a peer, if it is acceptable.

        One that was given up gets another try when it is named again, though not by another peer, and not soon.

        Args:
            address: (host, port), untrusted. A name is not an address: it must be resolved before.
            source: what named it.
            now: the time.
            reported_by: the IP address of the tracker, node or peer that named it; the rules of `may_connect` and the
                share of a reporter go by it. Not needed for the user.
            info_hash: the one under which it was found, where a torrent has two (BEP 52).
            is_seed: whether it is said to have everything; of one that is known already that changes nothing.

        Returns:
            Whether it is known now. It is not when we may not connect to it, it is banned or blocked, or there is no
            room for it.
        """
        known = normalise(address)
        trusted = source is Source.USER
        if known is None or not may_connect(known, None if trusted else reported_by) or self.bans.has(known):
            return False
        if self._hosts.blocks(known[0]):
            return False
        peer = self._known.get(known)
        if peer is None and not trusted and scope_of(known[0]) is Scope.GLOBAL and self.bans.has_host(known[0]):
            return False
        if peer is not None:
            self._renew(peer, source, now)
            self._note_info_hash(peer, info_hash)
            return True
        peer = _KnownPeer(known, source, (source, reported_by), due=now, is_seed=is_seed)
        if not (trusted or self._host_has_room(known[0])) or not self._make_room(peer):
            return False
        self._refused.clear()
        self._known[known] = peer
        self._note_info_hash(peer, info_hash)
        self._by_reporter[peer.reporter] += 1
        self._by_host[known[0]] += 1
        return True

    def _note_info_hash(self, peer: _KnownPeer, info_hash: bytes | None) -> None:
        if info_hash is not None and info_hash not in peer.info_hashes:
            peer.info_hashes += (info_hash,)

    def _renew(self, peer: _KnownPeer, source: Source, now: float) -> None:
        peer.note_source(source)
        rested = now - peer.tried_at >= limits.RETRY_RENAMED
        if peer.given_up and peer.state is _State.IDLE and source > Source.PEX and rested:
            peer.failures = limits.CONNECT_FAILURES - 1
            peer.due = now
        peer.update_rank()

    def _host_has_room(self, host: str) -> bool:
        """Nearer hosts need no bound: their addresses come from the user, or from as near."""
        return scope_of(host) is not Scope.GLOBAL or self._by_host[host] < limits.PEERS_OF_HOST

    def _make_room(self, newcomer: _KnownPeer) -> bool:
        """Whether there is room for a new one, after its reporter's, or all in all the, worst has left if it must."""
        if newcomer.source is not Source.USER and self._by_reporter[newcomer.reporter] >= self._share:
            return self._drop_worst(newcomer, newcomer.reporter)
        return len(self._known) < self._limit or self._drop_worst(newcomer, None)

    def _drop_worst(self, newcomer: _KnownPeer, reporter: _Reporter | None) -> bool:
        if newcomer.rank <= self._refused.get(reporter, _LOWEST_RANK):
            return False
        worst: _KnownPeer | None = None
        idle = _State.IDLE
        for peer in self._known.values():
            if peer.state is not idle or (reporter is not None and peer.reporter != reporter):
                continue
            if worst is None or peer.rank < worst.rank:
                worst = peer
        if worst is None or worst.rank >= newcomer.rank:
            self._refused[reporter] = newcomer.rank
            return False
        self._drop(worst)
        return True

    def _drop(self, peer: _KnownPeer) -> None:
        self._refused.clear()
        del self._known[peer.address]
        _count_down(self._by_reporter, peer.reporter)
        _count_down(self._by_host, peer.address[0])

    # ------------------------------------------------------------------ trying

    def next(self, now: float) -> Address | None:
        """The address to try now, or None; it is being tried until `connected` or `failed` is called.

        Those that worked before come first, then those that failed least often, then those of better sources; in
        random order among equals.
        """
        best: list[_KnownPeer] = []
        idle = _State.IDLE
        for peer in self._known.values():
            if peer.state is not idle or peer.due > now or (peer.is_seed and not self.wants_seeds):
                continue
            if not best or peer.rank > best[0].rank:
                best = [peer]
            elif peer.rank == best[0].rank:
                best.append(peer)
        if not best:
            return None
        peer = self._rng.choice(best)
        peer.try_at(now)
        return peer.address

    def try_now(self, address: object, now: float) -> bool:
        """Note that an address is being tried, due or not. Returns whether it is: not if it is unknown, of no use at
        present, connected, or being tried already."""
        peer = self._find(address)
        if peer is None or peer.state is not _State.IDLE or (peer.is_seed and not self.wants_seeds):
            return False
        peer.try_at(now)
        return True

    def next_due(self, now: float) -> float | None:
        """When `next` will have an address if nothing happens before: `now` if it has one, None for never."""
        candidates = (peer for peer in self._known.values() if peer.state is _State.IDLE)
        due = min((peer.due for peer in candidates if self.wants_seeds or not peer.is_seed), default=None)
        return None if due is None or due == math.inf else max(due, now)

    def is_exhausted(self, failures: int) -> bool:
        """Whether no peer is connected or being tried, and there is little hope in those that are known: each has
        failed at once, or `failures` times after it had worked."""
        return all(
            peer.state is _State.IDLE and peer.failures >= (failures if peer.worked else 1)
            for peer in self._known.values()
        )

    # ------------------------------------------------------------------ outcomes

    def connected(self, address: object) -> None:
        """Note that a peer is connected, opened by either side: it is not tried until `closed`."""
        peer = self._find(address)
        if peer is not None:
            peer.state = _State.CONNECTED

    def failed(self, address: object, now: float) -> None:
        """Note that a try was in vain: no connection, or no handshake. Nothing happens to one that is not being
        tried."""
        peer = self._find(address)
        if peer is not None and peer.state is _State.TRYING:
            self._back_off(peer, peer.failures + 1, now)

    def closed(self, address: object, now: float, *, worked: bool, is_seed: bool = False) -> None:
        """Note that the last connection to a peer is over. Nothing happens to one that is not connected.

        Args:
            address: whose.
            now: the time.
            worked: whether the peer gave us anything that we could use. If not it counts as a failure, or a peer that
                has no room for us would be tried for ever.
            is_seed: whether it has everything.
        """
        peer = self._find(address)
        if peer is not None and peer.state is _State.CONNECTED:
            peer.is_seed = peer.is_seed or is_seed
            peer.worked = peer.worked or worked
            self._back_off(peer, 0 if worked else peer.failures + 1, now)

    def released(self, address: object, now: float, *, worked: bool = False) -> None:
        """Note that we have given up a try or a connection for reasons of our own: that says nothing of the peer, which
        may be tried again at once.

        Args:
            address: whose.
            now: the time.
            worked: whether it gave us something before.
        """
        peer = self._find(address)
        if peer is not None and peer.state is not _State.IDLE:
            peer.state = _State.IDLE
            peer.due = now
            peer.worked = peer.worked or worked
            peer.update_rank()

    def retry_all(self, now: float) -> None:
        """Forget failures: every address may be tried again at once, because we want more than before."""
        self._refused.clear()
        for peer in self._known.values():
            if peer.state is _State.IDLE:
                peer.failures = 0
                peer.due = now
                peer.update_rank()

    def _back_off(self, peer: _KnownPeer, failures: int, now: float) -> None:
        self._refused.clear()
        peer.state = _State.IDLE
        peer.failures = failures
        delay = backoff(max(1, failures), first=self._retry, maximum=limits.MAX_RETRY, rng=self._rng)
        peer.due = math.inf if peer.given_up else now + delay
        peer.tried_at = now
        peer.update_rank()
        self._tell()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()

    def _find(self, address: object) -> _KnownPeer | None:
        known = normalise(address)
        return None if known is None else self._known.get(known)

    # ------------------------------------------------------------------ bans

    def ban(self, address: object, peer_id: bytes | None = None) -> None:
        """Never connect to an address again; see `Bans.add`."""
        self.bans.add(address, peer_id)
        self._forget(address)

    def exclude(self, address: object) -> None:
        """Never connect to an address again, for no fault of a peer's; see `Bans.exclude`."""
        self.bans.exclude(address)
        self._forget(address)

    def _forget(self, address: object) -> None:
        peer = self._find(address)
        if peer is not None:
            self._drop(peer)
            self._tell()


def _count_down(counter: Counter[_Key], key: _Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
