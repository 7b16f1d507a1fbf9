"""From a magnet link to a torrent: fetching the metadata from peers, some of which may lie (BEP 9), or by HTTP."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

import geventbt
from geventbt import limits
from geventbt.arguments import check_instances, check_seconds
from geventbt.client.arguments import check_dht
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.dialer import Dialer
from geventbt.client.swarm.hole_puncher import HolePuncher
from geventbt.client.swarm.peer_exchange import take_peers
from geventbt.client.swarm.piece_layers import fetch_layers
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.metadata import Metadata
from geventbt.client.torrent.metadata_peers import Kind, MetadataPeer, MetadataPeers
from geventbt.client.torrent.metadata_urls import MetadataURLs
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.hubs import whole_call
from geventbt.concurrency.threads import in_thread
from geventbt.errors import (
    GeventBTError,
    MetadataMismatch,
    MetadataNotAvailable,
    NoPeersError,
    WireClosed,
    WireTimeout,
)
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.magnet import link_of_hash
from geventbt.net.addresses import Address, NamedAddress, named_addresses
from geventbt.net.network import DIRECT, Network
from geventbt.wire.transports.encryption import PREFER, EncryptionPolicy, check_policy
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.discovery.dht.source import DHTSource

_log = logging.getLogger("geventbt")

_TICK = 1.0
"""Seconds between two looks whether any peer is left to ask, and more are to be found."""


@whole_call
def fetch_metadata(
    magnet: Magnet | str,
    *,
    peers: Iterable[NamedAddress] = (),
    timeout: float = limits.REQUEST_TIMEOUT,
    encryption: EncryptionPolicy = PREFER,
    dht: bool | geventbt.DHT = True,
    network: Network = DIRECT,
) -> Torrent:
    """Make a torrent of a magnet link: blocks until a peer or URL has given the metadata, verified by the info
    hash.

    Args:
        magnet: the link, or an info hash in hex; peers in the link (x.pe) and the URLs of its .torrent file (xs, as)
            are asked as well.
        peers: (host, port) or "host:port" of peers to ask, `limits.METADATA_SOURCES` of them at a time.
        timeout: seconds for all of it.
        encryption: "prefer", "allow", "require" or "disable"; see `geventbt.connect`.
        dht: whether to find peers by the DHT; or the `DHT` to find them by.
        network: opens the sockets: through a proxy, or from an interface.

    Returns:
        The torrent, with the trackers and web seeds of the link.

    Raises:
        MagnetError: not a magnet link.
        NoPeersError: no peer gave the metadata.
        MetainfoError: the metadata is verified, but not a usable torrent.
        WireTimeout: no peer gave the metadata within `timeout`.
        TypeError: an option has another type.
    """
    if isinstance(magnet, str):
        magnet = Magnet.from_string(link_of_hash(magnet) or magnet)
    check_instances(Magnet, magnet=magnet)
    check_policy(encryption)
    check_seconds(timeout=timeout)
    check_instances(Network, network=network)
    check_dht(dht)
    named = named_addresses(peers, "peers")
    news = Event()
    known = KnownPeers(hosts=network, news=news)
    finder = Finder(known, network)
    context = ClientContext(ClientOptions(encryption=encryption, network=network))
    search = MetadataSearch(context, magnet, known, finder, news, fail_without_peers=True)
    own_dht = _make_dht(network) if dht is True and network.carries_udp else None
    context.dht = own_dht or (None if isinstance(dht, bool) else dht)
    if context.dht is not None:
        for info_hash in magnet.swarm_hashes:
            finder.use(_dht_source(context.dht, info_hash, finder))
    search.start()
    finder.start()
    with gevent.Timeout(timeout, WireTimeout(f"no peer gave the metadata within {timeout:g} seconds")):
        try:
            finder.add_by_user([*named, *magnet.peers])
            metadata = search.run()
        finally:
            search.stop()
            finder.stop(0)
            if own_dht is not None:
                own_dht.close()
    return metadata.torrent([[tracker] for tracker in magnet.trackers], magnet.web_seeds)


def _make_dht(network: Network) -> geventbt.DHT:
    """A node that only asks; imported here, as in `geventbt.client.client.open_dht`."""
    return geventbt.DHT(read_only=True, network=network)


def _dht_source(dht: geventbt.DHT, info_hash: bytes, finder: Finder) -> DHTSource:
    """A source that searches without an announce."""

    from random import Random

    from geventbt.discovery.dht.source import DHTSource

    def add(peers: list[Address], node: str) -> None:
        finder.add(peers, Source.DHT, node, info_hash=info_hash)

    return DHTSource(dht, info_hash, add, port=lambda: None, is_seed=lambda: False, rng=Random())


class MetadataSearch:
    """Fetches the metadata of a torrent from the peers that become known, and from those that connect to us.

    A `DialerOwner` and a `HolePuncherOwner`.

    Args:
        context: what all torrents of the client share.
        source: the magnet link; the URLs of its .torrent file are asked beside the peers.
        known: the addresses of peers.
        finder: looks for more of them.
        news: wakes `run`; it is also set by those that have less hope to find a peer than before.
        max_peers: connections at one time.
        fail_without_peers: whether to give up when no peer is left and none can be found.
        files: those that are wanted, whose piece layers come first (BEP 52); None for all.
    """

    def __init__(
        self,
        context: ClientContext,
        source: Torrent | Magnet,
        known: KnownPeers,
        finder: Finder,
        news: Event,
        *,
        max_peers: int = limits.TORRENT_PEERS,
        fail_without_peers: bool = False,
        files: Collection[FileRef] | None = None,
    ) -> None:
        self._context = context
        self._source = source
        self._known = known
        self._finder = finder
        self._news = news
        self._max_peers = max_peers
        self._fail_without_peers = fail_without_peers
        self._peers = MetadataPeers()
        self._puncher = HolePuncher(context, finder, known, self._peers, self)
        self._dialer = Dialer(context, source.swarm_hash, known, self, self._puncher)
        self._urls = MetadataURLs(source, context.network, news)
        self._files = files
        # What one peer has given before it left is not asked of the next one; each is verified by its root.
        self._layers: dict[bytes, bytes] = {}
        self._downloader: gevent.Greenlet | None = None
        self._answer: Metadata | None = None
        self._asking: set[gevent.Greenlet] = set()
        self._is_started = False
        self._failure: Exception | None = None

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        return len(self._peers) + self._dialer.dialling

    def start(self) -> None:
        """Connect to peers, and accept those that connect to us."""
        self._is_started = True
        self._finder.listener = self._dialer
        self._dialer.start()
        if not self._urls.is_empty:
            self._downloader = spawn("metadata by URL", self._fetch_by_url)

    def stop(self) -> None:
        """Leave all peers, until the next start."""
        self._is_started = False
        self._finder.listener = None
        self._dialer.stop()
        gevent.killall([*self._asking, *filter(None, [self._downloader])])
        for peer in self._peers:
            peer.wire.close(0)

    def run(self) -> Metadata:
        """Block until the metadata is here, whether started at the moment or not.

        Raises:
            NoPeersError: no peer is left to ask, and none can be found.
        """
        while self._answer is None:
            if self._is_started and self._dialer.is_idle():
                self._look_for_more()
            self._news.wait(_TICK)
            self._news.clear()
        return self._answer

    def _take(self, metadata: Metadata) -> None:
        self._answer = metadata
        self._news.set()

    def _look_for_more(self) -> None:
        self._finder.need_more()
        is_asking = bool(self._peers.of("incoming")) or self._urls.is_pending
        is_exhausted = not is_asking and not self._finder.can_find_more and self._dialer.is_exhausted(1)
        if self._fail_without_peers and is_exhausted:
            failure = self._failure or self._dialer.last_failure or self._urls.failure
            raise NoPeersError(f"no peer gave the metadata: {failure}" if failure else "no peers to ask for metadata")

    # ------------------------------------------------------------------ peers

    def has_room(self) -> bool:
        """Whether one more peer may be asked; see `DialerOwner`."""
        return self._may_ask("outgoing") and self._has_place("outgoing")

    def make_room(self) -> bool:
        """Leave a peer that is of no use, of this torrent or of another; see `DialerOwner`."""
        if not self._may_ask("outgoing") or not self._make_place("outgoing"):
            return False
        connections = self._context.connections
        return connections.has_room() or connections.make_room(self._context.now())

    def _may_ask(self, kind: Kind) -> bool:
        now = self._context.now()
        active = sum(peer.is_active(now) for peer in self._peers.of(kind)) + self._dialling(kind)
        return self._answer is None and active < limits.METADATA_SOURCES

    def _has_place(self, kind: Kind) -> bool:
        asked = len(self._peers.of(kind)) + self._dialling(kind)
        return asked < limits.METADATA_ASKED and self.connections < self._max_peers

    def _make_place(self, kind: Kind) -> bool:
        if not self._has_place(kind):
            self._peers.leave_useless(kind)
        return self._has_place(kind)

    def _dialling(self, kind: Kind) -> int:
        return self._dialer.dialling if kind == "outgoing" else 0

    def shake_hands(self, wire: Wire, info_hash: bytes) -> None:
        """Offer our extensions, and exchange handshakes; see `DialerOwner`."""
        wire.use(UtMetadata)
        take_peers(wire, self._finder)
        self._puncher.attach(wire)
        port = self._context.port_for(wire.remote_address[0])
        if port:
            wire.extended_handshake["p"] = port
        wire.handshake(
            info_hash,
            self._context.peer_id,
            dht=self._context.dht is not None,
            v2=self._source.info_hash_v2 is not None and info_hash == self._source.info_hash,
            info_hash_v2=self._source.info_hash_v2,
        )

    def on_connected(self, wire: Wire, address: Address) -> None:
        """Ask a peer that we have connected to; see `DialerOwner`."""
        current = gevent.getcurrent()
        self._asking.add(current)
        try:
            metadata = self._ask(MetadataPeer(wire, self._context.now(), address))
        except (GeventBTError, OSError) as error:
            _log.info("no metadata from %s:%s: %s", *address, error)
            self._failure = error
            self._known.closed(address, self._context.now(), worked=False)
        else:
            self._take(metadata)
        finally:
            self._asking.discard(current)
            # A peer that gave it, or was not waited for, is connected to again at once, for the data; it may refuse
            # that, not having noticed that the first connection is over.
            self._known.released(address, self._context.now(), worked=self._answer is not None)
            self._dialer.wake()

    def on_introduced(self, address: Address) -> None:
        """Connect to a peer that connects to us at the same time; see `HolePuncherOwner`."""
        self._dialer.connect_now(address)

    def accept(self, wire: Wire) -> None:
        """Ask a peer that has connected to us; blocks until it has answered. It is connected to later, for the data, if
        it says where it listens. Raises: see `Wire.handshake` and `UtMetadata.fetch`."""
        has_room = self._is_started and self._may_ask("incoming") and self._make_place("incoming")
        if not has_room or not self._context.connections.has_room():
            wire.close(0)
            return
        peer = MetadataPeer(wire, self._context.now())
        self._peers.add(peer)
        try:
            self.shake_hands(wire, wire.wait_handshake().info_hash)
            self._take(self._ask(peer))
        finally:
            self._peers.remove(peer)
            wire.close(0)
            if peer.address is not None:
                self._known.add(peer.address, Source.INBOUND, self._context.now(), reported_by=peer.address[0])
            self._news.set()

    def _fetch_by_url(self) -> None:
        metadata = self._urls.fetch()
        if metadata is not None:
            self._take(metadata)

    def _ask(self, peer: MetadataPeer) -> Metadata:
        """Take the metadata from a peer, and leave it: one that has none a while later."""
        self._peers.add(peer)
        try:
            return self._fetch(peer.wire)
        except MetadataNotAvailable:
            self._stay(peer)
            raise
        finally:
            self._peers.remove(peer)
            peer.wire.close(0)

    def _stay(self, peer: MetadataPeer) -> None:
        """Stay connected with a peer that has no metadata, and may arrange connections with others that have it."""
        holepunch = peer.wire.ext.get("ut_holepunch")
        if holepunch is not None and holepunch.supported:
            peer.has_none = True
            self._dialer.wake()
            with suppress(WireTimeout, WireClosed):
                peer.wire.wait_for("close", limits.METADATA_RELAY)

    def _fetch(self, wire: Wire) -> Metadata:
        info: bytes = wire.ut_metadata.fetch(limits.REQUEST_TIMEOUT, patience=limits.METADATA_PATIENCE)
        expected = self._source.info_hash_v2
        if expected is None:
            return Metadata(info)
        # In a thread: a torrent may have hundreds of thousands of files.
        torrent = in_thread(Torrent.from_info, info)
        if torrent.info_hash_v2 != expected:
            raise MetadataMismatch("the metadata is not that of both info hashes of the link")
        if expected[:20] not in (wire.info_hash, wire.wait_handshake().info_hash):
            # A hybrid can do without. libtorrent closes connections of version 1 on which it is asked for hashes,
            # even where both sides have said that they know version 2.
            return Metadata(info)
        fetch_layers(wire, torrent, self._roots(torrent), self._layers, limits.METADATA_PATIENCE)
        return Metadata(info, {root: self._layers[root] for root in torrent.missing_layers})

    def _roots(self, torrent: Torrent) -> list[bytes]:
        """The roots of the files whose layers are not known; first those of files that are wanted."""
        link, files = self._source, self._files
        try:
            chosen = in_thread(FileMap, torrent, files).selected if files is not None else range(len(torrent.files))
        except LookupError:
            return list(torrent.missing_layers)
        wanted = {
            torrent.files[index].pieces_root for index in chosen if not isinstance(link, Magnet) or link.selects(index)
        }
        return sorted(torrent.missing_layers, key=lambda root: root not in wanted)
