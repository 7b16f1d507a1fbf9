"""The folder for the state of a service: each file is, at any moment and after a crash of the machine, the old one or
the new one.

::

    lock                    the process that uses the folder
    session.json            see `ServiceRecord`
    torrents/HASH.json      see `TorrentRecord`
    torrents/HASH.torrent   the torrent, or
    torrents/HASH.magnet    the link to it, until its metadata is here

A torrent is there with its .torrent or .magnet file: that is written first, and deleted last. Which pieces are verified
is recorded beside the data; see `Storage.checkpoint`. All methods block on the disk.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

from geventbt.concurrency.file_lock import FileLock
from geventbt.concurrency.replace_file import replace_file, sync_folder
from geventbt.errors import GeventBTError, StorageError
from geventbt.metainfo import Magnet, Torrent
from geventbt.service.record import ServiceRecord, TorrentRecord

_log = logging.getLogger("geventbt")

_NAME = re.compile(r"([0-9a-f]{40})\.(torrent|magnet)")
_BAD = "bad"
"""What is put behind the name of a file that cannot be read: nothing is thrown away."""


class StateStore:
    """Reads and replaces the files of a service. One process at a time has it, until `close`.

    Args:
        folder: the folder, which is made where it is missing.

    Raises:
        StorageError: another process has it (``errno.EBUSY``), or it cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(os.path.abspath(folder))
        self._torrents = self.folder / "torrents"
        self._written: dict[Path, int] = {}
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._torrents.mkdir(mode=0o700, exist_ok=True)
            self._lock = FileLock(self.folder / "lock", mode=0o600)
            is_ours = self._lock.take()
        except OSError as error:
            raise StorageError(error.errno, error.strerror, os.fspath(self.folder)) from error
        if not is_ours:
            raise StorageError(errno.EBUSY, "another daemon uses this folder", os.fspath(self.folder))

    def close(self) -> None:
        """Leave the folder to other processes."""
        self._lock.release()

    def load_service(self) -> ServiceRecord:
        """What is kept of the service; where nothing is, or it cannot be read, that of a new one."""
        path = self.folder / "session.json"
        data = _read(path)
        if data is not None:
            try:
                return ServiceRecord.decode(data)
            except ValueError as error:
                self._put_aside(path, error)
        return ServiceRecord()

    def save_service(self, record: ServiceRecord) -> None:
        """Write what is kept of the service. Raises StorageError."""
        self._replace(self.folder / "session.json", record.encode())

    def load(self) -> Iterator[tuple[Torrent | Magnet, TorrentRecord | None]]:
        """All torrents, each with what is kept of it; None where that is missing or cannot be read."""
        found: dict[str, str] = {}
        for name in sorted(os.listdir(self._torrents)):
            match = _NAME.fullmatch(name)
            # A .torrent comes after its .magnet, and holds in its place.
            if match:
                found[match[1]] = name
        for hex_hash, name in found.items():
            source = self._load_source(self._torrents / name)
            if source is not None:
                yield source, self._load_record(self._torrents / f"{hex_hash}.json")

    def add(self, source: Torrent | Magnet, record: TorrentRecord) -> None:
        """Keep a torrent. Raises StorageError."""
        self._replace(self._path(source.swarm_hash, "json"), record.encode())
        self.save_source(source)

    def save_source(self, source: Torrent | Magnet) -> None:
        """Keep the metadata of a torrent, or the link to it. Raises StorageError."""
        if isinstance(source, Torrent):
            self._replace(self._path(source.swarm_hash, "torrent"), source.to_bytes())
            self._path(source.swarm_hash, "magnet").unlink(missing_ok=True)
        else:
            self._replace(self._path(source.swarm_hash, "magnet"), str(source).encode())

    def save(self, info_hash: bytes, record: TorrentRecord) -> None:
        """Write what is kept of a torrent, if it has changed. Raises StorageError."""
        self._replace(self._path(info_hash, "json"), record.encode())

    def remove(self, info_hash: bytes) -> None:
        """Forget a torrent. Raises StorageError."""
        try:
            for ending in ("magnet", "torrent", "json"):
                path = self._path(info_hash, ending)
                self._written.pop(path, None)
                path.unlink(missing_ok=True)
            sync_folder(self._torrents)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, os.fspath(path)) from error

    def torrent_path(self, info_hash: bytes) -> Path:
        """Where the .torrent file of a torrent is, or would be."""
        return self._path(info_hash, "torrent")

    def _path(self, info_hash: bytes, ending: str) -> Path:
        return self._torrents / f"{info_hash.hex()}.{ending}"

    def _load_source(self, path: Path) -> Torrent | Magnet | None:
        data = _read(path)
        try:
            if data is None:
                raise ValueError("cannot be read")
            return Torrent.from_bytes(data) if path.suffix == ".torrent" else Magnet.from_string(data.decode())
        except (GeventBTError, ValueError) as error:
            self._put_aside(path, error)
            return None

    def _load_record(self, path: Path) -> TorrentRecord | None:
        data = _read(path)
        if data is None:
            return None
        self._written[path] = hash(data)
        try:
            return TorrentRecord.decode(data)
        except ValueError as error:
            self._put_aside(path, error)
            return None

    def _put_aside(self, path: Path, error: Exception) -> None:
        aside = path.with_name(f"{path.name}.{_BAD}")
        _log.error("%s cannot be used: %s; it is kept as %s", path, error, aside.name)
        self._written.pop(path, None)
        try:
            os.replace(path, aside)
        except OSError as failure:
            _log.error("%s cannot be renamed: %s", path, failure)

    def _replace(self, path: Path, data: bytes) -> None:
        """Replace a file as a whole, if that changes anything."""
        if self._written.get(path) == hash(data):
            return
        try:
            replace_file(path, data, mode=0o600)
        except OSError as error:
            raise StorageError(error.errno, error.strerror, os.fspath(path)) from error
        if path.suffix == ".json":
            self._written[path] = hash(data)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
