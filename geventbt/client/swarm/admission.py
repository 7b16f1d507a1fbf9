"""Admission to a swarm: which connections become peers, how many there are, and how they shake hands."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import gevent
from bitarray import bitarray

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.peers.connection_room import Evictable
from geventbt.client.peers.eviction import Place
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.dialer import Dialer
from geventbt.client.swarm.hole_puncher import HolePuncher
from geventbt.client.swarm.peer_exchange import PeerExchange, take_peers
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.wire_peer import WirePeer
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import WireClosed
from geventbt.extensions.lt_donthave import LtDonthave
from geventbt.extensions.upload_only import UploadOnly
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.metainfo import Torrent
from geventbt.net.addresses import Address
from geventbt.wire.transports.base import UTP
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.client.swarm.hash_exchange import HashExchange
    from geventbt.discovery.dht.dht import DHT

_CLOSE_TIMEOUT = 1.0
"""Seconds for a peer to read what we have sent, when we leave."""


class AdmissionOwner(Protocol):
    """The swarm, as its admission sees it."""

    @property
    def seeding(self) -> bool:
        """Whether nothing is missing that we want."""

    @property
    def have(self) -> bitarray:
        """The pieces that we have."""

    @property
    def only_uploads(self) -> bool:
        """Whether peers are told that we only upload."""

    def add(self, wire: Wire, address: Address | None) -> None:
        """Take a peer that was admitted; its address is where it listens, if that is known."""


class Admission:
    """Makes and takes the connections of one torrent; a `DialerOwner`, a `HolePuncherOwner` and a `ConnectionHolder`.

    Args:
        context: what all torrents of the client share.
        torrent: the torrent.
        known: the addresses of peers.
        finder: says whether the torrent is private.
        reputation: of its peers.
        table: the peers that are connected.
        owner: takes those that are admitted.
        max_peers: connections at one time.
        hashes: gives hashes to peers; None in version 1.

    Attributes:
        dialer: connects to peers.
        max_peers: see above.
    """

    def __init__(
        self,
        context: ClientContext,
        torrent: Torrent,
        known: KnownPeers,
        finder: Finder,
        reputation: Reputation,
        table: PeerTable,
        owner: AdmissionOwner,
        *,
        max_peers: int,
        hashes: HashExchange | None = None,
    ) -> None:
        self._context = context
        self._torrent = torrent
        self._known = known
        self._finder = finder
        self._reputation = reputation
        self._table = table
        self._owner = owner
        self.max_peers = max_peers
        self._exchange = PeerExchange(finder, table)
        self._closed_for: Exception | None = None
        self._is_started = False
        self._is_upload_only = False
        self._hashes = hashes
        self._puncher = HolePuncher(context, finder, known, table, self)
        self.dialer = Dialer(context, torrent.swarm_hash, known, self, self._puncher)

    def start(self) -> None:
        """Connect to peers, and accept those that connect to us."""
        self._is_started = True
        self._finder.listener = self.dialer
        self._context.connections.enter(self)
        self.dialer.start()

    def stop(self, timeout: float) -> None:
        """Leave all peers, and admit no more; each has at most `timeout` seconds to read what was sent."""
        self._is_started = False
        self._finder.listener = None
        self._context.connections.leave(self)
        self.dialer.stop()
        timeout = min(timeout, _CLOSE_TIMEOUT)
        gevent.joinall([spawn(f"closing {peer.wire}", peer.wire.close, timeout) for peer in self._table])

    def tick(self, now: float) -> None:
        """Exchange addresses with the peers, a few times a minute, and tell them whether we want anything (BEP 21)."""
        self._exchange.tick(now)
        seeding = self._owner.seeding
        is_news, self._is_upload_only = seeding != self._is_upload_only, seeding
        for peer in self._table:
            # In the handshake as well, to one that came while nothing was due.
            was_told = bool(peer.wire.extended_handshake.get("upload_only"))
            if was_told != seeding and (was_told or is_news):
                with suppress(WireClosed):
                    peer.wire.upload_only.announce(seeding)

    @property
    def last_failure(self) -> Exception | None:
        """Why the last connection was closed, or else could not be made."""
        return self._closed_for or self.dialer.last_failure

    # ------------------------------------------------------------------ room

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        return len(self._table) + self.dialer.dialling

    def has_room(self) -> bool:
        """Whether one more peer may be connected to; see `DialerOwner`."""
        return self.connections < self.max_peers

    def make_room(self) -> bool:
        """Leave a peer that is of no use; see `DialerOwner`."""
        return self._make_room(inbound=False)

    def _make_room(self, *, inbound: bool) -> bool:
        """Whether there is a place, after a peer that is of no use has been left if it must."""
        now, all_torrents = self._context.now(), self._context.connections
        if not self.has_room() or (inbound and self.inbound >= self._max_inbound):
            return all_torrents.make_room(now, self)
        return all_torrents.has_room(inbound=inbound) or all_torrents.make_room(now)

    @property
    def _max_inbound(self) -> int:
        return self.max_peers - (self.max_peers // limits.OUTBOUND_SHARE if self.keeps_outbound else 0)

    @property
    def places(self) -> Sequence[Place[Evictable]]:
        """The connections; see `ConnectionHolder`."""
        return [peer.place for peer in self._table]

    @property
    def inbound(self) -> int:
        """How many of them were opened by the peer; see `ConnectionHolder`."""
        return self._table.inbound

    @property
    def keeps_outbound(self) -> bool:
        """Whether anything is missing; see `ConnectionHolder`."""
        return not self._owner.seeding

    # ------------------------------------------------------------------ the begin of a connection

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to us; its handshake is here."""
        if not self._is_started or not self._make_room(inbound=True):
            wire.close(0)
            return
        try:
            self.shake_hands(wire, wire.wait_handshake().info_hash)
        except BaseException:
            wire.close(0)
            raise
        self._admit(wire, None)

    def shake_hands(self, wire: Wire, info_hash: bytes) -> None:
        """Offer our extensions, and exchange handshakes; see `DialerOwner`."""
        wire.use(lambda wire: UtMetadata(wire, self._torrent.info_bytes))
        wire.use(LtDonthave)
        wire.use(UploadOnly).announce(self._owner.only_uploads)
        take_peers(wire, self._finder)
        self._puncher.attach(wire)
        port = self._context.port_for(wire.remote_address[0])
        if port:
            wire.extended_handshake["p"] = port
        has_dht = self._dht is not None
        if self._hashes is not None:
            self._hashes.serve(wire)
        is_early = wire.type == "outgoing" and self._greets_early
        wire.handshake(
            info_hash,
            self._context.peer_id,
            dht=has_dht,
            # As libtorrent does: where the hash is that of version 2, the bit says nothing more.
            v2=self._torrent.version == "hybrid" and info_hash == self._torrent.info_hash,
            info_hash_v2=self._torrent.info_hash_v2,
            geometry=self._torrent.geometry,
            bitfield=self._owner.have if is_early else None,
            interested=is_early,
        )

    @property
    def _greets_early(self) -> bool:
        """Whether to say what we have, and that we are interested, before a peer has said anything.

        A round trip is saved so when a download begins. The bitfield is what every peer understands before it is known
        which extensions it has. It is empty, so that what is verified meanwhile can be announced piece by piece.
        """
        have = self._owner.have
        return not self._owner.seeding and len(have) <= limits.EARLY_BITFIELD and not have.any()

    def on_connected(self, wire: Wire, address: Address) -> None:
        """Take a peer that we have connected to; see `DialerOwner`."""
        if not self._admit(wire, address) and address not in self._table.addresses:
            self._note_closed(address, worked=False, is_seed=False)

    def on_introduced(self, address: Address) -> None:
        """Connect to a peer that connects to us at the same time; see `HolePuncherOwner`."""
        self.dialer.connect_now(address)

    def _admit(self, wire: Wire, address: Address | None) -> bool:
        """Hand a peer to the swarm, unless it is banned, or connected already."""
        twin = self._table.twin(wire)
        is_unwanted = wire.closed or not self._is_started or self._reputation.refuses(wire)
        if is_unwanted or (twin is not None and not self._gives_way(twin.wire, wire)):
            wire.close(0)
            return False
        if twin is not None:
            twin.close()
        if address is not None:
            self._reputation.served.setdefault(address, 0)
        self._owner.add(wire, address)
        self._send_dht_port(wire)
        return True

    def _gives_way(self, twin: Wire, wire: Wire) -> bool:
        """Whether a connection gives way to a second one with the same peer.

        One that has been silent may be half dead: its peer has lost it and comes back. When both sides have connected
        to each other at the same time, both must keep the same connection: the one that was opened by the lower peer
        id.
        """
        if twin.silence >= limits.TWIN_SILENCE:
            return True
        assert wire.peer_id is not None
        we_are_lower = self._context.peer_id < wire.peer_id
        return twin.type != wire.type and (wire.type == "outgoing") == we_are_lower

    # ------------------------------------------------------------------ what peers say of themselves

    @property
    def _dht(self) -> DHT | None:
        """The DHT, for torrents that are not private (BEP 27)."""
        return self._context.dht if self._finder.allows_exchange else None

    def _send_dht_port(self, wire: Wire) -> None:
        dht = self._dht
        if dht is not None and dht.port and wire.peer_extensions is not None and wire.peer_extensions.dht:
            with suppress(WireClosed):
                wire.port(dht.port)

    def note_dht_port(self, peer: WirePeer, port: int) -> None:
        """A peer has a node of the DHT (BEP 5)."""
        if self._dht is not None and port:
            self._dht.add_node((peer.remote_address[0], port))

    def nudge(self, peer: WirePeer) -> None:
        """Send something behind what follows the handshake.

        *Measured*: over uTP, Transmission 3.00 does not look at what comes with the end of the handshake until more
        comes, and a seed has no more to say to a peer that is not interested.
        """
        if peer.wire.transport == UTP:
            with suppress(WireClosed):
                peer.wire.keep_alive()

    def note_listen_port(self, peer: WirePeer) -> None:
        """An inbound peer may say where it listens (BEP 10, `p`)."""
        port = peer.wire.peer_extended_handshake.get("p")
        host = peer.wire.remote_address[0]
        if peer.address is not None or not port or (host, port) in self._table.addresses:
            return
        if self._known.add((host, port), Source.INBOUND, self._context.now(), reported_by=host):
            self._table.set_address(peer, (host, port))
            self._known.connected((host, port))

    # ------------------------------------------------------------------ the end of a connection

    def note_left(self, peer: WirePeer) -> None:
        """A peer of the swarm has left."""
        self._closed_for = peer.wire.close_reason or self._closed_for
        if peer.address is not None:
            self._note_closed(peer.address, worked=peer.received > 0, is_seed=peer.has_all)
        self.dialer.wake()

    def _note_closed(self, address: Address, *, worked: bool, is_seed: bool) -> None:
        """Note the end of a connection that we have opened: it is the peer's doing, unless we are stopping."""
        if self._is_started:
            self._known.closed(address, self._context.now(), worked=worked, is_seed=is_seed)
        else:
            self._known.released(address, self._context.now())
