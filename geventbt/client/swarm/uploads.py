"""Upload slots of one torrent, and the blocks that unchoked peers request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import takewhile
from time import monotonic
from typing import Protocol

import gevent
from bitarray import bitarray

from geventbt import limits
from geventbt.client.swarm.choker import Choker, PeerView
from geventbt.client.swarm.dealer import Dealer, DealtPeer
from geventbt.client.swarm.upload_slots import UploadSlots
from geventbt.errors import GeventBTError, StorageError
from geventbt.net.tcp_path import TcpPath
from geventbt.protocol.connection import RequestKey
from geventbt.rates.free_path import NO_QUEUE, FreePath
from geventbt.rates.throttle import Throttle
from geventbt.rates.uplink_gate import UplinkGate

_SAMPLE = 1.0
"""Seconds between two looks at the uplink."""
_LOOK = 0.3
"""Seconds between two looks whether the uplink has room for more slots, while peers wait for one."""
_EARLY_ROUND = 2.0
"""Seconds from one round to one that comes early, because nothing is left to send to those that have the slots."""
_OTHERS = 40
"""Peers without a slot of which it is looked whether they meet the queue of our uplink as well."""


class UploadPeer(DealtPeer, Protocol):
    """A peer that may be given blocks."""

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent to it."""

    @property
    def queue_time(self) -> float | None:
        """Seconds that what is sent to it spends in queues of the network, where that is known."""

    @property
    def tcp_path(self) -> TcpPath | None:
        """What the system knows of the way of what is sent to it, where it is TCP and the system tells."""

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
    def have(self) -> bitarray:
        """The pieces that we have."""

    @property
    def seeding(self) -> bool:
        """Whether nothing is missing that we want."""

    @property
    def uploaded(self) -> int:
        """Bytes of blocks that were sent, in all."""

    def on_read_error(self, error: StorageError) -> None:
        """A block could not be read."""


class BlockReader(Protocol):
    """Reads blocks; see `BlockCache`."""

    def read(self, requests: Sequence[RequestKey], peers: int = 1) -> list[memoryview | GeventBTError]:
        """The blocks of the first requests, or the errors."""


def _tcp_paths(peers: Iterable[UploadPeer]) -> dict[UploadPeer, TcpPath]:
    """The paths of those peers of which the system tells one."""
    return {peer: path for peer in peers if (path := peer.tcp_path) is not None}


def _run_soon(action: Callable[[], None]) -> None:
    gevent.get_hub().loop.run_callback(action)


class Uploads:
    """Gives the peers of one torrent slots and blocks.

    Args:
        owner: has the peers.
        cache: reads blocks.
        choker: decides which peers are unchoked.
        slots: decides how many.
        rate: the torrent's own, and its client's.
        dealer: decides what a seed shows to leechers.
        gate: of the uplink, which the torrents of a client share.
        now: the monotonic clock, in seconds.
        soon: calls a function after what is read has been sent.

    Attributes:
        dealer: see above.
    """

    def __init__(
        self,
        owner: UploadsOwner,
        cache: BlockReader,
        choker: Choker[UploadPeer],
        slots: UploadSlots,
        rate: Throttle,
        dealer: Dealer[UploadPeer],
        gate: UplinkGate,
        *,
        now: Callable[[], float] = monotonic,
        soon: Callable[[Callable[[], None]], None] = _run_soon,
    ) -> None:
        self._now = now
        self._soon = soon
        self._owner = owner
        self._cache = cache
        self._choker = choker
        self._rate = rate
        self._slots = slots
        self._rechoke_at = self._rechoked_at = 0.0
        self._sample_at = self._look_at = 0.0
        self._was_dealing = False
        self._busy: set[UploadPeer] = set()
        self._has_waiting = False
        self._free_path = FreePath()
        self._gate = gate
        self.dealer = dealer
        self._set_slots()

    # ------------------------------------------------------------------ blocks

    def read_blocks(self, peer: UploadPeer, requests: Sequence[RequestKey]) -> list[memoryview | GeventBTError]:
        """Read blocks for a peer, when the rate limits and the uplink allow it: then one at a time, so that none come
        in bursts.

        Blocks. For `Wire.serve_pending`.
        """
        if self._rate.limited:
            requests = requests[:1]
            self._rate.acquire(requests[0][2])
        elif self._gate.enter():
            requests = requests[:1]
        piece, is_dealt = requests[0][0], self.dealer.is_dealing
        if is_dealt:
            requests = list(takewhile(lambda key: key[0] == piece, requests))
        blocks = self._cache.read(requests, peers=self._choker.unchoked_count)
        for block in blocks:
            if isinstance(block, StorageError):
                self._owner.on_read_error(block)
        if is_dealt:
            size = sum(len(block) for block in blocks if not isinstance(block, GeventBTError))
            if self.dealer.on_sent(peer, piece, size, self._now()):
                self._soon(lambda: self._end_turn(peer))
        return blocks

    @property
    def paths(self) -> dict[object, TcpPath]:
        """Those of the peers that have slots, and of some others; see `Sender`."""
        if not self._choker.unchoked_count:
            return {}
        peers = sorted(self._owner.upload_peers, key=lambda peer: peer.choked)
        some = peers[: self._choker.unchoked_count + _OTHERS]
        return {peer: path._replace(under_way=path.under_way + peer.queued) for peer, path in _tcp_paths(some).items()}

    # ------------------------------------------------------------------ peers

    def on_interest(self, peer: UploadPeer) -> None:
        """A peer is interested: it is unchoked at once, when there is a free slot."""
        # Dealing may just have begun.
        self._set_slots()
        if self.dealer.may_have_turn(peer) and self._choker.on_interest(
            peer.view(), self._now(), seeding=self._owner.seeding
        ):
            self._unchoke(peer)
        else:
            self._has_waiting = True

    def on_uninterest(self, peer: UploadPeer) -> None:
        """A peer is not interested any more: its slot is another's."""
        if self._choker.release(peer):
            self._choke(peer)
            self._fill_slots()

    def on_closed(self, peer: UploadPeer) -> None:
        """A peer has left: its slot is another's."""
        self.dealer.on_left(peer)
        self._busy.discard(peer)
        if self._choker.release(peer):
            self._fill_slots()

    # ------------------------------------------------------------------ slots

    @property
    def has_work(self) -> bool:
        """Whether `tick` is to be called ten times a second: until it is seen that nothing is dealt any more, and while
        peers wait for slots that there may be room for."""
        return self.dealer.has_work or self._was_dealing or self._may_open_slots

    @property
    def _may_open_slots(self) -> bool:
        if not self._has_waiting or self._rate.limited or self.dealer.is_dealing:
            return False
        return self._slots.can_grow and self._owner.have.any()

    def tick(self, now: float) -> None:
        """Deal; each second, decide how many slots there are, and every five which peers are unchoked.

        To be called once a second, or ten times while there is work.
        """
        self.dealer.tick(now)
        has_ended = self._was_dealing and not self.dealer.is_dealing
        self._was_dealing = self.dealer.is_dealing
        if now >= self._look_at and self._may_open_slots:
            self._look_at = now + _LOOK
            self._look_for_room()
        if now < self._sample_at and not has_ended:
            return
        self._sample_at = now + _SAMPLE
        peers = self._owner.upload_peers
        self.dealer.look(peers, now)
        if self.dealer.has_dealt:
            self._leave_alone(peers)
        self._has_waiting = any(peer.interested and peer.choked for peer in peers)
        before, self._busy = self._busy, {peer for peer in peers if not peer.choked and peer.is_busy}
        is_busy = bool(self._busy)
        self._slots.sample(now, self._owner.uploaded - sum(peer.queued for peer in peers), is_busy=is_busy)
        if now >= self._rechoke_at:
            self._rechoke_at = now + limits.CHOKE_INTERVAL
            self._slots.on_round(sum(peer.interested for peer in peers))
            self._set_slots()
            self._rechoke(now)
        elif self._has_waiting:
            # Others are interested before they know what we have.
            if not is_busy and self._owner.have.any():
                self._on_idle(now)
            # The delays of those that were not busy before are old.
            elif any(self._meets_no_queue(peer) for peer in self._busy & before):
                self._slots.on_free_path()
            self._set_slots()
            self._fill_slots()

    def _leave_alone(self, peers: Collection[UploadPeer]) -> None:
        """Take the slots of those that are done soon without us."""
        for peer in peers:
            if not peer.choked and not self.dealer.may_have_turn(peer) and self._choker.release(peer):
                self._choke(peer)

    def _on_idle(self, now: float) -> None:
        """Nothing is left to send, while a choked peer is interested: open one more slot, or else give them anew."""
        if not self._slots.on_idle() and now >= self._rechoked_at + _EARLY_ROUND:
            self._rechoke(now)

    def _look_for_room(self) -> None:
        """Open slots where the uplink is not full."""
        if self._free_path.look(_tcp_paths(peer for peer in self._owner.upload_peers if not peer.choked)):
            self._slots.on_free_path()
            self._set_slots()
            self._fill_slots()

    def _meets_no_queue(self, peer: UploadPeer) -> bool:
        """Whether what is sent to a peer by uTP is sent on at once, so that our uplink is not full."""
        seconds = peer.queue_time if peer.tcp_path is None else None
        return seconds is not None and seconds < NO_QUEUE

    def _set_slots(self) -> None:
        # What is limited on purpose is to be shared equally.
        slots = self._slots.most if self._rate.limited else self._slots.count
        if self.dealer.is_dealing:
            slots = limits.DEALT_SLOTS if self._slots.most is None else min(limits.DEALT_SLOTS, self._slots.most)
        self._choker.slots = slots

    def _fill_slots(self) -> None:
        waiting = [
            peer.view()
            for peer in self._owner.upload_peers
            if peer.interested and peer.choked and self.dealer.may_have_turn(peer)
        ]
        for chosen in self._choker.fill(waiting, self._now(), seeding=self._owner.seeding):
            if not chosen.closed:
                self._unchoke(chosen)

    def _rechoke(self, now: float) -> None:
        self._rechoked_at = now
        peers = [peer for peer in self._owner.upload_peers if not peer.closed]
        views = [peer.view() for peer in peers if self.dealer.may_have_turn(peer)]
        chosen = self._choker.rechoke(views, now, seeding=self._owner.seeding)
        for peer in peers:
            if peer in chosen:
                self._unchoke(peer)
            else:
                self._choke(peer)

    def _end_turn(self, peer: UploadPeer) -> None:
        """Give the slot of a peer that was dealt a whole piece to another that waits, if it is its turn."""
        if not self.dealer.is_dealing or peer.closed or peer.choked:
            return
        waiting = [
            other for other in self._owner.upload_peers if other.interested and other.choked and not other.closed
        ]
        heir = self.dealer.heir(peer, waiting)
        if heir is not peer and self._choker.release(peer):
            self._choke(peer)
            if heir is not None:
                for chosen in self._choker.fill([heir.view()], self._now(), seeding=self._owner.seeding):
                    self._unchoke(chosen)

    def _choke(self, peer: UploadPeer) -> None:
        peer.choke()
        self.dealer.on_turn(peer, False)

    def _unchoke(self, peer: UploadPeer) -> None:
        # First what it may ask for: its first request then is for the rarest of it.
        self.dealer.on_turn(peer, True)
        peer.unchoke()
