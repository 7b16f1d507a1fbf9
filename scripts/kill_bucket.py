"""Kill a download to a bucket again and again, at moments of no choice, and see that nothing is lost.

    python scripts/kill_bucket.py --kills 100

It runs a server of S3 (moto's) on loopback. In each round a process writes verified pieces there until it is killed by
SIGKILL. Then another one looks: what a start trusts must be right, all that was recorded must be there, and no file may
have a wrong byte. A process that comes to the end must have found its parts again, and leave neither parts nor uploads
behind; the next one begins at another place.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import fsspec

from geventbt import FsspecBackend, limits
from geventbt.metainfo.create import create_torrent
from geventbt.storage import Storage
from tests.crashes import end_of, in_child, start
from tests.interop.s3_server import options_of, s3_server

SIZES = {"large": 6 * limits.MIB + 1, "small": 300_001}
"""Of two parts, and of one."""
PIECE = 256 * limits.KIB


def main() -> None:
    """Run the rounds. Exits with 1 where anything is lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="how often (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="of the random choices (default: 1)")
    parser.add_argument("--port", type=int, help="of a server with an empty bucket (default: one of its own)")
    arguments = parser.parse_args()
    # The least that S3 joins; and not enough memory for the large file.
    limits.STORE_PART, limits.STORE_BUFFER, limits.STORE_BATCH = 5 * limits.MIB, 5 * limits.MIB, 4 * limits.MIB
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        port = arguments.port or stack.enter_context(s3_server()).port
        rounds = Rounds(Path(folder), options_of(port), rng)
        for number in range(arguments.kills):
            rounds.kill(number)
        rounds.end()
    print(f"{arguments.kills} kills, {rounds.downloads} whole downloads, {rounds.failures} rounds with losses")
    sys.exit(bool(rounds.failures))


class Rounds:
    """Downloads that are killed, one after another to one place until one is whole, then to the next place.

    Args:
        folder: for the data, and for what the processes note.
        options: of the store.
        rng: makes the choices.

    Attributes:
        downloads: those that were whole.
        failures: rounds in which anything was wrong.
    """

    def __init__(self, folder: Path, options: dict[str, Any], rng: random.Random) -> None:
        for name, size in SIZES.items():
            (folder / "data").mkdir(exist_ok=True)
            (folder / "data" / name).write_bytes(rng.randbytes(size))
        self._origin = folder
        self._torrent = create_torrent(folder / "data", piece_length=PIECE)
        self._options = options
        self._rng = rng
        self._log = folder / "recorded"
        self.downloads = self.failures = 0
        self._begin()

    def _begin(self) -> None:
        self._url = f"s3://bucket/place{self.downloads}"
        self._log.write_text("[]")

    def kill(self, number: int) -> None:
        """Let a process write until it is killed, and look what it has left."""
        seed = self._rng.random()
        child = start(lambda: write(self._open(), self._pieces(), self._log, random.Random(seed)))
        time.sleep(self._rng.uniform(0.2, 1.5))
        os.kill(child, signal.SIGKILL)
        is_whole = end_of(child) == 0
        if in_child(lambda: look(self._open(), self._log)):
            print(f"after kill {number}: see above")
            self.failures += 1
        if is_whole:
            self._finish()

    def end(self) -> None:
        """Let the last download come to its end."""
        if in_child(lambda: write(self._open(), self._pieces(), self._log, self._rng)):
            print("the last download has failed: see above")
            self.failures += 1
        self._finish()

    def _finish(self) -> None:
        self.failures += bool(in_child(lambda: see_whole(self._url, self._options, self._origin, self._open)))
        self.downloads += 1
        self._begin()

    def _open(self) -> Storage:
        return Storage(self._torrent, ".", backend=FsspecBackend(self._url, **self._options)(self._torrent))

    def _pieces(self) -> list[bytes]:
        stream = b"".join((self._origin / "data" / name).read_bytes() for name in SIZES)
        return [stream[at : at + PIECE] for at in range(0, len(stream), PIECE)]


# ------------------------------------------------------------------ what the processes do


def write(storage: Storage, pieces: list[bytes], log: Path, rng: random.Random) -> None:
    """Write the pieces that are missing, out of order, and record them now and then."""
    storage.check(pieces=storage.restore())
    storage.prepare()
    missing = [piece for piece in range(len(pieces)) if not storage.have[piece]]
    rng.shuffle(missing)
    for piece in missing:
        assert storage.write_piece(piece, pieces[piece])
        if rng.random() < 0.2:
            storage.checkpoint()
            note(log, storage)
        # As fast as a download, so that a kill meets all of it.
        time.sleep(0.01)
    storage.finish()
    storage.checkpoint()
    note(log, storage)
    storage.close()


def note(log: Path, storage: Storage) -> None:
    """Note which pieces are recorded, in one step."""
    new = log.with_suffix(".new")
    new.write_text(json.dumps(list(storage.have.search(1))))
    new.replace(log)


def look(storage: Storage, log: Path) -> None:
    """See that what a start trusts is right, and that all is there that was recorded."""
    suspect = storage.restore()
    trusted = storage.have.copy()
    found = storage.check(pieces=suspect)
    everything = storage.check()
    recorded = set(json.loads(log.read_text()))
    assert not (trusted & ~everything).any(), "something bad is trusted"
    assert found == everything, "something good would be fetched again"
    assert recorded <= set(everything.search(1)), f"lost: {recorded - set(everything.search(1))}"
    storage.close()


def see_whole(url: str, options: dict[str, Any], origin: Path, opened: Callable[[], Storage]) -> None:
    """See that the files are right, and that nothing else is left but the record."""
    # The uploads of those that were killed are old enough by now.
    limits.STORE_UPLOAD_AGE = 0.0
    with opened() as storage:
        assert not storage.restore().any(), "a record does not name what is there"
        storage.checkpoint()
    fs, root = fsspec.core.url_to_fs(url, **options, use_listings_cache=False)
    found = {path[len(root) + 1 :] for path in fs.find(root)}
    records = {path for path in found if path.startswith(".geventbt/")}
    assert found - records == {f"data/{name}" for name in SIZES}, found
    assert [path.rpartition("/")[2] for path in records] == ["resume"], records
    for name in SIZES:
        assert fs.cat_file(f"{root}/data/{name}") == (origin / "data" / name).read_bytes(), f"{name} has wrong bytes"
    uploads = fs.call_s3("list_multipart_uploads", Bucket="bucket", Prefix=root.partition("/")[2] + "/")
    assert not uploads.get("Uploads"), uploads


if __name__ == "__main__":
    main()
