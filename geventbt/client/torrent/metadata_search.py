"""From a magnet link to a torrent: fetching the metadata from peers, some of which may lie (BEP 9), or by HTTP."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.client.context import ClientContext
from geventbt.client.options import ClientOptions
from geventbt.client.peers.finder import Finder, checked
from geventbt.client.peers.known_peers import KnownPeers, Source
from geventbt.client.swarm.dialer import Dialer
from geventbt.client.swarm.piece_layers import fetch_layers
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.metadata import Metadata
from geventbt.client.torrent.metadata_urls import MetadataURLs
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.hubs import whole_call
from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError, MetadataMismatch, NoPeersError, WireTimeout
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.magnet import link_of_hash
from geventbt.net.addresses import Address
from geventbt.net.network import DIRECT, Network
from geventbt.wire.transports.encryption import PREFER, EncryptionPolicy, check_policy
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT
    from geventbt.discovery.dht.source import DHTSource

_log = logging.getLogger("geventbt")

_TICK = 1.0
"""Seconds between two looks whether any peer is left to ask, and more are to be found."""


@whole_call
def fetch_metadata(
    magnet: Magnet | str,
    *,
    peers: Iterable[Address] = (),
    timeout: float = limits.REQUEST_TIMEOUT,
    encryption: EncryptionPolicy = PREFER,
    dht: bool | DHT = True,
    network: Network = DIRECT,
) -> Torrent:
    """Make a torrent of a magnet link: blocks until a peer or URL has given the metadata, verified by the info
    hash.

    Args:
        magnet: the link, or an info hash in hex; peers in the link (x.pe) and the URLs of its .torrent file (xs, as)
            are asked as well.
        peers: (host, port) of peers to ask, `limits.METADATA_SOURCES` of them at a time.
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
    """
    if isinstance(magnet, str):
        magnet = Magnet.from_string(link_of_hash(magnet) or magnet)
    check_policy(encryption)
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
            finder.add_by_user(checked([*peers, *magnet.peers]))
            metadata = search.run()
        finally:
            search.stop()
            finder.stop(0)
            if own_dht is not None:
                own_dht.close()
    return metadata.torrent([[tracker] for tracker in magnet.trackers], magnet.web_seeds)


def _make_dht(network: Network) -> DHT:
    """A node that only asks; imported here, as in `geventbt.client.client.open_dht`."""
    from geventbt.discovery.dht.dht import DHT

    return DHT(read_only=True, network=network)


def _dht_source(dht: DHT, info_hash: bytes, finder: Finder) -> DHTSource:
    """A source that searches without an announce."""

    from random import Random

    from geventbt.discovery.dht.source import DHTSource

    def add(peers: list[Address], node: str) -> None:
        finder.add(peers, Source.DHT, node, info_hash=info_hash)

    return DHTSource(dht, info_hash, add, port=lambda: None, is_seed=lambda: False, rng=Random())


class MetadataSearch:
    """Fetches the metadata of a torrent from the peers that become known, and from those that connect to us.

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
        self._dialer = Dialer(context, source.swarm_hash, known, self)
        self._urls = MetadataURLs(source, context.network, news)
        self._files = files
        # What one peer has given before it left is not asked of the next one; each is verified by its root.
        self._layers: dict[bytes, bytes] = {}
        self._downloader: gevent.Greenlet | None = None
        self._answer: Metadata | None = None
        self._asking: dict[gevent.Greenlet, _Source] = {}
        self._inbound: dict[Wire, _Source] = {}
        self._is_started = False
        self._failure: Exception | None = None

    @property
    def connections(self) -> int:
        """The number of peers that are connected, or being connected to."""
        return len(self._asking) + len(self._inbound) + self._dialer.dialling

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
        for wire in list(self._inbound):
            wire.close(0)

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
        is_exhausted = not self._finder.can_find_more and self._dialer.is_exhausted(1) and not self._urls.is_pending
        if self._fail_without_peers and is_exhausted:
            failure = self._failure or self._dialer.last_failure or self._urls.failure
            raise NoPeersError(f"no peer gave the metadata: {failure}" if failure else "no peers to ask for metadata")

    # ------------------------------------------------------------------ peers

    def has_room(self) -> bool:
        """Whether one more peer may be asked; see `DialerOwner`."""
        asking = self._active(self._asking.values()) + self._dialer.dialling
        is_full = asking >= limits.METADATA_SOURCES or len(self._asking) >= limits.METADATA_ASKED
        return self._answer is None and not is_full and self.connections < self._max_peers

    def make_room(self) -> bool:
        """Have another torrent leave a peer that is of no use; see `DialerOwner`."""
        return self.has_room() and self._context.connections.make_room(self._context.now())

    def shake_hands(self, wire: Wire, info_hash: bytes) -> None:
        """Exchange handshakes; see `DialerOwner`."""
        wire.use(UtMetadata)
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
        self._asking[current] = _Source(wire, self._context.now())
        try:
            metadata = self._fetch(wire)
        except (GeventBTError, OSError) as error:
            _log.info("no metadata from %s:%s: %s", *address, error)
            self._failure = error
            self._known.closed(address, self._context.now(), worked=False)
        else:
            self._take(metadata)
        finally:
            self._asking.pop(current, None)
            # A peer that gave it, or was not waited for, is connected to again at once, for the data; it may refuse
            # that, not having noticed that the first connection is over.
            self._known.released(address, self._context.now(), worked=self._answer is not None)
            self._dialer.wake()

    def accept(self, wire: Wire) -> None:
        """Ask a peer that has connected to us; blocks until it has answered. It is connected to later, for the data, if
        it says where it listens. Raises: see `Wire.handshake` and `UtMetadata.fetch`."""
        if (
            self._answer is not None
            or not self._is_started
            or self._active(self._inbound.values()) >= limits.METADATA_SOURCES
            or len(self._inbound) >= limits.METADATA_ASKED
            or self.connections >= self._max_peers
            or not self._context.connections.has_room()
        ):
            wire.close(0)
            return
        self._inbound[wire] = _Source(wire, self._context.now())
        try:
            self.shake_hands(wire, wire.wait_handshake().info_hash)
            self._take(self._fetch(wire))
        finally:
            self._inbound.pop(wire, None)
            wire.close(0)
            host, port = wire.remote_address[0], wire.peer_extended_handshake.get("p")
            self._known.add((host, port), Source.INBOUND, self._context.now(), reported_by=host)

    def _fetch_by_url(self) -> None:
        metadata = self._urls.fetch()
        if metadata is not None:
            self._take(metadata)

    def _active(self, sources: Iterable[_Source]) -> int:
        now = self._context.now()
        return sum(source.is_active(now) for source in sources)

    def _fetch(self, wire: Wire) -> Metadata:
        """Take the metadata from a peer, and leave it."""
        try:
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
        finally:
            wire.close(0)

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


class _Source:
    """A peer that metadata is awaited from, and when it last gave a piece."""

    def __init__(self, wire: Wire, now: float) -> None:
        self._wire = wire
        self._received = 0
        self._since = now

    def is_active(self, now: float) -> bool:
        """Whether it gives metadata, or may be about to: a silent one must not hold the place of a good one."""
        received = self._wire.ut_metadata.received if "ut_metadata" in self._wire.ext else 0
        if received != self._received:
            self._received, self._since = received, now
        return now - self._since < limits.METADATA_SILENCE
