"""Connected peers of one torrent: which are accepted, what is sent to them, and what becomes of their blocks.

The parts of a swarm: `Dialer` connects to peers, `PeerTable` holds them, `RequestScheduler` says when they are asked,
`BlockPicker` for what; `Verifier` makes pieces of blocks, `Reputation` judges their senders, `Uploads` serves, and
`PeerExchange` passes addresses on.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from contextlib import suppress
from time import monotonic
from typing import Protocol

import gevent
from bitarray import bitarray

from geventbt import limits
from geventbt.client.context import ClientContext, Evictable
from geventbt.client.peers.eviction import Place
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.block_cache import BlockCache
from geventbt.client.swarm.choker import Choker
from geventbt.client.swarm.dialer import Dialer
from geventbt.client.swarm.peer_exchange import PeerExchange
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.scheduler import RequestScheduler
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.uploads import Uploads
from geventbt.client.swarm.verifier import Verifier
from geventbt.client.swarm.web_seeds import WebSeeds
from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.dht.dht import DHT
from geventbt.errors import StorageError, WireClosed
from geventbt.extensions.lt_donthave import LtDonthave
from geventbt.extensions.upload_only import UploadOnly
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.net.addresses import Address
from geventbt.rates.throttle import Throttle
from geventbt.rates.token_bucket import RateLimit
from geventbt.storage import Storage
from geventbt.wire.wire import Wire

_CLOSE_TIMEOUT = 1.0
"""Seconds for a peer to read what we have sent, when we leave."""
_TICK = 1.0
"""Seconds between two rounds of what is due."""
_THROTTLED_TICK = 0.05
_TWIN_SILENCE = 10.0
"""Seconds of silence after which a connection gives way to another one of the same peer."""


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
    """The peers of a torrent, from `start` to `stop`.

    Args:
        context: what all torrents of the client share.
        storage: the torrent's data, checked.
        known: the addresses of peers.
        finder: takes the addresses that peers name.
        reputation: of the peers; it outlives the swarm.
        web_seeds: of the torrent; they outlive the swarm.
        owner: receives the events.
        max_peers: connections at one time.
        up, down: the torrent's own rates.

    Attributes:
        picker: what is missing.
        table: the peers that are connected.
        dialer: connects to peers.
        geometry: the lengths of the pieces.
        scheduler, uploads: see their classes.
        last_failure: why the last connection could not be made, or was closed.
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
        down: RateLimit,
    ) -> None:
        torrent = storage.torrent
        self._context = context
        self._storage = storage
        self._known = known
        self._finder = finder
        self._reputation = reputation
        self._web_seeds = web_seeds
        self._before = web_seeds.received
        self._owner = owner
        self._max_peers = max_peers
        self.geometry = torrent.geometry
        self.table = PeerTable()
        self.picker: BlockPicker[BlockSource] = BlockPicker(
            torrent.geometry, storage.have, max_open=limits.DISK_QUEUE, on_let_go=self._let_go
        )
        self._verifier = Verifier(storage, self.picker, self)
        self.scheduler = RequestScheduler(context, self.picker, self._verifier.assembly, down)
        self.uploads = Uploads(self, BlockCache(storage), Choker(context.upload_slots), up)
        assert torrent.info_hash is not None
        self.dialer = Dialer(context, torrent.info_hash, known, self)
        self._exchange = PeerExchange(finder, self.table)
        self._ticks: gevent.Greenlet | None = None
        self._has_left_seeds = False
        self.last_failure: Exception | None = None

    # ------------------------------------------------------------------ running

    def start(self) -> None:
        """Connect to peers, and accept those that connect to us."""
        self._finder.listener = self.dialer
        self._context.enter(self)
        self.dialer.start()
        self._web_seeds.start(self)
        self._ticks = spawn(f"swarm of {self._storage.torrent.name!r}", self._run_ticks)

    def stop(self, timeout: float) -> None:
        """Leave all peers. Pieces that are complete are still verified and written, for at most `timeout` seconds."""
        self._finder.listener = None
        self._context.leave(self)
        ticks, self._ticks = self._ticks, None
        if ticks is not None:
            ticks.kill()
        self.dialer.stop()
        self._web_seeds.stop()
        gevent.joinall(
            [spawn(f"closing {peer.wire}", peer.wire.close, min(timeout, _CLOSE_TIMEOUT)) for peer in self.table]
        )
        self._verifier.finish(timeout)

    def _run_ticks(self) -> None:
        next_tick = 0.0
        while True:
            now = monotonic()
            if self.scheduler.throttled:
                self.scheduler.fill_idle()
            if now >= next_tick:
                next_tick = now + _TICK
                self._tick(now)
            gevent.sleep(_THROTTLED_TICK if self.scheduler.throttled else _TICK)

    def _tick(self, now: float) -> None:
        self._known.wants_seeds = not self.seeding
        for peer in self.table:
            peer.check_timeouts(now)
        self.uploads.tick(now)
        self._exchange.tick(now)
        self.scheduler.wake_idle()

    # ------------------------------------------------------------------ state

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
        return self._finder.can_find_more or self.dialer.has_candidates()

    @property
    def peer_speed(self) -> float:
        """Bytes a second that come from all peers; see `SeededSwarm`."""
        return sum(peer.wire.download_speed() for peer in self.table)

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        return len(self.table) + self.dialer.dialling

    @property
    def broken(self) -> set[int]:
        """The wanted pieces that were wrong from every source: no peer that is connected is left to ask for them."""
        picker = self.picker
        return {piece for piece in self._verifier.failed if picker.priority(piece) and not picker.availability(piece)}

    @property
    def is_stuck(self) -> bool:
        """Whether all that is missing is broken, although there are peers, and no other peer can be tried, now or
        later."""
        return bool(len(self.table) and self.picker.missing <= len(self.broken) and not self.dialer.has_candidates())

    def is_alone(self, failures: int) -> bool:
        """Whether no peer is connected, none is left to connect to, see `KnownPeers.is_exhausted`, and no web seed can
        be counted on."""
        return not self.has_peers and self.dialer.is_exhausted(failures) and self._web_seeds.is_hopeless

    # ------------------------------------------------------------------ connections

    def has_room(self) -> bool:
        """Whether one more peer may be connected to; see `DialerOwner`."""
        return self.connections < self._max_peers

    def make_room(self) -> None:
        """Leave a peer that is of no use; see `DialerOwner`."""
        self._make_room(inbound=False)

    def _make_room(self, *, inbound: bool) -> bool:
        """Whether there is a place, after a peer that is of no use has been left if it must."""
        now = monotonic()
        if not self.has_room() or (inbound and self.inbound >= self._max_inbound):
            return self._context.make_room(now, self)
        return self._context.has_room(inbound=inbound) or self._context.make_room(now)

    @property
    def _max_inbound(self) -> int:
        return self._max_peers - (self._max_peers // limits.OUTBOUND_SHARE if self.keeps_outbound else 0)

    @property
    def places(self) -> Sequence[Place[Evictable]]:
        """The connections; see `ConnectionHolder`."""
        return [peer.place for peer in self.table]

    @property
    def inbound(self) -> int:
        """How many of them were opened by the peer; see `ConnectionHolder`."""
        return self.table.inbound

    @property
    def keeps_outbound(self) -> bool:
        """Whether anything is missing; see `ConnectionHolder`."""
        return not self.seeding

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to us; its handshake is here."""
        if self._ticks is None or not self._make_room(inbound=True):
            wire.close(0)
            return
        try:
            self.shake_hands(wire)
        except BaseException:
            wire.close(0)
            raise
        self._add(wire, None)

    def shake_hands(self, wire: Wire) -> None:
        """Offer our extensions, and exchange handshakes; see `DialerOwner`."""
        torrent = self._storage.torrent
        wire.use(lambda wire: UtMetadata(wire, torrent.info_bytes))
        wire.use(LtDonthave)
        wire.use(UploadOnly).announce(self.picker.done)
        self._exchange.attach(wire)
        if self._context.port:
            wire.extended_handshake["p"] = self._context.port
        has_dht = self._dht is not None
        wire.handshake(torrent.swarm_hash, self._context.peer_id, dht=has_dht, geometry=torrent.geometry)

    def on_connected(self, wire: Wire, address: Address) -> None:
        """Take a peer that we have connected to; see `DialerOwner`."""
        if not self._add(wire, address):
            self._note_closed(address, worked=False, is_seed=False)

    def _add(self, wire: Wire, address: Address | None) -> bool:
        """Add a peer, unless it is banned, or connected already."""
        peer = WirePeer(self, wire, address)
        twin = self.table.twin(wire)
        is_banned = self._reputation.is_banned(peer) or self._reputation.refuses(wire)
        is_unwanted = wire.closed or self._ticks is None or is_banned
        if is_unwanted or (twin is not None and not self._gives_way(twin.wire, wire)):
            wire.close(0)
            return False
        if twin is not None:
            twin.close()
        self.table.add(peer)
        if address is not None:
            self._reputation.served.setdefault(address, 0)
        self._owner.on_peer_added(wire)
        peer.start()
        self._send_dht_port(wire)
        return True

    @property
    def _dht(self) -> DHT | None:
        """The DHT, for torrents that are not private (BEP 27)."""
        return self._context.dht if self._finder.allows_exchange else None

    def _send_dht_port(self, wire: Wire) -> None:
        dht = self._dht
        if dht is not None and wire.peer_extensions is not None and wire.peer_extensions.dht:
            with suppress(WireClosed):
                wire.port(dht.port)

    def on_dht_port(self, peer: WirePeer, port: int) -> None:
        """A peer has a node of the DHT; see `PeerOwner`."""
        if self._dht is not None and port:
            self._dht.add_node((peer.remote_address[0], port))

    def _gives_way(self, twin: Wire, wire: Wire) -> bool:
        """Whether a connection gives way to a second one with the same peer.

        One that has been silent may be half dead: its peer has lost it and comes back. When both sides have connected
        to each other at the same time, both must keep the same connection: the one that was opened by the lower peer
        id.
        """
        if twin.silence >= _TWIN_SILENCE:
            return True
        assert wire.peer_id is not None
        we_are_lower = self._context.peer_id < wire.peer_id
        return twin.type != wire.type and (wire.type == "outgoing") == we_are_lower

    def on_peer_closed(self, peer: WirePeer) -> None:
        """A peer has left; see `PeerOwner`."""
        if peer not in self.table:
            return
        self.table.remove(peer)
        self.scheduler.remove(peer)
        self.last_failure = peer.wire.close_reason or self.last_failure
        peer.stop_serving()
        self.uploads.on_closed(peer)
        if peer.address is not None:
            self._note_closed(peer.address, worked=peer.received > 0, is_seed=peer.has_all)
        self.scheduler.wake_idle()
        self.dialer.wake()
        self._owner.on_peer_removed(peer.wire)

    def _note_closed(self, address: Address, *, worked: bool, is_seed: bool) -> None:
        """Note the end of a connection that we have opened: it is the peer's doing, unless we are stopping."""
        if self._ticks is not None:
            self._known.closed(address, monotonic(), worked=worked, is_seed=is_seed)
        else:
            self._known.released(address, monotonic())

    def on_extended_handshake(self, peer: WirePeer) -> None:
        """An inbound peer may say where it listens (BEP 10, `p`); see `PeerOwner`."""
        port = peer.wire.peer_extended_handshake.get("p")
        host = peer.wire.remote_address[0]
        if peer.address is not None or not port or (host, port) in self.table.addresses:
            return
        if self._known.add((host, port), Source.INBOUND, monotonic(), reported_by=host):
            self.table.set_address(peer, (host, port))
            self._known.connected((host, port))

    def on_useless(self, peer: WirePeer) -> None:
        """Two seeds have nothing to give to each other; see `PeerOwner`."""
        self._has_left_seeds = True
        spawn(f"closing {peer.wire}", peer.close)

    def on_wants(self) -> None:
        """What we want has changed."""
        for peer in self.table:
            peer.update_interest()
        self._known.wants_seeds = not self.seeding
        if not self.seeding:
            if self._has_left_seeds:
                self._has_left_seeds = False
                self._known.retry_all(monotonic())
            # Known seeds are candidates again.
            self.dialer.wake()
        self.scheduler.wake_idle()

    # ------------------------------------------------------------------ pieces

    def _let_go(self, piece: int) -> None:
        self.assembly.let_go(piece)

    def on_verified(self, piece: int, senders: Sequence[BlockSource]) -> None:
        """Tell the peers of a piece; see `VerifierOwner`."""
        self._reputation.credit(senders, self.geometry.piece_size(piece))
        for peer in self.table:
            wire = peer.wire
            if wire.closed:
                continue
            if not wire.peer_has(piece):
                wire.have(piece)
            if wire.am_interested:
                peer.update_interest()
        self._owner.on_piece_verified(piece)

    def on_failed(self, piece: int) -> None:
        """See `VerifierOwner`."""
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
        self.picker.set_priority(piece, 0)
        self.picker.lost(piece)
        for peer in self.table:
            peer.announce_lost(piece)

    def announce(self, piece: int) -> None:
        """A piece is on disk without having been fetched: tell the peers."""
        self.picker.verified(piece)
        for peer in self.table:
            if not peer.closed and not peer.has(piece):
                peer.wire.have(piece)

    def set_wanted(self, priorities: bytes) -> None:
        """Fetch pieces by these priorities; by zeros nothing, and the peers are only served."""
        self.picker.set_priorities(priorities)
        self.on_wants()

    def spares(self, sender: BlockSource) -> bool:
        """See `VerifierOwner`. A web seed counts its own wrong pieces."""
        if sender.remote_address is None:
            return False
        others = (peer for peer in self.table if peer is not sender and not peer.closed)
        return self._reputation.spares(sender, is_only_one=not any(map(self.picker.interesting, others)))

    def on_guilty(self, piece: int, guilty: Set[BlockSource]) -> None:
        """Ban sources, and close them; see `VerifierOwner`."""
        self._reputation.ban(guilty)
        for source in guilty:
            source.convict(piece)
        # A peer may be back already, on another connection than the one on which it lied.
        reputation = self._reputation
        banned = [peer for peer in self.table if reputation.is_banned(peer) or reputation.refuses(peer.wire)]
        for peer in banned:
            peer.close()

    def on_forgiven(self, forgiven: Set[BlockSource]) -> None:
        """Take bans back; see `VerifierOwner`."""
        self._reputation.forgive(forgiven)
        self.dialer.wake()
