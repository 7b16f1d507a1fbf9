"""The piece layers that a torrent of version 2 lacks, asked of a peer (BEP 52).

A .torrent file has them all. A magnet link has not: the info dictionary that peers send holds only the root of each
file, and the *piece layer* of a file of more than one piece is asked for in ranges, each with a proof that leads to the
root.
"""

from __future__ import annotations

from collections.abc import Iterable

from geventbt.client.swarm.hash_asker import HashAsker
from geventbt.metainfo import Torrent, merkle
from geventbt.wire.wire import Wire


def fetch_layers(
    wire: Wire, torrent: Torrent, roots: Iterable[bytes], layers: dict[bytes, bytes], timeout: float
) -> None:
    """Fetch piece layers from one peer; blocks until they are here and verified.

    Args:
        wire: a connection to it, after the handshake.
        torrent: the torrent.
        roots: the roots of the files, in the order in which their layers are asked for.
        layers: takes each as it comes, by its root; those that it has are not asked for.
        timeout: seconds for each range.

    Raises:
        GeventBTError: see `HashAsker`. What has come before is in `layers`.
    """
    asker = HashAsker(wire)
    level = merkle.level_of(torrent.geometry.blocks_per_piece)
    lengths = {file.pieces_root: file.length for file in torrent.files}
    for root in roots:
        if root not in layers:
            pieces = len(torrent.geometry.pieces_of(0, lengths[root]))
            layers[root] = asker.fetch_layer(root, pieces, level, timeout)
