"""`Client`: one port, and any number of torrents."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable
from functools import partial
from typing import Literal

import gevent

import geventbt
from geventbt import limits
from geventbt.arguments import (
    check_counts,
    check_paths,
    check_rates,
    check_seconds,
    check_texts,
    several,
    several_tiers,
)
from geventbt.client.arguments import checked_network, checked_urls, read_source, renamed
from geventbt.client.context import ClientContext
from geventbt.client.ending import Ending
from geventbt.client.options import ClientOptions, TorrentOptions
from geventbt.client.rate_group import RateGroup
from geventbt.client.services import ClientServices
from geventbt.client.torrent.active_torrent import ActiveTorrent
from geventbt.client.torrent.file_map import FileMap, FileRef
from geventbt.client.torrent.runner import TorrentRunner
from geventbt.client.torrent.table import TorrentTable
from geventbt.concurrency import descriptors
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.shield import shielded
from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import NamedAddress, named_addresses
from geventbt.net.ip_ranges import IPRanges
from geventbt.net.mapping.base import PortMapping
from geventbt.net.network import Network
from geventbt.storage import Place, StorageFactory
from geventbt.wire.listeners import ListeningSocket
from geventbt.wire.server import PeerServer
from geventbt.wire.transports.base import BOTH, TCP, TransportChoice, check_transport
from geventbt.wire.transports.encryption import PREFER, EncryptionPolicy, check_policy
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")


class Client:
    """Downloads and serves torrents, all on one port. A context manager: at its end everything is stopped.

    Any greenlet of the native thread that made it may use it, and its torrents; in another native thread what acts or
    waits raises RuntimeError.

    Args:
        port: to listen on; 0 takes a free one, None does not listen at all. Or a socket that listens already, as
            systemd and gunicorn hand it on; it is closed with the client.
        host: the address to listen on; "" is every interface over IPv4 and IPv6.
        reuse_port: whether other processes may share the port; see `geventbt.listen`. One of them should announce, and
            the others have neither trackers nor DHT.
        encryption: "prefer", "allow", "require" or "disable"; see `geventbt.connect` and `geventbt.listen`.
        max_connections: of all torrents together; fewer where the system allows the process too few descriptors.
        max_per_address: inbound connections of one IPv4 address, or one /64 of IPv6; None for no bound.
        exempt_loopback: whether that bound does not hold for this machine's own peers, such as a tunnel through which
            peers come.
        upload_slots: peers of each torrent that are unchoked at one time at the most: as many as the uplink feeds;
            None for no bound.
        limit_down, limit_up: bytes a second of all torrents together; None for no limit, 0 for nothing at all.
        dht: whether to find peers by the DHT, and be a node of it; or a `DHT`, which stays open when the client closes.
        lsd: whether to find peers in the local network (BEP 14), unless the client listens only to this machine.
        port_mapping: whether to have the router let peers through to us, by PCP, NAT-PMP or UPnP; see `port_mappings`.
        proxy: ``socks5://user:password@host:port`` or ``http://user:password@host:port``: everything goes through it or
            not at all. Names are looked up by the proxy. The client does not listen, there is no local discovery, and
            uTP, UDP trackers and the DHT only where a SOCKS5 proxy carries UDP.
        interface: the name of a device, such as "tun0", or an IP address of this machine: all sockets are bound to it.
            Names are looked up by name servers that are asked over it; see `GEVENTBT_NAME_SERVERS`.
        ip_filter: the path of a file of ranges of IP addresses (.p2p, .dat or CIDR, also packed by gzip), or ranges,
            such as "10.0.0.0/8" and "10.0.0.0-10.0.0.255": peers, nodes and servers there are left alone.
        network: a `Network` in place of the last three.
        transport: "tcp", "utp" (BEP 29) or "both", for connections either way; see `geventbt.connect`. With a proxy of
            HTTP it is TCP.

    Raises:
        OSError: the port is taken, or the address is not ours; there is no such interface; or the file of ranges cannot
            be read.
        TypeError: the socket is not a stream socket, or an option has another type.
        ValueError: not the URL of a proxy, or not ranges; the DHT does not use the same proxy and interface; or the
            socket does not listen.

    Attributes:
        torrents: the torrents, by info hash.
    """

    def __init__(
        self,
        port: int | ListeningSocket | None = 0,
        *,
        host: str = "",
        reuse_port: bool = False,
        encryption: EncryptionPolicy = PREFER,
        max_connections: int = limits.CONNECTIONS,
        max_per_address: int | None = limits.CONNECTIONS_PER_ADDRESS,
        exempt_loopback: bool = False,
        upload_slots: int | None = limits.UPLOAD_SLOTS,
        limit_down: int | None = None,
        limit_up: int | None = None,
        dht: bool | geventbt.DHT = True,
        lsd: bool = True,
        port_mapping: bool = True,
        proxy: str | None = None,
        interface: str | None = None,
        ip_filter: IPRanges | None = None,
        network: Network | None = None,
        transport: TransportChoice = BOTH,
    ) -> None:
        check_policy(encryption)
        check_transport(transport)
        check_texts(host=host)
        network = checked_network(network, proxy, interface, ip_filter, dht)
        descriptors.raise_limit()
        options = ClientOptions(
            port=None if network.is_proxied else port,
            host=host or network.host,
            reuse_port=reuse_port,
            encryption=encryption,
            max_connections=_affordable(max_connections),
            max_per_address=max_per_address,
            exempt_loopback=exempt_loopback,
            upload_slots=upload_slots,
            limit_down=limit_down,
            limit_up=limit_up,
            dht=dht,
            lsd=lsd,
            port_mapping=port_mapping,
            network=network,
            transport=transport if network.carries_udp else TCP,
        )
        self.torrents: dict[bytes, ActiveTorrent] = {}
        self._ending = Ending()
        self._table = TorrentTable()
        self._context = ClientContext(options, self._table.count_connections)
        self._services = ClientServices(options, self._context, self._table, self._accept)

    def __repr__(self) -> str:
        if self._ending.is_begun:
            return f"<{type(self).__name__} closed>"
        count = len(self.torrents)
        where = "not listening" if self.port is None else f"on port {self.port}"
        return f"<{type(self).__name__} {where}, {count} torrent{'s' if count != 1 else ''}>"

    @property
    def server(self) -> PeerServer | None:
        """What listens, or None."""
        return self._services.server

    @property
    def port(self) -> int | None:
        """Where peers can connect to us; None if we do not listen."""
        return self._context.port

    def listen_on(self, port: int) -> None:
        """Listen on another port from now on: over TCP and uTP, with a DHT that has the number of the old one.
        Trackers, the router and others are informed. Peers that have connected to the old port are left, and may come
        again.

        Args:
            port: the port; 0 for a free one.

        Raises:
            OSError: it is taken; all is as before.
            ValueError: the client does not listen.
        """
        self._context.check_thread()
        shielded(self._services.listen_on, port)

    @property
    def dht(self) -> geventbt.DHT | None:
        """The node of the DHT that finds peers; None if there is none."""
        return self._context.dht

    @property
    def encryption(self) -> EncryptionPolicy:
        """How connections are encrypted; see `Client`. May be set at any time, for connections that come later."""
        return self._context.encryption

    @encryption.setter
    def encryption(self, policy: EncryptionPolicy) -> None:
        self._context.check_thread()
        check_policy(policy)
        self._services.set_encryption(policy)

    @property
    def has_lsd(self) -> bool:
        """Whether peers are found in the local network."""
        return self._context.lsd is not None

    @property
    def has_port_mapping(self) -> bool:
        """Whether the router is asked to let peers through."""
        return self._context.mapper is not None

    @property
    def network(self) -> Network:
        """Opens all sockets; see `Network`."""
        return self._context.network

    @property
    def port_mappings(self) -> tuple[PortMapping, ...]:
        """The ports of the router that lead to us."""
        return self._context.mapper.mappings if self._context.mapper is not None else ()

    def set_ip_filter(self, ip_filter: IPRanges) -> None:
        """Put another filter in the place of the one that holds, and leave the peers that it blocks; see
        `Network.set_ip_filter`."""
        self._context.check_thread()
        network = self._context.network
        network.set_ip_filter(ip_filter)
        for runner in self._table:
            runner.leave_blocked(network)

    @property
    def default_trackers(self) -> list[list[str]]:
        """Announce URLs in tiers (BEP 12), to which all torrents that are not private announce besides their own. None
        at first; may be set at any time: those that are left are informed in the background."""
        return [list(tier) for tier in self._context.default_trackers]

    @default_trackers.setter
    def default_trackers(self, tiers: Iterable[Iterable[str]]) -> None:
        self._context.check_thread()
        self._context.default_trackers = several_tiers(tiers, "default_trackers")
        for runner in self._table:
            runner.sources.update_trackers()

    @property
    def peer_id(self) -> bytes:
        """Our 20 bytes."""
        return self._context.peer_id

    @property
    def max_connections(self) -> int:
        """Connections of all torrents together; may be set at any time."""
        return self._context.connections.max_connections

    @max_connections.setter
    def max_connections(self, value: int) -> None:
        self._context.check_thread()
        self._services.set_max_connections(_affordable(value))

    @property
    def limit_down(self) -> int | None:
        """The rate at which all torrents together receive, in bytes a second; None for no limit."""
        return self._context.down.rate

    @property
    def limit_up(self) -> int | None:
        """The rate at which all torrents together send, in bytes a second; None for no limit."""
        return self._context.up.rate

    def set_limits(self, *, down: int | None = None, up: int | None = None) -> None:
        """Set both rates of all torrents together, in bytes a second: None, or left out, for no limit, 0 for nothing at
        all."""
        self._context.check_thread()
        check_rates(down=down, up=up)
        self._context.set_limits(down, up)

    def rate_group(
        self, *, limit_down: int | None = None, limit_up: int | None = None, keeps_client_limits: bool = True
    ) -> RateGroup:
        """Make rates for some of the torrents together; see `ActiveTorrent.rate_group`.

        Args:
            limit_down, limit_up: bytes a second; None for no limit, 0 for nothing at all.
            keeps_client_limits: whether the limits of the client hold for them as well.
        """
        self._context.check_thread()
        return RateGroup(self._context, limit_down, limit_up, keeps_client_limits=keeps_client_limits)

    def add(
        self,
        torrent: Torrent | Magnet | str | os.PathLike[str],
        folder: str | os.PathLike[str] = ".",
        *,
        peers: Iterable[NamedAddress] = (),
        files: Collection[FileRef] | None = None,
        sequential: bool = False,
        trackers: Iterable[str] = (),
        web_seeds: Iterable[str] | Literal[False] = (),
        max_peers: int = limits.TORRENT_PEERS,
        limit_down: int | None = None,
        limit_up: int | None = None,
        storage: StorageFactory | None = None,
        fail_without_peers: bool = False,
        seed_only: bool = False,
        check: bool = False,
        overwrite: bool = False,
        move_from: Place | None = None,
        super_seeding: bool | None = None,
        ends_alone: bool | None = None,
        must_be_complete: bool | None = None,
    ) -> ActiveTorrent:
        """Add a torrent and begin at once: to look what is there, to fetch what is missing, to serve what is there.

        Args:
            torrent: the torrent, the path of its .torrent file, a magnet link, or an info hash in hex.
            folder: the folder that its file or folder is in, or is to be.
            peers: (host, port) or "host:port" of peers to connect to, beside those that trackers and other peers name.
            files: which files to fetch, by index, by path in the torrent, or as `TorrentFile`; None for all.
            sequential: fetch the pieces in their order.
            trackers: announce URLs, beside the torrent's own.
            web_seeds: URLs of web servers that have the files (BEP 19), beside the torrent's own; False to use none.
            max_peers: connections at one time.
            limit_down, limit_up: bytes a second of this torrent; None for no limit, 0 for nothing at all.
            storage: called with the torrent and the folder, in a native thread; returns the `StorageBackend` that keeps
                the data, such as `geventbt.MemoryBackend`. None for files in the folder.
            fail_without_peers: fail with NoPeersError when no peer is left and none can be found; else it waits.
            seed_only: fail with StorageError when anything is missing, and make no file.
            check: hash all data at the start, also what the last run has recorded as right.
            overwrite: write over files that are not the torrent's. By default it fails with StorageError
                (``errno.EEXIST``) if there is one in the place of one of its files: one that we have not made, and of
                which no piece is right.
            move_from: where the data is, or a part of it, and under which names: it is moved to the folder before
                anything else. If that fails, so does the torrent, and the data is where it was. A move that was cut
                short by the end of the program is finished by the same call.
            super_seeding: deal out the first copy when everything is there: show each leecher a few pieces, so that
                none leaves us twice before each has left once (BEP 16). None does so while we are the only seed that is
                seen, there are several leechers and no limit of the upload rate; True begins with the first leecher;
                False never does.
            ends_alone, must_be_complete: deprecated names of `fail_without_peers` and `seed_only`.

        Returns:
            The torrent, which runs until it is removed or the client closed. What is wrong with it is raised by its
            `wait`.

        Raises:
            MetainfoError: not a torrent; a MagnetError is one.
            ValueError: the client has this torrent already, or a peer is not a (host, port), or a web
                seed is not a URL of HTTP.
            OSError: the .torrent file cannot be read.
            TypeError: an option has another type.
        """
        self._context.check_thread()
        check_paths(folder=folder)
        options = TorrentOptions(
            peers=tuple(named_addresses(peers, "peers")),
            files=files if files is None else several(files, "files"),
            sequential=sequential,
            trackers=tuple(several(trackers, "trackers")),
            web_seeds=web_seeds if web_seeds is False else checked_urls(web_seeds),
            max_peers=max_peers,
            limit_down=limit_down,
            limit_up=limit_up,
            storage=storage,
            fail_without_peers=renamed("ends_alone", ends_alone, "fail_without_peers", fail_without_peers),
            seed_only=renamed("must_be_complete", must_be_complete, "seed_only", seed_only),
            check=check,
            overwrite=overwrite,
            move_from=move_from,
            super_seeding=super_seeding,
        )
        source = torrent if isinstance(torrent, (Torrent, Magnet)) else in_thread(read_source, torrent)
        return self._add(source, folder, options)

    def _add(self, source: Torrent | Magnet, folder: str | os.PathLike[str], options: TorrentOptions) -> ActiveTorrent:
        # In a thread: a torrent may have hundreds of thousands of files.
        file_map = in_thread(FileMap, source, options.files) if isinstance(source, Torrent) else None
        info_hash = source.swarm_hash
        if self._ending.is_begun:
            raise ValueError("the client is closed")
        if info_hash in self.torrents:
            raise ValueError(f"the client has this torrent already: {info_hash.hex()}")
        runner = TorrentRunner(self._context, source, folder, options, file_map)
        self._table.add(runner)
        active = self.torrents[info_hash] = ActiveTorrent(runner, self._remove)
        return active

    def _remove(self, torrent: ActiveTorrent, delete: bool) -> None:
        if self.torrents.get(torrent.info_hash) is torrent:
            del self.torrents[torrent.info_hash]
            shielded(partial(self._table.remove(torrent.info_hash).close, delete=delete))

    def serve_forever(self) -> None:
        """Block until the client is closed completely: trackers are informed, port and files are free."""
        self._context.check_thread()
        self._ending.wait()

    def close(self, timeout: float = limits.STOP_TIMEOUT) -> None:
        """Stop everything: tell trackers and peers, write and record what is verified. Idempotent.

        Args:
            timeout: seconds for each of it.
        """
        self._context.check_thread()
        check_seconds(timeout=timeout)
        self._ending.run(partial(self._close, timeout))

    def _close(self, timeout: float) -> None:
        runners = list(self._table)
        self._table.clear()
        self.torrents.clear()
        gevent.joinall([spawn(f"closing {runner.name!r}", runner.close, timeout) for runner in runners])
        self._services.close(timeout)

    def _accept(self, server: PeerServer, wire: Wire) -> None:
        """Hand an inbound peer to its torrent; what an untrusted peer does wrong is not logged as an error."""
        try:
            if wire.wait_handshake().peer_id == self._context.peer_id:
                self._context.own_addresses.note_origin(wire.remote_address)
                wire.close(0)
                return
            runner = None if wire.info_hash is None else self._table.runner_of(wire.info_hash)
            if runner is None:
                wire.close(0)
            else:
                runner.accept(wire)
        except (GeventBTError, OSError) as error:
            _log.debug("an inbound peer: %s", error)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _affordable(connections: int) -> int:
    """The number of connections of a client: as many as asked for, if there are descriptors for them."""
    check_counts(max_connections=connections)
    possible = descriptors.max_connections()
    if connections > possible:
        _log.info("at most %d connections, not %d: the limit of descriptors is too low", possible, connections)
    return min(connections, possible)
