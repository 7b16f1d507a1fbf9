"""`WatchFolder`: torrents that are put into a folder are added.

A file is taken once it has been the same in two looks, so that it is whole, also over a network; then it is renamed, so
that it is not taken again.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import gevent

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.threads import in_thread
from geventbt.errors import GeventBTError, MetainfoError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.text import clean_text
from geventbt.service.session import AlreadyThere, Session

_log = logging.getLogger("geventbt")

_TORRENT, _MAGNET = ".torrent", ".magnet"
_ADDED, _INVALID = ".added", ".invalid"


class WatchFolder:
    """Looks into a folder now and then, until it is stopped.

    Args:
        session: takes the torrents.
        folder: the folder.
        interval: seconds between two looks.
        patience: seconds for what is not a torrent yet to become one.
    """

    def __init__(
        self, session: Session, folder: str | os.PathLike[str], *, interval: float = 2.0, patience: float = 60.0
    ) -> None:
        self._session = session
        self._interval = interval
        self._patience = patience
        self._folder = Path(folder)
        self._seen: dict[str, tuple[int, int]] = {}
        self._tried: dict[str, float] = {}
        self._error = ""
        self._greenlet = spawn(f"watching {folder}", self._run)

    def stop(self) -> None:
        """Look no more."""
        self._greenlet.kill()

    def _run(self) -> None:
        while True:
            try:
                self._look()
                self._error = ""
            except OSError as error:
                if str(error) != self._error:
                    _log.warning("the watch folder cannot be read: %s", error)
                self._error = str(error)
            gevent.sleep(self._interval)

    def _look(self) -> None:
        found = in_thread(_candidates, self._folder)
        whole = [name for name, status in found.items() if self._seen.get(name) == status]
        self._seen = found
        self._tried = {name: since for name, since in self._tried.items() if name in found}
        for name in whole:
            self._take(name)

    def _take(self, name: str) -> None:
        now = gevent.get_hub().loop.now()
        try:
            source = in_thread(_read, self._folder / name)
            self._session.add(source)
        except AlreadyThere:
            pass
        except (MetainfoError, OSError) as error:
            since = self._tried.setdefault(name, now)
            if now - since >= self._patience:
                _log.warning("%s in the watch folder is not a torrent: %s", clean_text(name), clean_text(str(error)))
                self._rename(name, _INVALID)
            return
        except (GeventBTError, ValueError) as error:
            _log.error("%s in the watch folder cannot be added: %s", clean_text(name), clean_text(str(error)))
            return
        self._rename(name, _ADDED)

    def _rename(self, name: str, ending: str) -> None:
        try:
            os.rename(self._folder / name, self._folder / f"{name}{ending}")
        except OSError as error:
            _log.warning("%s cannot be renamed: %s", clean_text(name), error)


def _candidates(folder: Path) -> dict[str, tuple[int, int]]:
    """The files that may be torrents, each with its size and time."""
    found = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith((_TORRENT, _MAGNET)) and not entry.name.startswith("."):
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and status.st_size:
                    found[entry.name] = status.st_size, status.st_mtime_ns
    return found


def _read(path: Path) -> Torrent | Magnet:
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        data = file.read(limits.TORRENT_FILE + 1)
    if path.suffix == _MAGNET:
        return Magnet.from_string(data.decode("utf-8", "replace").strip())
    return Torrent.from_bytes(data)
