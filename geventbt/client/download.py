"""A download as one call."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from typing import Literal

from geventbt import limits
from geventbt.arguments import check_seconds, given
from geventbt.client.client import Client
from geventbt.client.options import ConnectionOptions, Unpack
from geventbt.client.stall import wait_complete
from geventbt.client.torrent.file_map import FileRef
from geventbt.concurrency.hubs import whole_call
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import NamedAddress
from geventbt.storage import StorageFactory


@whole_call
def download(
    torrent: Torrent | Magnet | str | os.PathLike[str],
    folder: str | os.PathLike[str] = ".",
    *,
    peers: Iterable[NamedAddress] = (),
    files: Collection[FileRef] | None = None,
    sequential: bool = False,
    trackers: Iterable[str] = (),
    web_seeds: Iterable[str] | Literal[False] = (),
    port: int | None = 0,
    max_peers: int = limits.TORRENT_PEERS,
    limit_down: int | None = None,
    limit_up: int | None = None,
    storage: StorageFactory | None = None,
    check: bool = False,
    overwrite: bool = False,
    timeout: float | None = None,
    stall_timeout: float | None = None,
    **options: Unpack[ConnectionOptions],
) -> Torrent:
    """Fetch a torrent; blocks until every piece is verified and on disk. What is there already is not fetched again.

    Peers are those that are named, and those that trackers, the DHT, the local network and other peers name.

    Args:
        torrent: the torrent, the path of its .torrent file, a magnet link, or an info hash in hex.
        folder: where its file or folder is to be.
        peers: (host, port) or "host:port" of peers to fetch from.
        files: which files to fetch, by index, by path in the torrent, or as `TorrentFile`; None for all.
        sequential: fetch the pieces in their order.
        trackers: announce URLs, beside the torrent's own.
        web_seeds: URLs of web servers that have the files, beside the torrent's own; False to use none.
        port: to listen on; 0 takes a free one, None does not listen.
        max_peers: connections at one time.
        limit_down, limit_up: bytes a second; None for no limit.
        storage: makes the backend that keeps the data, see `Client.add`; None for files in the folder.
        check: hash all data at the start, also what the last run has recorded as right.
        overwrite: write over files that are not the torrent's, see `Client.add`.
        timeout: seconds for all of it; None for no limit. What is verified by then is kept.
        stall_timeout: seconds in which nothing comes; None for no limit.
        options: `encryption`, `dht`, `lsd`, `port_mapping`, `proxy`, `interface`, `ip_filter` and `transport`, as those
            of `Client`.

    Returns:
        The torrent.

    Raises:
        MetainfoError: not a torrent.
        NoPeersError: no peer is left before it is complete, and none can be found.
        DownloadTimeout: it was not complete in the given time, or nothing came for the given time.
        StorageError: the disk failed us.
        OSError: the .torrent file cannot be read, or the port is taken.
        TypeError: an option has another type.
    """
    check_seconds(**given(timeout=timeout, stall_timeout=stall_timeout))
    with Client(port, **options) as client:
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
