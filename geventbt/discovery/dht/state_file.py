"""The file in which a DHT keeps its state across runs: whole or not at all, and never a reason to fail.

One node at a time has the file, and with it the id that is in it: two nodes with one id would each be taken for the
other by all the rest. Others begin with the nodes that it names.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from geventbt import limits
from geventbt.concurrency.file_lock import FileLock
from geventbt.concurrency.replace_file import replace_file
from geventbt.concurrency.threads import in_thread
from geventbt.discovery.dht.state import SavedNode, decode_state, encode_state

_log = logging.getLogger("geventbt")


class StateFile:
    """One file.

    Args:
        path: the file; its folder is made when it is written.

    Attributes:
        is_ours: whether the file was free when it was loaded, and its ids are for this node.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._lock = FileLock(self._path.with_name(f"{self._path.name}.lock"))
        self._is_reported = False
        self.is_ours = True

    def load(self) -> dict[int, SavedNode]:
        """The saved nodes by family; none if there is no such file, or if it is damaged."""
        try:
            data = in_thread(_read, self._path)
            if data is None:
                return {}
            self.is_ours = in_thread(self._take)
            return decode_state(data)
        except ValueError as error:
            _log.warning("the state of the DHT in %s is damaged, and a new one begun: %s", self._path, error)
        except OSError as error:
            self._report("read", error)
        return {}

    def save(self, nodes: dict[int, SavedNode]) -> None:
        """Write them in the place of those that were there, unless another node has the file. A failure is logged
        once."""
        try:
            if in_thread(self._take):
                in_thread(_write, self._path, encode_state(nodes))
        except OSError as error:
            self._report("written", error)

    def close(self) -> None:
        """Leave the file to other nodes."""
        self._lock.release()

    def _take(self) -> bool:
        try:
            return self._lock.take()
        except OSError:
            # Without locks, or where nothing can be written.
            return True

    def _report(self, what: str, error: OSError) -> None:
        if not self._is_reported:
            _log.warning("the state of the DHT in %s cannot be %s, and is not kept: %s", self._path, what, error)
        self._is_reported = True


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(limits.DHT_STATE_FILE)
    except FileNotFoundError:
        return None


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, data)
