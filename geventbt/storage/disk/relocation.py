"""Moves the data of a torrent to another folder, or to other names of its files.

On one file system each file is renamed. From another one, all are copied first, into our own folder there, so that a
full disk changes nothing; then they are put into their places, and the old ones deleted. A move that a kill has cut
short is finished by the same call again: what has its new place stays there.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from geventbt import limits
from geventbt.concurrency.replace_file import sync_folder
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.disk.disk_paths import DiskPaths
from geventbt.storage.disk.open_file import SAFE_OPEN_FLAGS, data_ranges, storage_errors
from geventbt.storage.disk.state_dir import StateDir

_ENDINGS = ("parts", "resume")
"""Our own files of a torrent; the record last, since it says what is there."""
_INCOMING = "incoming"
_STEP = 4 * limits.MIB


class Place(NamedTuple):
    """Where the data of a torrent is.

    Attributes:
        torrent: the torrent, with the names that its files have there.
        folder: the folder that its file or folder is in.
    """

    torrent: Torrent
    folder: str | os.PathLike[str]


class _Move(NamedTuple):
    """A file that is to be moved."""

    source: str
    target: str


def relocate(old: Place, new: Place) -> None:
    """Move all that is there of a torrent. Blocks until it is done.

    Args:
        old: where the data is, or a part of it; another program must not use it.
        new: where it is to be.

    Raises:
        StorageError: there is no room (``errno.ENOSPC``), another file is in the place of one (``errno.EEXIST``), a
            symbolic link is on the way, or the disk failed. The data is then where it was.
    """
    old_folder, new_folder = Path(os.path.abspath(old.folder)), Path(os.path.abspath(new.folder))
    with storage_errors(new_folder), _locked(new.torrent.swarm_hash, {old_folder, new_folder}) as state_dirs:
        moves = [move for move in _moves(old.torrent, old_folder, new.torrent, new_folder) if _is_due(move)]
        moves += [move for move in _own_files(state_dirs[old_folder], state_dirs[new_folder]) if _is_due(move)]
        _move_all(moves, state_dirs[new_folder].path(_INCOMING))
    for folder in sorted({os.path.dirname(move.source) for move in moves}, key=len, reverse=True):
        remove_empty(folder, old_folder)


def remove_empty(folder: str, top: Path) -> None:
    """Remove a folder, and those above it, as far as they are empty; not the one at the top."""
    while Path(folder) != top and Path(folder).is_relative_to(top):
        try:
            os.rmdir(folder)
        except OSError:
            return
        folder = os.path.dirname(folder)


@contextmanager
def _locked(info_hash: bytes, folders: Iterable[Path]) -> Iterator[dict[Path, StateDir]]:
    """Keep other programs away from the torrent in these folders."""
    state_dirs = {folder: StateDir(folder, info_hash) for folder in folders}
    with ExitStack() as stack:
        for state_dir in state_dirs.values():
            stack.callback(state_dir.close)
            state_dir.lock()
        yield state_dirs


def _moves(old: Torrent, old_folder: Path, new: Torrent, new_folder: Path) -> Iterator[_Move]:
    sources, targets = DiskPaths(old.files, old_folder), DiskPaths(new.files, new_folder)
    for index, file in enumerate(old.files):
        if file.stored and os.path.lexists(sources.path(index)):
            yield _Move(sources.to_write(index), targets.to_write(index))


def _own_files(old: StateDir, new: StateDir) -> Iterator[_Move]:
    for ending in _ENDINGS:
        if os.path.lexists(old.path(ending)):
            yield _Move(os.fspath(old.path(ending)), os.fspath(new.path(ending)))


def _is_due(move: _Move) -> bool:
    """Whether a file is still to be moved. One that was copied before, and not yet deleted, is deleted now.

    Raises:
        StorageError: it is not a file, or another one is in its new place.
    """
    if move.source == move.target:
        return False
    status = os.lstat(move.source)
    if not stat.S_ISREG(status.st_mode):
        raise StorageError(errno.EINVAL, "cannot be moved: not a regular file", move.source)
    if not os.path.lexists(move.target):
        return True
    there = os.lstat(move.target)
    if (there.st_size, there.st_mtime_ns) == (status.st_size, status.st_mtime_ns):
        os.unlink(move.source)
        return False
    raise StorageError(errno.EEXIST, "another file is in the place to which one of the torrent is moved", move.target)


def _move_all(moves: list[_Move], incoming: Path) -> None:
    shutil.rmtree(incoming, ignore_errors=True)
    far = [move for move in moves if _device_of(move.target) != os.lstat(move.source).st_dev]
    copies: dict[_Move, str] = {}
    done: list[_Move] = []
    try:
        _check_room(far)
        for move in far:
            copies[move] = _copy(move.source, incoming / str(len(copies)))
        for move in moves:
            os.makedirs(os.path.dirname(move.target), exist_ok=True)
            os.rename(copies.get(move, move.source), move.target)
            done.append(move)
        # The new names are to be safe before the old ones are deleted.
        for folder in {os.path.dirname(move.target) for move in moves}:
            sync_folder(folder)
    except BaseException:
        _undo(done, copies)
        raise
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    for move in copies:
        os.unlink(move.source)


def _undo(done: list[_Move], copies: dict[_Move, str]) -> None:
    for move in reversed(done):
        with suppress(OSError):
            if move in copies:
                os.unlink(move.target)
            else:
                os.rename(move.target, move.source)


def _device_of(path: str) -> int:
    """The device of a file that is not there yet."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return os.stat(path).st_dev


def _check_room(moves: list[_Move]) -> None:
    for move in moves[:1]:
        needed = sum(os.lstat(each.source).st_blocks * 512 for each in moves)
        place = move.target
        while not os.path.exists(place):
            place = os.path.dirname(place)
        if shutil.disk_usage(place).free < needed:
            raise StorageError(errno.ENOSPC, f"no room for {needed} bytes", place)


def _copy(source: str, target: Path) -> str:
    """Copy a file with its holes and its times, safe on the disk; by its times the record knows it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        open(os.open(source, os.O_RDONLY | SAFE_OPEN_FLAGS), "rb") as file,
        open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, 0o666), "wb") as copy,
    ):
        status = os.fstat(file.fileno())
        os.truncate(copy.fileno(), status.st_size)
        for start, end in data_ranges(file.fileno()):
            file.seek(start)
            copy.seek(start)
            while start < end and (part := file.read(min(end - start, _STEP))):
                copy.write(part)
                start += len(part)
        copy.flush()
        os.fchmod(copy.fileno(), stat.S_IMODE(status.st_mode))
        os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(copy.fileno())
    return os.fspath(target)
