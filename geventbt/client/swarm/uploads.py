"""What the peers of a torrent are given: who has a slot, and the blocks that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import monotonic

from geventbt import limits
from geventbt.client.swarm.block_cache import BlockReader
from geventbt.client.swarm.choker import Choker
from geventbt.client.swarm.wire_peer import Peer
from geventbt.errors import GeventBTError, StorageError
from geventbt.protocol.connection import RequestKey
from geventbt.rates.throttle import Throttle
from geventbt.wire.wire import Wire


class Uploads:
    """Serves the peers of one torrent.

    Args:
        peers: those that are connected; the same collection as the swarm's own.
        reader: reads blocks.
        choker: decides who is unchoked.
        rate: the torrent's own, and its client's.
        is_seeding: whether there is nothing that we want.
        on_error: called when the disk fails.
    """

    def __init__(
        self,
        peers: Collection[Peer],
        reader: BlockReader,
        choker: Choker,
        rate: Throttle,
        is_seeding: Callable[[], bool],
        on_error: Callable[[StorageError], None],
    ) -> None:
        self._peers = peers
        self._reader = reader
        self._choker = choker
        self._rate = rate
        self._is_seeding = is_seeding
        self._on_error = on_error
        self._rechoke_at = 0.0

    def serve(self, wire: Wire) -> None:
        """Answer the requests of a peer until none is left.

        Raises:
            GeventBTError, OSError: if it cannot be served.
        """
        wire.serve_pending(self._read_blocks)

    def _read_blocks(self, requests: Sequence[RequestKey]) -> list[memoryview | GeventBTError]:
        """Read blocks for a peer, when the rate limits allow it: then one at a time, so that none come in bursts."""
        if self._rate.limited:
            requests = requests[:1]
            self._rate.acquire(requests[0][2])
        blocks = self._reader.read(requests, peers=self._choker.unchoked_count)
        for block in blocks:
            if isinstance(block, StorageError):
                self._on_error(block)
        return blocks

    def on_interest(self, peer: Peer) -> None:
        """A peer wants something: it has it at once, when there is a free slot."""
        if self._choker.on_interest(peer.view, monotonic(), seeding=self._is_seeding()):
            peer.wire.unchoke()

    def on_uninterest(self, peer: Peer) -> None:
        """A peer wants nothing any more: its slot is another's."""
        if self._choker.release(peer):
            peer.wire.choke()
            self._fill_slots()

    def on_closed(self, peer: Peer) -> None:
        """A peer has left: its slot is another's."""
        if self._choker.release(peer):
            self._fill_slots()

    def tick(self, now: float) -> None:
        """Decide anew who is unchoked, every ten seconds."""
        if now >= self._rechoke_at:
            self._rechoke_at = now + limits.CHOKE_INTERVAL
            self._rechoke(now)

    def _fill_slots(self) -> None:
        waiting = [peer.view for peer in self._peers if peer.wire.peer_interested and peer.wire.am_choking]
        for chosen in self._choker.fill(waiting, monotonic(), seeding=self._is_seeding()):
            assert isinstance(chosen, Peer)
            if not chosen.wire.closed:
                chosen.wire.unchoke()

    def _rechoke(self, now: float) -> None:
        peers = [peer for peer in self._peers if not peer.wire.closed]
        chosen = self._choker.rechoke([peer.view for peer in peers], now, seeding=self._is_seeding())
        for peer in peers:
            if peer in chosen:
                peer.wire.unchoke()
            else:
                peer.wire.choke()
