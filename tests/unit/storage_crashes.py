"""Kill a download at every single call that changes the disk, and look what a restart makes of it.

Run as a program, for it forks: a process with threads cannot. Its arguments are the .torrent file, the folder of the
seed's data, an empty folder to work in, the name of a scenario, and a stride: 1 to be killed at every change, 3 at
every third. It prints how many changes there are, or what went wrong.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from geventbt.metainfo import Torrent
from geventbt.storage import Storage
from tests.crashes import Fuse, in_child
from tests.unit.storage_helpers import LENGTHS, A, B, C, pieces_of

USERS = b"precious" * 100
Pieces = list[bytes]


# ------------------------------------------------------------------ scenarios


class Run:
    """A download from its start, of which others are to see what was done.

    Args:
        torrent: the torrent.
        pieces: its data.
        folder: where it is downloaded to.
        options: of the storage.
    """

    def __init__(self, torrent: Torrent, pieces: Pieces, folder: Path, **options: Any) -> None:
        self._written = os.open(folder / "written", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.pieces = pieces
        self.storage = Storage(torrent, folder, **options)
        self.storage.check(pieces=self.storage.restore(), threads=1)

    def write(self, *pieces: int) -> None:
        """Write verified pieces, and say so."""
        for piece in pieces:
            assert self.storage.write_piece(piece, self.pieces[piece])
            os.write(self._written, bytes([piece]))


def prepared(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """As the client does it."""
    run = Run(torrent, pieces, folder)
    run.storage.prepare()
    run.write(3, 0)
    run.storage.checkpoint()
    run.write(1, 2, 7, 4, 5, 6)
    run.storage.finish()
    run.storage.checkpoint()


def preallocated(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """With the room for all files taken at once."""
    run = Run(torrent, pieces, folder, preallocate=True)
    run.storage.prepare()
    run.write(1, 5)
    run.storage.checkpoint()


def unprepared(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """Files are made by their first piece."""
    run = Run(torrent, pieces, folder)
    run.write(7, 1)
    run.storage.checkpoint()
    run.write(0, 2)


def selecting(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """Files come out of the parts file."""
    run = Run(torrent, pieces, folder, selected=[B])
    run.storage.prepare()
    run.write(1, 2)
    run.storage.checkpoint()
    run.storage.select([A, B, C])
    run.storage.prepare()
    run.write(0, 3)
    run.storage.select(None)
    run.storage.prepare()
    run.write(4, 5)


def adopting(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """Files without data are there, as another program has made them."""
    (folder / "torrent").mkdir()
    for name, length in (("a", 0), ("d", LENGTHS["d"])):
        os.truncate(os.open(folder / "torrent" / name, os.O_RDWR | os.O_CREAT), length)
    run = Run(torrent, pieces, folder)
    run.storage.prepare()
    run.write(0, 1, 5)


def overwriting(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """The user has given away the files that are there."""
    (folder / "torrent").mkdir()
    for name in ("a", "d"):
        (folder / "torrent" / name).write_bytes(b"x" * LENGTHS[name])
    run = Run(torrent, pieces, folder, overwrite=True)
    run.storage.prepare()
    run.write(0, 5)


def beside_the_users(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """A file that is not wanted has the place of one of the user's."""
    run = Run(torrent, pieces, folder, selected=[A, B])
    run.storage.prepare()
    run.write(0, 1, 2)
    run.storage.checkpoint()


def remade(torrent: Torrent, pieces: Pieces, folder: Path) -> None:
    """A file is deleted in the middle, and fetched again."""
    run = Run(torrent, pieces, folder)
    run.storage.prepare()
    run.write(0)
    run.storage.checkpoint()
    (folder / "torrent" / "d").unlink(missing_ok=True)
    try:
        run.write(5)
    except OSError:
        run.write(5)
    run.storage.checkpoint()


SCENARIOS = (
    prepared,
    preallocated,
    unprepared,
    selecting,
    adopting,
    overwriting,
    beside_the_users,
    remade,
)


# ------------------------------------------------------------------ restarts


def restart(torrent: Torrent, pieces: Pieces, folder: Path, scenario: Callable[..., None]) -> None:
    """What was killed goes on: it trusts what is good only, finds all of it, and refuses no file of its own."""
    users = folder / "torrent" / "c"
    options: dict[str, Any] = {"selected": [A, B]} if scenario is beside_the_users else {}
    # Before the first change, the user's own files are still there.
    options["overwrite"] = scenario is overwriting and not (folder / ".geventbt").exists()
    with Storage(torrent, folder, **options) as storage:
        suspect = storage.restore()
        trusted = storage.have.copy()
        found = storage.check(pieces=suspect, threads=1)
        everything = storage.check(threads=1)
        assert not (trusted & ~everything).any(), "something bad is trusted"
        assert found == everything, "something good would be fetched again"
        lost = set((folder / "written").read_bytes()) - set(everything.search(1))
        assert not lost, f"pieces that were written are lost: {lost}"
        if scenario is overwriting and not everything.any():
            options["overwrite"] = True
    with Storage(torrent, folder, **options) as storage:
        storage.check(pieces=storage.restore(), threads=1)
        storage.prepare()
        for piece in range(len(pieces)):
            if storage.wanted[piece] and not storage.have[piece]:
                assert storage.write_piece(piece, pieces[piece])
        storage.finish()
        storage.checkpoint()
        assert not (storage.wanted & ~storage.check(threads=1)).any()
    if scenario is beside_the_users:
        assert users.read_bytes() == USERS, "the user's file was changed"
    assert not list((folder / ".geventbt").glob("*.new")), "something was left behind"


def kill_everywhere(torrent: Torrent, pieces: Pieces, home: Path, scenario: Callable[..., None], stride: int) -> int:
    """Kill a scenario at its first change of the disk, at the next one, and so on. Returns how many it has."""
    count = 0
    while True:
        folder = home / f"{count}"
        (folder / "torrent").mkdir(parents=True) if scenario is beside_the_users else folder.mkdir(parents=True)
        if scenario is beside_the_users:
            (folder / "torrent" / "c").write_bytes(USERS)
        (folder / "written").touch()

        def work(folder: Path = folder, count: int = count) -> None:
            Fuse(count)
            scenario(torrent, pieces, folder)

        code = in_child(work)
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"{scenario.__name__} itself failed before change {count}")
        if in_child(lambda folder=folder: restart(torrent, pieces, folder, scenario)):  # type: ignore[misc]
            raise SystemExit(f"{scenario.__name__}, killed at change {count}: see above; {list_of(folder)}")
        if code == 0:
            return count
        shutil.rmtree(folder)
        count += stride


def list_of(folder: Path) -> list[str]:
    return sorted(f"{path.relative_to(folder)}:{path.stat().st_size}" for path in folder.rglob("*") if path.is_file())


def main() -> None:
    torrent, home = Torrent.from_file(sys.argv[1]), Path(sys.argv[3])
    pieces = pieces_of(Path(sys.argv[2]))
    scenario = next(scenario for scenario in SCENARIOS if scenario.__name__ == sys.argv[4])
    print(kill_everywhere(torrent, pieces, home, scenario, int(sys.argv[5])))


if __name__ == "__main__":
    main()
