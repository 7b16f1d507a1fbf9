"""Records which pieces are on the disk, so that a restart need not hash everything.

A checkpoint is true even if the process or the machine is killed at any moment: it has only pieces that were synced
before, and the fingerprint of a file only if no other program has changed it since its pieces were verified. Every
later change, by us or by others, changes the fingerprint, and the pieces of the file are then hashed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bitarray import bitarray
from bitarray.util import zeros

from geventbt.concurrency.native import new_lock
from geventbt.errors import StorageError
from geventbt.metainfo import Torrent
from geventbt.storage.disk.file_mapper import FileMapper
from geventbt.storage.disk.ownership import Ownership
from geventbt.storage.disk.record import FileRecord, Fingerprint
from geventbt.storage.disk.resume import Resume
from geventbt.storage.disk.resume_file import ResumeFile
from geventbt.storage.layout import Layout


class Recorder:
    """Keeps the resume file of one torrent.

    Args:
        torrent: the torrent.
        layout: its layout.
        mapper: where its bytes are. `restore`, and a checkpoint that misses a file, change its `have`.
        resume_file: the resume file.
        ownership: knows which files are ours.
    """

    def __init__(
        self, torrent: Torrent, layout: Layout, mapper: FileMapper, resume_file: ResumeFile, ownership: Ownership
    ) -> None:
        self._torrent = torrent
        self._layout = layout
        self._mapper = mapper
        self._files = mapper.files
        self._resume_file = resume_file
        self._ownership = ownership
        # Taken before all other locks.
        self._recording = new_lock()

    def restore(self) -> bitarray:
        """Trust the recorded pieces of files with the recorded fingerprints. Returns the pieces that must be hashed."""
        recorded = self._resume_file.load()
        self._mapper.recall_kept_out()
        suspect = zeros(len(self._mapper.have), "big")
        changed: list[int] = []
        parts_same = self._is_same(self._mapper.parts, recorded.parts)
        for index, file in enumerate(self._torrent.files):
            if not file.stored:
                continue
            if self._mapper.in_parts(index):
                same = parts_same and index in recorded.in_parts
            else:
                same = self._is_same(index, recorded.fingerprints.get(index))
            pieces = self._layout.pieces(file)
            if not same:
                suspect[pieces.start : pieces.stop] = True
                changed.append(index)
            elif recorded.have[pieces.start : pieces.stop].any():
                self._ownership.recorded.add(index)
        self._mapper.have[:] = recorded.have & ~suspect
        suspect &= self._mapper.possible()
        for index in changed:
            # Until its pieces have been hashed: they must be suspect at the next start, too.
            pieces = self._layout.pieces(self._torrent.files[index])
            self._files.record(index).externally_modified = bool(suspect[pieces.start : pieces.stop].any())
        return suspect

    def checkpoint(self) -> None:
        """Sync what was written, and record it. An error is raised after all the rest has been done."""
        with self._recording:
            # First fingerprints, then pieces: a file that is written to in between is only hashed once more.
            now = self._trusted()
            now.have = self._mapper.have.copy()
            errors = [self._sync(index, record, now) for index, record in self._files.records() if record.unsynced]
            self._resume_file.write(now)
        error = next(filter(None, errors), None)
        if error is not None:
            raise error

    def withdraw(self, pieces: bitarray) -> bool:
        """Take pieces out of the record. Returns whether any was in it."""
        with self._recording:
            return self._resume_file.withdraw(pieces)

    @contextmanager
    def verifying(self, pieces: bitarray) -> Iterator[None]:
        """Enclose a check of pieces. Files of which no other piece is trusted get the fingerprint from before it."""
        others = self._mapper.have & ~pieces
        renewed: list[tuple[FileRecord, Fingerprint | None]] = []
        for index, file in enumerate(self._torrent.files):
            of_file = self._layout.pieces(file)
            if file.stored and not others[of_file.start : of_file.stop].any():
                renewed.append((self._files.record(index), self._mapper.fingerprint(index)))
        if not others.any():
            renewed.append((self._files.record(self._mapper.parts), self._mapper.fingerprint(self._mapper.parts)))
        for record, fingerprint in renewed:
            record.renew(fingerprint)
            record.externally_modified = True
        with self._mapper.checking():
            yield
        for record, fingerprint in renewed:
            record.externally_modified = record.fingerprint != fingerprint

    def _is_same(self, index: int, recorded: Fingerprint | None) -> bool:
        """Whether a file has the recorded fingerprint; if so, its record starts again with it."""
        if recorded is None or self._mapper.fingerprint(index) != recorded:
            return False
        self._files.record(index).renew(recorded)
        return True

    def _trusted(self) -> Resume:
        """The fingerprints of the files that can be trusted; without the pieces."""
        now = Resume(self._mapper.have)
        for index, record in self._files.records():
            fingerprint = record.trusted_fingerprint()
            if index == self._mapper.parts:
                now.parts = fingerprint
            elif fingerprint is not None and not self._mapper.in_parts(index):
                now.fingerprints[index] = fingerprint
        if now.parts is not None:
            files = enumerate(self._torrent.files)
            now.in_parts = {i for i, file in files if file.stored and file.length and self._mapper.in_parts(i)}
        return now

    def _sync(self, index: int, record: FileRecord, now: Resume) -> StorageError | None:
        """Sync a file. If that fails, it is not trusted."""
        try:
            self._mapper.sync(index)
            return None
        except StorageError as error:
            record.externally_modified = True
            now.fingerprints.pop(index, None)
            if index == self._mapper.parts:
                now.parts = None
            return error
