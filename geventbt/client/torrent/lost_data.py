"""Pieces that were verified and have gone, or may have: peers are informed, and what is on the disk is hashed again."""

from __future__ import annotations

import logging
from functools import partial

from bitarray import bitarray

from geventbt.client.context import ClientContext
from geventbt.client.swarm.swarm import Swarm
from geventbt.client.torrent.file_map import FileMap
from geventbt.concurrency.threads import in_thread
from geventbt.concurrency.turns import in_turns
from geventbt.errors import StorageError
from geventbt.storage import Storage

_log = logging.getLogger("geventbt")


def find_lost(
    context: ClientContext, storage: Storage, files: FileMap, swarm: Swarm | None, before: bitarray
) -> tuple[bitarray, bitarray]:
    """Withdraw the pieces that have left `Storage.have` from all peers, hash them, and announce those that are right.

    Blocks.

    Args:
        context: of the client.
        storage: the data.
        files: knows the pieces that were there before; kept up to date.
        swarm: the connected peers, or None.
        before: the pieces that were gone before, which are hashed as well.

    Returns:
        The pieces that are gone, and those that were found again.

    Raises:
        StorageError: nothing can be read for lack of descriptors.
    """
    lost = files.lost(storage.have)
    for piece in in_turns(lost.search(1)):
        files.note_lost(piece)
        if swarm is not None:
            swarm.withdraw(piece)
    with context.checking:
        lost |= before & ~storage.have
        in_thread(partial(storage.check, pieces=lost, on_error=ReadWarnings()))
    found = lost & storage.have
    for piece in in_turns(found.search(1)):
        files.note_verified(piece)
        if swarm is not None:
            swarm.announce(piece)
    return lost & ~found, found


class ReadWarnings:
    """Logs errors of the disk, one of each file.

    Attributes:
        first: the first of them; None without one.
    """

    def __init__(self) -> None:
        self.first: StorageError | None = None
        self._files: set[object] = set()

    def __call__(self, error: StorageError) -> None:
        """Log an error."""
        self.first = self.first or error
        if error.filename not in self._files:
            self._files.add(error.filename)
            _log.warning("cannot be read: %s", error)
