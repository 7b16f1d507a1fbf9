"""Seeding as one call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

from geventbt import limits
from geventbt.arguments import check_paths
from geventbt.client.client import Client
from geventbt.client.options import ConnectionOptions, Unpack
from geventbt.handlers import check_handler
from geventbt.metainfo import Torrent
from geventbt.net.addresses import NamedAddress
from geventbt.storage import StorageFactory, locate
from geventbt.wire.listeners import host_and_port

_LOOK = 0.1


def seed(
    torrent: Torrent | str | os.PathLike[str],
    data: str | os.PathLike[str] = ".",
    address: NamedAddress | int = 0,
    *,
    trackers: Iterable[str] = (),
    peers: Iterable[NamedAddress] = (),
    max_connections: int = limits.CONNECTIONS,
    upload_slots: int | None = None,
    limit_up: int | None = None,
    storage: StorageFactory | None = None,
    check: bool = False,
    super_seeding: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Unpack[ConnectionOptions],
) -> Client:
    """Check the data of a torrent, and serve it to any number of peers. It is announced to its trackers.

    Args:
        torrent: the torrent, or the path of its .torrent file.
        data: the file or folder itself, or the folder that holds it.
        address: (host, port), "host:port" or a port to listen on; 0 takes a free one, see `Client.port`.
        trackers: announce URLs, beside the torrent's own.
        peers: (host, port) or "host:port" of peers to connect to.
        max_connections: peers at one time; of one address at most 100, but any number of this machine.
        upload_slots: peers that are served at one time, at the most: as many as the uplink feeds; None for no bound.
        limit_up: bytes a second; None for no limit.
        storage: makes the backend that has the data, see `Client.add`; `data` is then its folder, and need not exist.
        check: hash all data, also what the last run has recorded as right.
        super_seeding: deal out the first copy (BEP 16); see `Client.add`.
        progress: called with (pieces checked, pieces) while the data is checked.
        options: `encryption`, `dht`, `lsd`, `port_mapping`, `proxy`, `interface`, `ip_filter` and `transport`, as those
            of `Client`.

    Returns:
        A client that serves already. ``serve_forever()`` blocks, ``close()`` ends it.

    Raises:
        MetainfoError: not a torrent.
        StorageError: the data is not there, cannot be read, or is not what the torrent says.
        OSError: the address is taken, or a file is missing.
    """
    check_paths(data=data)
    if progress is not None:
        check_handler(progress, "progress")
    if not isinstance(torrent, Torrent):
        check_paths(torrent=torrent)
        torrent = Torrent.from_file(torrent)
    folder = data if storage is not None else locate(torrent, data)
    host, port, *_ = host_and_port(address)
    client = Client(
        port,
        host=host,
        max_connections=max_connections,
        # All peers may come through a tunnel or proxy of this machine.
        exempt_loopback=True,
        upload_slots=upload_slots,
        **options,
    )
    try:
        active = client.add(
            torrent,
            folder,
            peers=peers,
            trackers=trackers,
            max_peers=max_connections,
            limit_up=limit_up,
            storage=storage,
            check=check,
            super_seeding=super_seeding,
            seed_only=True,
        )
        while not active.wait(_LOOK):
            if progress is not None:
                progress(active.progress.checked, torrent.geometry.pieces)
    except BaseException:
        client.close()
        raise
    return client
