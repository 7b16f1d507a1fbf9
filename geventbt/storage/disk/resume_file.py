"""The resume file of one torrent on the disk. It is replaced as a whole, and only ever says what is true at any time.

The files that are ours are recorded before they get their length or a byte of data: whatever a kill leaves in them, a
restart recognises them. Until then they are empty, and an empty file is never refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from bitarray import bitarray

from geventbt.concurrency.native import new_lock
from geventbt.metainfo import Torrent
from geventbt.storage.disk import resume
from geventbt.storage.disk.resume import Resume
from geventbt.storage.disk.state_dir import StateDir

_ENDING = "resume"


class ResumeFile:
    """Reads and replaces the resume file. Its methods may be called from several threads at once, and take no other
    lock while they have theirs. Nothing is written before the torrent is locked.

    Args:
        torrent: the torrent.
        state_dir: the folder that it is in.

    Attributes:
        made: the inodes of the files that are ours, by their indices: of this run and, once loaded, of earlier ones.
        kept_out: indices of the files in whose place there is a file that is not ours.
    """

    def __init__(self, torrent: Torrent, state_dir: StateDir) -> None:
        self.made: dict[int, int] = {}
        self.kept_out: set[int] = set()
        self._torrent = torrent
        self._state_dir = state_dir
        self._digest = b""
        self._is_loaded = False
        self._writing = new_lock()

    @property
    def exists(self) -> bool:
        """Whether there is one."""
        return self._state_dir.path(_ENDING).exists()

    def load(self) -> Resume:
        """The contents; those of an empty one where there is none, or none that is valid."""
        with self._writing:
            return self._read()

    def write(self, content: Resume) -> None:
        """Replace it, if that changes anything.

        Raises:
            StorageError: it cannot be written. The old one is then still there.
        """
        with self._writing:
            if not self._is_loaded:
                self._read()
            self._write(content)

    def note_made(self, inodes: Mapping[int, int], kept_out: Collection[int] = ()) -> None:
        """Record files that are ours from now on, and files that are not, before anything is written.

        Args:
            inodes: their inodes, by their indices.
            kept_out: indices of the files in whose place there is a file that is not ours.

        Raises:
            StorageError: they cannot be recorded.
        """
        with self._writing:
            if self._state_dir.locked and not self._is_loaded:
                self._read()
            before = self.made, self.kept_out
            self.made, self.kept_out = {**self.made, **inodes}, self.kept_out | set(kept_out)
            if not self._state_dir.locked or (self.made, self.kept_out) == before:
                return
            try:
                self._write(self._read())
            except BaseException:
                self.made, self.kept_out = before
                raise

    def forget_made(self, index: int) -> None:
        """A file is no longer the one that was made; not recorded before the next write."""
        with self._writing:
            self.made.pop(index, None)

    def withdraw(self, pieces: bitarray) -> bool:
        """Take pieces out. Returns whether any was recorded.

        Raises:
            StorageError: it cannot be written.
        """
        with self._writing:
            recorded = self._read()
            if not (recorded.have & pieces).any():
                return False
            recorded.have &= ~pieces
            self._write(recorded)
            return True

    def _read(self) -> Resume:
        data = self._state_dir.read(_ENDING, resume.largest(self._torrent))
        self._digest = hashlib.sha256(data or b"").digest()
        recorded = resume.decode(self._torrent, data)
        if not self._is_loaded:
            self._is_loaded = True
            self.made = {**recorded.made, **self.made}
            self.kept_out |= recorded.kept_out
        return recorded

    def _write(self, content: Resume) -> None:
        content.made, content.kept_out = self.made, self.kept_out
        data = resume.encode(self._torrent, content)
        digest = hashlib.sha256(data).digest()
        if digest != self._digest:
            self._state_dir.replace(_ENDING, data)
            self._digest = digest
