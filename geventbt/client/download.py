"""A download as one call."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Literal

from geventbt import limits
from geventbt.client.client import Client
from geventbt.client.stall import wait_complete
from geventbt.client.torrent.file_map import FileRef
from geventbt.concurrency.hubs import whole_call
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import Address
from geventbt.net.ip_ranges import IPRanges
from geventbt.storage import StorageFactory
from geventbt.wire.transports.base import BOTH, TransportChoice
from geventbt.wire.transports.encryption import PREFER, EncryptionPolicy

if TYPE_CHECKING:
    from geventbt.discovery.dht.dht import DHT


@whole_call
def download(
    torrent: Torrent | Magnet | str | os.PathLike[str],
    folder: str | os.PathLike[str] = ".",
    *,
    peers: Iterable[Address] = (),
    files: Collection[FileRef] | None = None,
    sequential: bool = False,
    trackers: Iterable[str] = (),
    web_seeds: Iterable[str] | Literal[False] = (),
    port: int | None = 0,
    encryption: EncryptionPolicy = PREFER,
    max_peers: int = limits.TORRENT_PEERS,
    limit_down: int | None = None,
    limit_up: int | None = None,
    storage: StorageFactory | None = None,
    check: bool = False,
    overwrite: bool = False,
    dht: bool | DHT = True,
    lsd: bool = True,
    port_mapping: bool = True,
    proxy: str | None = None,
    interface: str | None = None,
    ip_filter: IPRanges | None = None,
    transport: TransportChoice = BOTH,
    timeout: float | None = None,
    stall_timeout: float | None = None,
) -> Torrent:
    """Fetch a torrent; blocks until every piece is verified and on disk. What is there already is not fetched again.

    Peers are found by its trackers, by other peers, and by name. Without trackers it fails when no peer is left.

    Args:
        torrent: the torrent, the path of its .torrent file, or a magnet link.
        folder: where its file or folder is to be.
        peers: (host, port) of peers to fetch from.
        files: which files to fetch, by index, by path in the torrent, or as `TorrentFile`; None for all.
        sequential: fetch the pieces in their order.
        trackers: announce URLs, beside the torrent's own.
        web_seeds: URLs of web servers that have the files, beside the torrent's own; False to use none.
        port: to listen on; 0 takes a free one, None does not listen.
        encryption: "prefer", "allow", "require" or "disable"; see `geventbt.connect`.
        max_peers: connections at one time.
        limit_down, limit_up: bytes a second; None for no limit.
        storage: makes the backend that keeps the data, see `Client.add`; None for files in the folder.
        check: hash all data at the start, also what the last run has recorded as right.
        overwrite: write over files that are not the torrent's, see `Client.add`.
        dht: whether to find peers by the DHT; see `Client`.
        lsd: whether to find peers in the local network; see `Client`.
        port_mapping: whether to have the router let peers through to us; see `Client`.
        proxy, interface, ip_filter: where connections go through, come from, and do not go to; see `Client`.
        transport: "tcp", "utp" or "both"; see `Client`.
        timeout: seconds for all of it; None for no limit. What is verified by then is kept.
        stall_timeout: seconds in which nothing comes; None for no limit.

    Returns:
        The torrent.

    Raises:
        MetainfoError: not a torrent.
        NoPeersError: there are no trackers, and no peer could be reached, or all have left before it was complete.
        DownloadTimeout: it was not complete in the given time, or nothing came for the given time.
        StorageError: the disk failed us.
        OSError: the .torrent file cannot be read, or the port is taken.
    """
    with Client(
        port,
        encryption=encryption,
        dht=dht,
        lsd=lsd,
        port_mapping=port_mapping,
        proxy=proxy,
        interface=interface,
        ip_filter=ip_filter,
        transport=transport,
    ) as client:
        active = client.add(
            torrent,
            folder,
            peers=peers,
            files=files,
            sequential=sequential,
            trackers=trackers,
            web_seeds=web_seeds,
            max_peers=max_peers,
            limit_down=limit_down,
            limit_up=limit_up,
            storage=storage,
            check=check,
            overwrite=overwrite,
            fail_without_peers=True,
        )
        wait_complete(active, timeout, stall_timeout)
        return active.wait_metadata()
