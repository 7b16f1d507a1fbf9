"""Connected peers of one torrent: what is announced to them, and what becomes of their blocks.

The parts of a swarm: `Admission` says which connections become peers, and `Dialer` connects to them, `PeerTable` holds
them, `RequestScheduler` says when they are asked, `BlockPicker` for what; `Verifier` makes pieces of blocks,
`SenderVerdicts` deals with those that send wrong ones, `HaveMessages` announces what is there, `Uploads` serves, and
`SwarmProspects` says what may still come of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from bitarray import bitarray

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.admission import Admission
from geventbt.client.swarm.block_cache import BlockCache
from geventbt.client.swarm.choker import Choker
from geventbt.client.swarm.dealer import Dealer
from geventbt.client.swarm.endgame import Endgame
from geventbt.client.swarm.have_messages import HaveMessages
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.client.swarm.prospects import SwarmProspects
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.scheduler import RequestScheduler
from geventbt.client.swarm.sender_verdicts import SenderVerdicts
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.upload_slots import UploadSlots
from geventbt.client.swarm.uploads import UploadPeer, Uploads
from geventbt.client.swarm.urgent_requests import UrgentRequests
from geventbt.client.swarm.verifier import Verifier
from geventbt.client.swarm.web_seeds import WebSeeds
from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.routine import Routine
from geventbt.errors import StorageError
from geventbt.net.addresses import Address
from geventbt.net.ip_filter import HostFilter
from geventbt.rates.fair_rate import FairRate
from geventbt.rates.throttle import Throttle
from geventbt.storage import Storage
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.client.swarm.hash_exchange import HashExchange

_TICK = 1.0
"""Seconds between two rounds of what is due; there is none while there is no peer that anything could be due for."""
_SHORT_TICK = 0.05
"""Likewise while a rate limit or a reader demands more."""
_DEALING_TICK = 0.1


class SwarmOwner(Protocol):
    """Receives the events of a swarm."""

    def on_piece_verified(self, piece: int) -> None:
        """A piece is on disk."""

    def on_piece_failed(self, piece: int) -> None:
        """The hash of a piece was wrong."""

    def on_storage_error(self, error: StorageError) -> None:
        """A piece could not be written."""

    def on_read_error(self, error: StorageError) -> None:
        """A block could not be read for a peer."""

    def on_peer_added(self, wire: Wire) -> None:
        """A peer was added."""

    def on_peer_removed(self, wire: Wire) -> None:
        """A peer has left."""


class Swarm:
    """The peers of one torrent and what goes on between them and us.

    Args:
        context: what all torrents of the client share.
        storage: the data.
        known: the addresses of peers.
        finder: looks for more of them, and forbids peer exchange in private torrents (BEP 27).
        reputation: of the peers.
        web_seeds: of the torrent.
        owner: is called in the hub.
        max_peers: connections at one time.
        up, down: the torrent's own rates.
        super_seeding: see `TorrentOptions`.

    Attributes:
        picker: what is missing.
        table: the peers that are connected.
        prospects: what may still become of the download.
        geometry: the lengths of the pieces.
        scheduler, endgame, uploads: see their classes.
    """

    def __init__(
        self,
        context: ClientContext,
        storage: Storage,
        known: KnownPeers,
        finder: Finder,
        reputation: Reputation,
        web_seeds: WebSeeds,
        owner: SwarmOwner,
        *,
        max_peers: int,
        up: Throttle,
        down: FairRate,
        super_seeding: bool | None,
    ) -> None:
        torrent = storage.torrent
        self._now = context.now
        self._uplink = context.uplink
        self._storage = storage
        self._known = known
        self._finder = finder
        self._reputation = reputation
        self._web_seeds = web_seeds
        self._before = web_seeds.received
        self._owner = owner
        self.geometry = torrent.geometry
        self.table = PeerTable()
        self.picker: BlockPicker[BlockSource] = BlockPicker(
            torrent.geometry, storage.have, max_open=limits.DISK_QUEUE, random=context.rng, on_let_go=self._let_go
        )
        self._hashes = _make_hash_exchange(storage)
        self._admission = Admission(
            context, torrent, known, finder, reputation, self.table, self, max_peers=max_peers, hashes=self._hashes
        )
        verdicts = SenderVerdicts(reputation, self.picker, self.table, self._admission.dialer)
        self._verifier = Verifier(storage, self.picker, self, verdicts, self._hashes)
        self.prospects = SwarmProspects(self.picker, self._verifier, self.table, self._admission, web_seeds)
        self._have_messages = HaveMessages(self.picker, self.table)
        self.scheduler = RequestScheduler(context, self.picker, self._verifier.assembly, down)
        self._dealer: Dealer[UploadPeer] = Dealer(torrent.geometry, super_seeding, lambda: up.limited)
        self.uploads = Uploads(
            self,
            BlockCache(storage),
            Choker(context.upload_slots, rng=context.rng),
            UploadSlots(context.upload_slots),
            up,
            self._dealer,
            context.uplink,
            now=context.now,
        )
        self._urgent = UrgentRequests(self.picker, self.scheduler, self.table)
        self.endgame = Endgame(self.picker, self.table)
        self._ticks = Routine(f"swarm of {torrent.name!r}", self._do_what_is_due)
        self._next_tick = 0.0
        self._has_left_seeds = False
        self._checked_from: bitarray | None = None

    # ------------------------------------------------------------------ running

    def start(self, *, is_checking: bool = False) -> None:
        """Connect to peers, and accept those that connect to us.

        Args:
            is_checking: the data is being checked: what is verified is served, and nothing is fetched before
                `note_checked`.
        """
        if not self.picker.complete:
            self._dealer.finish()
        self._admission.start()
        self._uplink.add(self.uploads)
        if is_checking:
            self.scheduler.holds, self._checked_from = True, self.have.copy()
        else:
            self._web_seeds.start(self)
        self._ticks.start()

    @property
    def is_checking(self) -> bool:
        """Whether `note_checked` is to come."""
        return self._checked_from is not None

    def note_checked(self, priorities: bytes) -> None:
        """The data has been checked: tell the peers what was found and what is gone, and fetch by these priorities."""
        before, self._checked_from = self._checked_from, None
        if before is not None:
            for piece in (self.have & ~before).search(1):
                self.announce(piece)
            for piece in (before & ~self.have).search(1):
                self._have_messages.announce_lost(piece)
            self.scheduler.holds = False
            self._web_seeds.start(self)
            self.set_wanted(priorities)

    def stop(self, timeout: float) -> None:
        """Leave all peers. Pieces that are complete are still verified and written, for at most `timeout` seconds."""
        self._ticks.stop()
        self._uplink.remove(self.uploads)
        self._web_seeds.stop()
        self._admission.stop(timeout)
        self._verifier.finish(timeout)

    def _do_what_is_due(self) -> float | None:
        """Returns the seconds until more may be; None while there is no peer that anything could be due for."""
        now = self._now()
        is_at_rest = self.seeding and not self.has_peers and not self.uploads.has_work
        if self.scheduler.throttled:
            self.scheduler.give_turns()
        self._urgent.request(now)
        if is_at_rest or now >= self._next_tick:
            self._next_tick = now + _TICK
            self._tick(now)
        if self.uploads.has_work:
            self.uploads.tick(now)
        return None if is_at_rest else self._pause

    @property
    def _pause(self) -> float:
        if self.scheduler.throttled or self.picker.urgent:
            return _SHORT_TICK
        return _DEALING_TICK if self.uploads.has_work else _TICK

    def _tick(self, now: float) -> None:
        self._known.wants_seeds = not self.seeding
        for peer in self.table:
            peer.check_timeouts(now)
        self.uploads.tick(now)
        self._admission.tick(now)
        self.scheduler.wake_idle()

    # ------------------------------------------------------------------ state

    def now(self) -> float:
        """The time, in seconds; see `WebSeedSwarm`."""
        return self._now()

    @property
    def seeding(self) -> bool:
        """Whether nothing is missing that we want."""
        return self.picker.done

    @property
    def have(self) -> bitarray:
        """The pieces that we have."""
        return self._storage.have

    @property
    def assembly(self) -> Assembly[BlockSource]:
        """The pieces that are being received."""
        return self._verifier.assembly

    @property
    def upload_peers(self) -> Collection[WirePeer]:
        """The peers that are connected."""
        return self.table.peers

    @property
    def wasted(self) -> int:
        """Bytes that came twice, unrequested or wrong."""
        return self.assembly.wasted + self.table.wasted + self._web_seeds.skipped

    @property
    def downloaded(self) -> int:
        """Bytes of blocks that came from peers and web seeds."""
        return self.table.downloaded + self._web_seeds.received - self._before

    @property
    def has_peers(self) -> bool:
        """Whether any peer is connected; see `WebSeedSwarm`."""
        return len(self.table) > 0

    @property
    def expects_peers(self) -> bool:
        """Whether a peer may be found or connected to before long; see `SeededSwarm`."""
        return self._finder.can_find_more or self._admission.dialer.has_candidates()

    @property
    def peer_speed(self) -> float:
        """Bytes a second that come from all peers; see `SeededSwarm`."""
        return sum(peer.wire.download_speed() for peer in self.table)

    @property
    def delivery_speed(self) -> float:
        """Bytes a second that all peers could deliver to a reader, as far as is known."""
        return self._urgent.speed

    @property
    def uploaded(self) -> int:
        """Bytes of blocks that went to peers; see `UploadsOwner`."""
        return self.table.uploaded

    @property
    def only_uploads(self) -> bool:
        """Whether peers are told that we only upload (BEP 21); see `AdmissionOwner`.

        Not before they are told of all pieces: they leave an uploader that has nothing for them.
        """
        return self.seeding and not self._dealer.may_deal

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        return self._admission.connections

    # ------------------------------------------------------------------ peers

    def set_max_peers(self, value: int) -> None:
        """Have another number of connections at the most."""
        self._admission.max_peers = value

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to us; its handshake is here."""
        self._admission.accept(wire)

    def add(self, wire: Wire, address: Address | None) -> None:
        """Take a peer that was admitted; see `AdmissionOwner`."""
        peer = WirePeer(self, wire, address)
        self.table.add(peer)
        if self._hashes is not None:
            self._hashes.add(peer, wire)
        self._owner.on_peer_added(wire)
        peer.start()
        self._ticks.wake()

    def on_peer_closed(self, peer: WirePeer) -> None:
        """A peer has left; see `PeerOwner`."""
        if peer not in self.table:
            return
        self.table.remove(peer)
        if self._hashes is not None:
            self._hashes.remove(peer)
        self.scheduler.remove(peer)
        peer.stop_serving()
        self.uploads.on_closed(peer)
        self._admission.note_left(peer)
        self.scheduler.wake_idle()
        self._owner.on_peer_removed(peer.wire)

    def on_extended_handshake(self, peer: WirePeer) -> None:
        """See `PeerOwner`."""
        self._admission.nudge(peer)
        self._admission.note_listen_port(peer)

    def on_dht_port(self, peer: WirePeer, port: int) -> None:
        """See `PeerOwner`."""
        self._admission.note_dht_port(peer, port)

    def on_useless(self, peer: WirePeer) -> None:
        """Two seeds have nothing to give to each other; see `PeerOwner`."""
        self._has_left_seeds = True
        spawn(f"closing {peer.wire}", peer.close)

    def leave_blocked(self, hosts: HostFilter) -> None:
        """Leave the peers that a filter blocks."""
        for peer in self.table:
            if hosts.blocks(peer.wire.remote_address[0]):
                spawn(f"closing {peer.wire}", peer.close)

    # ------------------------------------------------------------------ what is wanted

    def on_wants(self) -> None:
        """What we want has changed."""
        self._ticks.wake()
        for peer in self.table:
            peer.update_interest()
        self._known.wants_seeds = not self.seeding
        if not self.seeding:
            if self._has_left_seeds:
                self._has_left_seeds = False
                self._known.retry_all(self._now())
            # Known seeds are candidates again.
            self._admission.dialer.wake()
        self.scheduler.wake_idle()

    def set_wanted(self, priorities: bytes) -> None:
        """Fetch pieces by these priorities; by zeros nothing, and the peers are only served."""
        self.picker.set_priorities(priorities)
        self.on_wants()

    def set_deadlines(self, deadlines: Mapping[int, float | None]) -> None:
        """Fetch pieces for readers, each by its deadline."""
        had_reader = bool(self.picker.urgent)
        for piece, deadline in deadlines.items():
            self.picker.set_deadline(piece, deadline)
        self.on_wants()
        self._urgent.request(self._now())
        if self.picker.urgent and not had_reader:
            self._ticks.wake()

    def forget_deadlines(self, pieces: Iterable[int], *, unwanted: Iterable[int]) -> None:
        """No reader needs these pieces any more, and those that are unwanted are not fetched at all; blocks that were
        requested still come."""
        for piece in pieces:
            self.picker.set_deadline(piece, None)
        for piece in unwanted:
            self.picker.set_priority(piece, 0)

    # ------------------------------------------------------------------ pieces

    def _let_go(self, piece: int) -> None:
        self.assembly.let_go(piece)

    def on_verified(self, piece: int, senders: Sequence[BlockSource]) -> None:
        """Tell the peers of a piece; see `VerifierOwner`."""
        self._reputation.credit(senders, self.geometry.piece_size(piece))
        self._have_messages.announce_verified(piece)
        self._owner.on_piece_verified(piece)

    def on_failed(self, piece: int) -> None:
        """See `VerifierOwner`."""
        for peer in self.table:
            peer.note_new_blocks()
        self._owner.on_piece_failed(piece)

    def on_room(self) -> None:
        """Request more; see `VerifierOwner`."""
        self.scheduler.wake_idle()

    def on_storage_error(self, error: StorageError) -> None:
        """See `VerifierOwner`."""
        self._owner.on_storage_error(error)

    def on_read_error(self, error: StorageError) -> None:
        """See `UploadsOwner`."""
        self._owner.on_read_error(error)

    def withdraw(self, piece: int) -> None:
        """A piece that we had is not to be trusted any more: tell the peers (BEP 54). It is not fetched."""
        self._dealer.finish()
        self.picker.set_priority(piece, 0)
        self._have_messages.announce_lost(piece)

    def announce(self, piece: int) -> None:
        """A piece is on disk without having been fetched: tell the peers."""
        self._have_messages.announce_found(piece)


def _make_hash_exchange(storage: Storage) -> HashExchange | None:
    """Imported here, for torrents that are verified by their trees alone (BEP 52)."""
    torrent = storage.torrent
    if torrent.info_hash_v2 is None or torrent.missing_layers:
        return None
    from geventbt.client.swarm.hash_exchange import HashExchange

    return HashExchange(storage)
