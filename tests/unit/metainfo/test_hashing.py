"""Hashing on all cores: right, in native threads wherever it runs, and ended as soon as it is wanted."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from geventbt.bencoding import encode
from geventbt.errors import StorageError
from geventbt.geometry import Geometry
from geventbt.metainfo import Torrent
from geventbt.metainfo.hashing import BUFFER, ReadInto, hash_pieces
from geventbt.metainfo.piece_hashes import FlatHashes
from geventbt.storage import Storage
from tests.unit.storage_helpers import pieces_of, seed

SHA1S = FlatHashes(b"")


def reader(stream: bytes) -> ReadInto:
    def read_into(position: int, view: memoryview) -> bool:
        part = stream[position : position + len(view)]
        view[: len(part)] = part
        return len(part) == len(view)

    return read_into


def native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads cannot be counted here")


@pytest.mark.parametrize("piece_length", [1, 1000, BUFFER // 3, BUFFER, BUFFER + 1, 3 * BUFFER])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_piece_gets_its_hash(piece_length: int, threads: int):
    stream = os.urandom(min(2000 * piece_length, 5 * BUFFER) + 7)
    geometry = Geometry(len(stream), piece_length)
    chosen = [piece for piece in range(geometry.pieces) if piece % 7 != 3]
    found = dict(hash_pieces(geometry, SHA1S, chosen, lambda: nullcontext(reader(stream)), threads))
    assert found == {
        piece: hashlib.sha1(stream[piece * piece_length : (piece + 1) * piece_length]).digest() for piece in chosen
    }


@pytest.mark.parametrize("piece_length", [1000, 2 * BUFFER])
def test_what_is_not_there_has_no_hash_and_its_neighbours_have(piece_length: int):
    stream = os.urandom(5 * piece_length)
    geometry = Geometry(len(stream), piece_length)
    found = dict(hash_pieces(geometry, SHA1S, range(5), lambda: nullcontext(reader(stream[: 3 * piece_length + 1]))))
    assert {piece for piece in found if found[piece] is None} == {3, 4}
    assert found[2] == hashlib.sha1(stream[2 * piece_length : 3 * piece_length]).digest()


@needs_proc
def test_an_error_of_one_thread_ends_them_all():
    before = native_threads()

    def broken(position: int, view: memoryview) -> bool:
        raise StorageError("broken")

    with pytest.raises(StorageError, match="broken"):
        list(hash_pieces(Geometry(1 << 40, 1 << 20), SHA1S, range(1 << 20), lambda: nullcontext(broken), 4))
    assert_ends_with(before)


@needs_proc
def test_closing_it_early_ends_the_threads():
    before = native_threads()
    read: list[int] = []
    source = nullcontext(lambda position, view: not read.append(position))
    with closing(hash_pieces(Geometry(1 << 40, 1 << 20), SHA1S, range(1 << 20), lambda: source, 2)) as hashed:
        next(hashed)
    assert_ends_with(before)
    count = len(read)
    assert count < 1000
    assert len(read) == count


def assert_ends_with(threads: int) -> None:
    deadline = time.monotonic() + 10
    while native_threads() > threads:
        assert time.monotonic() < deadline, "a thread goes on"
        time.sleep(0.01)


def test_closing_the_storage_ends_a_check(tmp_path: Path):
    pieces = 1 << 14
    with open(tmp_path / "large", "wb") as file:
        file.truncate(pieces << 20)
    info = {"name": "large", "piece length": 1 << 20, "pieces": bytes(20 * pieces), "length": pieces << 20}
    storage = Storage(Torrent.from_info(encode(info)), tmp_path)
    told: list[int] = []

    def close(done: int, pieces: int) -> None:
        told.append(done)
        storage.close()

    with pytest.raises(StorageError, match="closed"):
        storage.check(close)
    assert told[-1] < pieces


# ------------------------------------------------------------------ in a program of its own, patched or not

AT_ONCE = """
import sys
if sys.argv[1] == "patched":
    from gevent import monkey; monkey.patch_all()
from contextlib import nullcontext
from geventbt.geometry import Geometry
from geventbt.metainfo.hashing import hash_pieces
from geventbt.metainfo.piece_hashes import FlatHashes
from geventbt.concurrency.native import NativeQueue

arrived = [NativeQueue(), NativeQueue()]

def read_into(position, view):
    piece = position >> 20
    arrived[piece].put(None)
    arrived[1 - piece].get(timeout=20)  # raises unless the other one is read at the same time
    return True

print(len(list(hash_pieces(Geometry(2 << 20, 1 << 20), FlatHashes(b""), range(2), lambda: nullcontext(read_into), 2))))
"""

BESIDE_THE_LOOP = """
import sys
if sys.argv[1] == "patched":
    from gevent import monkey; monkey.patch_all()
import gevent
import geventbt
from geventbt.concurrency.threads import in_thread
from geventbt.concurrency.native import NativeQueue

torrent = geventbt.create_torrent(sys.argv[2], piece_length=1024)
ticks = NativeQueue()

def tick():
    while True:
        if ticks.empty():
            ticks.put(None)
        gevent.sleep(0)

ticker = gevent.spawn(tick)
pieces = []
with geventbt.Storage(torrent, sys.argv[3]) as storage:
    found = in_thread(storage.check, lambda done, pieces: [ticks.get(timeout=20) for _ in range(2)])
    assert found.all()
    pieces = [storage.read(piece, 0, torrent.geometry.piece_size(piece)) for piece in range(len(found))]
with geventbt.Storage(torrent, sys.argv[4]) as copy:
    jobs = [gevent.spawn(in_thread, copy.write_piece, piece, data) for piece, data in enumerate(pieces)]
    jobs += [gevent.spawn(in_thread, copy.checkpoint) for _ in range(5)]
    gevent.joinall(jobs, raise_error=True)
    assert copy.complete
ticker.kill()
print("done")
"""


def run(program: str, *arguments: object) -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("program", ["patched", "as it is"])
def test_pieces_are_hashed_at_the_same_time_in_any_program(program: str):
    assert run(AT_ONCE, program) == "2\n"


@pytest.mark.parametrize("program", ["patched", "as it is"])
def test_the_loop_goes_on_while_pieces_are_hashed(program: str, tmp_path: Path):
    seed(tmp_path / "seeded")
    assert len(pieces_of(tmp_path / "seeded")) == 8
    folders = tmp_path / "seeded" / "torrent", tmp_path / "seeded", tmp_path / "copy"
    assert run(BESIDE_THE_LOOP, program, *folders) == "done\n"
