"""Serving a torrent to whoever connects."""

from __future__ import annotations

import os
from collections.abc import Callable

from geventbt import limits
from geventbt.client.reading import BlockReader
from geventbt.client.threads import in_thread
from geventbt.errors import StorageError
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.metainfo import Torrent
from geventbt.peer_id import new_peer_id
from geventbt.server import PeerServer, listen
from geventbt.storage import Storage, locate
from geventbt.wire.opening import PREFER
from geventbt.wire.wire import Wire


def seed(
    torrent: Torrent | str | os.PathLike[str],
    data: str | os.PathLike[str],
    address: tuple[str, int] | int = 0,
    *,
    encryption: str = PREFER,
    max_connections: int = limits.CONNECTIONS,
    progress: Callable[[int, int], None] | None = None,
) -> PeerServer:
    """Check the data of a torrent, and serve it to any number of peers.

    Args:
        torrent: the torrent, or the path of its .torrent file.
        data: the file or folder itself, or the folder that holds it.
        address: (host, port) or a port to listen on; 0 takes a free one, see `server.server_port`.
        encryption: "prefer", "require" or "disable"; see `geventbt.listen`.
        max_connections: peers at one time.
        progress: called with (pieces checked, pieces) while the data is checked.

    Returns:
        A server that listens already. ``serve_forever()`` blocks, ``stop()`` ends it.

    Raises:
        MetainfoError: not a torrent.
        StorageError: the data is not there, cannot be read, or is not what the torrent says.
        OSError: the address is taken, or a file is missing.
    """
    if not isinstance(torrent, Torrent):
        torrent = Torrent.from_file(torrent)
    storage = Storage(torrent, locate(torrent, data))
    in_thread(storage.check, progress)
    if not storage.complete:
        storage.close()
        bad = torrent.geometry.pieces - storage.have.count()
        raise StorageError(
            f"{bad} of {torrent.geometry.pieces} pieces of {torrent.name!r} are missing or differ from the torrent"
        )
    seeder = Seeder(storage)
    server = listen(
        address,
        seeder.serve,
        info_hashes=[torrent.info_hash],
        encryption=encryption,
        max_connections=max_connections,
    )
    server.on("stop", lambda server: storage.close())
    return server


class Seeder:
    """Serves a complete torrent, one greenlet for each peer.

    Args:
        storage: holds every piece, verified.
    """

    def __init__(self, storage: Storage) -> None:
        self.peer_id = new_peer_id()
        self._storage = storage
        self._read_block = BlockReader(storage)

    def serve(self, wire: Wire) -> None:
        """Shake hands, offer everything, and answer requests until the peer leaves."""
        torrent = self._storage.torrent
        wire.use(lambda wire: UtMetadata(wire, torrent.info_bytes))
        wire.extended_handshake["upload_only"] = 1
        wire.handshake(torrent.info_hash, self.peer_id, geometry=torrent.geometry)
        if wire.has_fast:
            wire.have_all()
        else:
            wire.bitfield(self._storage.have)
        wire.unchoke()
        wire.serve(self._read_block)
