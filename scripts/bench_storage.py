"""Benchmark of a torrent's data in a store of objects, against the same library alone.

    python scripts/bench_storage.py URL [--option NAME=VALUE ...] [--size 256] [--piece 1024]

URL is a place that may be written to, such as ``s3://bucket/bench``; options are for the file system of fsspec, such as
``endpoint_url=http://127.0.0.1:5000``. What is written there is deleted. Rows, in MB/s, each the median of three:

    put alone            objects of 8 MiB, eight at a time, by fsspec's own `pipe`
    write in order       verified pieces to a file that is whole and recorded at the end: hashing, parts, the join
    write out of order   the same, shuffled as in a swarm
    get alone            the objects of 8 MiB, by fsspec's own `cat`
    check                the file read and hashed
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import fsspec

import geventbt
from geventbt import limits

TURNS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--size", type=int, default=256, help="MiB")
    parser.add_argument("--piece", type=int, default=1024, help="KiB")
    arguments = parser.parse_args()
    options = dict(option.split("=", 1) for option in arguments.option)
    bench = Bench(arguments.url, options, arguments.size * limits.MIB, arguments.piece * limits.KIB)
    rows: dict[str, Callable[[], float]] = {
        "put alone": bench.put_alone,
        "write in order": lambda: bench.write(shuffled=False),
        "write out of order": lambda: bench.write(shuffled=True),
        "get alone": bench.get_alone,
        "check": bench.check,
    }
    found: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(TURNS):
        for name, row in rows.items():
            found[name].append(arguments.size * limits.MIB / 1e6 / row())
        bench.clean()
    for name, speeds in found.items():
        print(f"{name:20} {median(speeds):7.1f} MB/s ({min(speeds):.1f} to {max(speeds):.1f})")


class Bench:
    """A payload, and its place in a store. Each row returns seconds.

    Args:
        url: of the place.
        options: for the file system.
        size: of the payload in bytes.
        piece_length: in bytes.
    """

    def __init__(self, url: str, options: dict[str, Any], size: int, piece_length: int) -> None:
        self._url = url
        self._options = options
        self._data = os.urandom(size)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "data").write_bytes(self._data)
            self._torrent = geventbt.create_torrent(Path(folder) / "data", piece_length=piece_length)
        self._fs, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
        parts = range(0, size, limits.STORE_PART)
        self._objects = {f"{self._root}/alone/{at}": self._data[at : at + limits.STORE_PART] for at in parts}

    def put_alone(self) -> float:
        begin = time.perf_counter()
        with suppress(FileNotFoundError):
            self._fs.makedirs(f"{self._root}/alone", exist_ok=True)
        if self._fs.async_impl:
            self._fs.pipe(self._objects, batch_size=8)
        else:
            self._fs.pipe(self._objects)
        return time.perf_counter() - begin

    def get_alone(self) -> float:
        begin = time.perf_counter()
        options = {"batch_size": 8} if self._fs.async_impl else {}
        self._fs.cat(list(self._objects), **options)
        return time.perf_counter() - begin

    def write(self, *, shuffled: bool) -> float:
        self._remove("data")
        self._remove(".geventbt")
        pieces = list(range(self._torrent.geometry.pieces))
        if shuffled:
            random.shuffle(pieces)
        length = self._torrent.geometry.piece_length
        begin = time.perf_counter()
        with self._storage() as storage:
            storage.check(pieces=storage.restore())
            storage.prepare()
            for piece in pieces:
                assert storage.write_piece(piece, self._data[piece * length : (piece + 1) * length])
            storage.finish()
            storage.checkpoint()
        return time.perf_counter() - begin

    def check(self) -> float:
        begin = time.perf_counter()
        with self._storage() as storage:
            storage.check()
            assert storage.complete
        return time.perf_counter() - begin

    def clean(self) -> None:
        for name in ("alone", "data", ".geventbt"):
            self._remove(name)

    @contextmanager
    def _storage(self) -> Iterator[geventbt.Storage]:
        backend = geventbt.FsspecBackend(self._url, **self._options)(self._torrent)
        with geventbt.Storage(self._torrent, ".", backend=backend) as storage:
            yield storage

    def _remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._fs.rm(f"{self._root}/{name}", recursive=True)


if __name__ == "__main__":
    main()
