"""Upload slots of one torrent, and the blocks that unchoked peers request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic
from typing import Protocol

from geventbt import limits
from geventbt.client.swarm.block_cache import BlockCache
from geventbt.client.swarm.choker import Choker, PeerView
from geventbt.errors import GeventBTError, StorageError
from geventbt.protocol.connection import RequestKey
from geventbt.rates.throttle import Throttle


class UploadPeer(Protocol):
    """A peer that may be given blocks."""

    def __hash__(self) -> int:
        """It is a key."""

    @property
    def closed(self) -> bool:
        """Whether it has left."""

    @property
    def interested(self) -> bool:
        """Whether it wants anything of us."""

    @property
    def choked(self) -> bool:
        """Whether we choke it."""

    def view(self) -> PeerView[UploadPeer]:
        """What the choker needs to know of it."""

    def choke(self) -> None:
        """Take its slot."""

    def unchoke(self) -> None:
        """Give it a slot."""


class UploadsOwner(Protocol):
    """The swarm, as its uploads see it."""

    @property
    def upload_peers(self) -> Collection[UploadPeer]:
        """The peers that are connected."""

    @property
    def seeding(self) -> bool:
        """Whether nothing is missing that we want."""

    def on_read_error(self, error: StorageError) -> None:
        """A block could not be read."""


class Uploads:
    """Gives the peers of one torrent slots and blocks.

    Args:
        owner: has the peers.
        cache: reads blocks.
        choker: decides which peers are unchoked.
        rate: the torrent's own, and its client's.
        now: the monotonic clock, in seconds.
    """

    def __init__(
        self,
        owner: UploadsOwner,
        cache: BlockCache,
        choker: Choker[UploadPeer],
        rate: Throttle,
        *,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._now = now
        self._owner = owner
        self._cache = cache
        self._choker = choker
        self._rate = rate
        self._rechoke_at = 0.0

    def read_blocks(self, requests: Sequence[RequestKey]) -> list[memoryview | GeventBTError]:
        """Read blocks for a peer, when the rate limits allow it: then one at a time, so that none come in bursts.

        Blocks. For `Wire.serve_pending`.
        """
        if self._rate.limited:
            requests = requests[:1]
            self._rate.acquire(requests[0][2])
        blocks = self._cache.read(requests, peers=self._choker.unchoked_count)
        for block in blocks:
            if isinstance(block, StorageError):
                self._owner.on_read_error(block)
        return blocks

    def on_interest(self, peer: UploadPeer) -> None:
        """A peer is interested: it is unchoked at once, when there is a free slot."""
        if self._choker.on_interest(peer.view(), self._now(), seeding=self._owner.seeding):
            peer.unchoke()

    def on_uninterest(self, peer: UploadPeer) -> None:
        """A peer is not interested any more: its slot is another's."""
        if self._choker.release(peer):
            peer.choke()
            self._fill_slots()

    def on_closed(self, peer: UploadPeer) -> None:
        """A peer has left: its slot is another's."""
        if self._choker.release(peer):
            self._fill_slots()

    def tick(self, now: float) -> None:
        """Decide anew which peers are unchoked, every ten seconds."""
        if now >= self._rechoke_at:
            self._rechoke_at = now + limits.CHOKE_INTERVAL
            self._rechoke(now)

    def _fill_slots(self) -> None:
        waiting = [peer.view() for peer in self._owner.upload_peers if peer.interested and peer.choked]
        for chosen in self._choker.fill(waiting, self._now(), seeding=self._owner.seeding):
            if not chosen.closed:
                chosen.unchoke()

    def _rechoke(self, now: float) -> None:
        peers = [peer for peer in self._owner.upload_peers if not peer.closed]
        chosen = self._choker.rechoke([peer.view() for peer in peers], now, seeding=self._owner.seeding)
        for peer in peers:
            if peer in chosen:
                peer.unchoke()
            else:
                peer.choke()
