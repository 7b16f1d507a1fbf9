"""The file in which a DHT keeps its state across runs: whole or not at all, and never a reason to fail."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from geventbt import limits
from geventbt.concurrency.threads import in_thread
from geventbt.discovery.dht.state import SavedNode, decode_state, encode_state

_log = logging.getLogger("geventbt")


class StateFile:
    """One file.

    Args:
        path: the file; its folder is made when it is written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._is_reported = False

    def load(self) -> dict[int, SavedNode]:
        """The saved nodes by family; none if there is no such file, or if it is damaged."""
        try:
            data = in_thread(_read, self._path)
            return {} if data is None else decode_state(data)
        except ValueError as error:
            _log.warning("the state of the DHT in %s is damaged, and a new one begun: %s", self._path, error)
        except OSError as error:
            self._report("read", error)
        return {}

    def save(self, nodes: dict[int, SavedNode]) -> None:
        """Write them in the place of those that were there. A failure is logged once."""
        try:
            in_thread(_replace, self._path, encode_state(nodes))
        except OSError as error:
            self._report("written", error)

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


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        # There is none after success.
        with suppress(OSError):
            beside.unlink()
