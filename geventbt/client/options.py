"""Options of a client and of its torrents, as `Client`, `Client.add`, `download` and `seed` take them."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypedDict

import geventbt
from geventbt import limits
from geventbt.arguments import check_counts, check_flags, check_instances, check_rates, given
from geventbt.client.torrent.file_map import FileRef
from geventbt.handlers import check_handler
from geventbt.net.addresses import Address
from geventbt.net.ip_ranges import IPRanges
from geventbt.net.network import DIRECT, Network
from geventbt.storage import Place, StorageFactory
from geventbt.wire.listeners import ListeningSocket
from geventbt.wire.transports.base import BOTH, TransportChoice
from geventbt.wire.transports.encryption import PREFER, EncryptionPolicy

if sys.version_info >= (3, 11):
    from typing import Unpack as Unpack
else:
    from typing_extensions import Unpack as Unpack


class ConnectionOptions(TypedDict, total=False):
    """Options that `download` and `seed` hand on to their client. `Client` says what each means, and its default."""

    encryption: EncryptionPolicy
    dht: bool | geventbt.DHT
    lsd: bool
    port_mapping: bool
    proxy: str | None
    interface: str | None
    ip_filter: IPRanges | None
    transport: TransportChoice


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Options of a client.

    Attributes:
        port: to listen on, 0 for a free one; or a socket that listens already; None does not listen.
        host: the address to listen on; "" for every interface.
        reuse_port: whether other processes may share the port.
        encryption: "prefer", "allow", "require" or "disable"; see `geventbt.connect`.
        max_connections: connections of all torrents together.
        max_per_address: inbound connections of one IPv4 address, or one /64 of IPv6; None for no bound.
        exempt_loopback: whether that bound does not hold for this machine's own peers.
        upload_slots: peers of each torrent that are unchoked at one time, at the most; see `Client`.
        limit_down, limit_up: bytes a second of all torrents together; None for no limit.
        dht: whether to have a node of the DHT; or one that is there.
        lsd: whether to find peers in the local network (BEP 14).
        port_mapping: whether to have the router let peers through.
        network: opens all sockets.
        transport: "tcp", "utp" or "both"; see `geventbt.connect`.
    """

    port: int | ListeningSocket | None = 0
    host: str = ""
    reuse_port: bool = False
    encryption: EncryptionPolicy = PREFER
    max_connections: int = limits.CONNECTIONS
    max_per_address: int | None = limits.CONNECTIONS_PER_ADDRESS
    exempt_loopback: bool = False
    upload_slots: int | None = limits.UPLOAD_SLOTS
    limit_down: int | None = None
    limit_up: int | None = None
    dht: bool | geventbt.DHT = True
    lsd: bool = True
    port_mapping: bool = True
    network: Network = DIRECT
    transport: TransportChoice = BOTH

    def __post_init__(self) -> None:
        check_flags(
            reuse_port=self.reuse_port,
            exempt_loopback=self.exempt_loopback,
            lsd=self.lsd,
            port_mapping=self.port_mapping,
        )
        check_counts(**given(max_per_address=self.max_per_address, upload_slots=self.upload_slots))
        check_rates(limit_down=self.limit_down, limit_up=self.limit_up)


@dataclass(frozen=True, slots=True)
class TorrentOptions:
    """Options of a torrent.

    Attributes:
        peers: (host, port) of peers to connect to, besides those that are found.
        files: the files to fetch; None for all.
        sequential: whether pieces are fetched in order of their index.
        trackers: announce URLs, besides the torrent's own.
        web_seeds: URLs of web seeds, besides the torrent's own; False to use none at all.
        max_peers: connections at one time.
        limit_down, limit_up: bytes a second of this torrent; None for no limit.
        storage: makes the backend that keeps the data; None for files in the folder.
        fail_without_peers: whether to fail when no peer is left and none can be found.
        seed_only: whether to fail when a piece is missing, and to make no file.
        check: whether to hash all data at the start, also what the record says is right.
        overwrite: whether a file that is not the torrent's may be overwritten.
        move_from: where the data is moved from at first; None if it stays where it is.
        super_seeding: whether a seed deals out the first copy (BEP 16), from the first leecher on; None to do so where
            it is the only seed of several leechers.
    """

    peers: tuple[Address, ...] = ()
    files: Collection[FileRef] | None = None
    sequential: bool = False
    trackers: tuple[str, ...] = ()
    web_seeds: tuple[str, ...] | Literal[False] = ()
    max_peers: int = limits.TORRENT_PEERS
    limit_down: int | None = None
    limit_up: int | None = None
    storage: StorageFactory | None = None
    fail_without_peers: bool = False
    seed_only: bool = False
    check: bool = False
    overwrite: bool = False
    move_from: Place | None = None
    super_seeding: bool | None = None

    def __post_init__(self) -> None:
        check_flags(
            sequential=self.sequential,
            fail_without_peers=self.fail_without_peers,
            seed_only=self.seed_only,
            check=self.check,
            overwrite=self.overwrite,
            **given(super_seeding=self.super_seeding),
        )
        check_counts(max_peers=self.max_peers)
        check_rates(limit_down=self.limit_down, limit_up=self.limit_up)
        if self.storage is not None:
            check_handler(self.storage, "storage")
        check_instances(Place, **given(move_from=self.move_from))
