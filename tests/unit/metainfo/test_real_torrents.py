"""Real .torrent files are read as libtorrent reads them: info hash, files, sizes and the private flag.

The files are other people's and not part of this repository. GEVENTBT_TORRENTS names a folder of them; what libtorrent
says of each is in tests/data/real_torrents.tsv, and is asked anew where libtorrent is installed. The kinds of oddness
that were found in them are written out in test_torrent.py, which needs no folder.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import Any

import pytest

from geventbt.errors import MetainfoError
from geventbt.metainfo import Torrent

FOLDER = os.environ.get("GEVENTBT_TORRENTS")
DIGESTS = Path(__file__).parents[2] / "data" / "real_torrents.tsv"
NAMES = {
    "0054": "the name is a dot, for which libtorrent takes the info hash, and we an underscore",
    "0169": "a slash in a name: libtorrent leaves it out, we write an underscore",
    "0193": "two dots: libtorrent writes one underscore, we write two",
    "0199": "slashes in a name: libtorrent leaves them out, we write underscores",
}
"""Torrents whose paths differ, and why; all else of them must be the same. Safe names are made by metainfo/paths.py."""


def known() -> dict[str, list[str]]:
    """By the number of a file: info hash, private, bytes, number of files, and a hash of all paths and lengths."""
    lines = [line.split("\t") for line in DIGESTS.read_text().splitlines()]
    return {number: fields for number, *fields in lines}


def digest(files: list[tuple[str, int, bool]]) -> str:
    """A hash of the files in order. The path of padding does not count."""
    lines = [f"{'' if padding else path}\0{length}\0{padding:d}\n" for path, length, padding in files]
    return hashlib.sha1("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def summary(info_hash: str, private: bool, files: list[tuple[str, int, bool]], *, with_names: bool) -> list[str]:
    """What is compared of a torrent."""
    files = files if with_names else [("", length, padding) for _, length, padding in files]
    return [info_hash, f"{private:d}", str(sum(length for _, length, _ in files)), str(len(files)), digest(files)]


def ours(torrent: Torrent, *, with_names: bool) -> list[str]:
    files = [("/".join(file.path), file.length, file.padding) for file in torrent.files]
    return summary(torrent.info_hash.hex(), torrent.private, files, with_names=with_names)


def libtorrents(path: Path, *, with_names: bool) -> list[str] | None:
    """The same by libtorrent; None where it refuses the file, or knows no version 1 of it."""
    lt: Any = pytest.importorskip("libtorrent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            info = lt.torrent_info(str(path))
        except RuntimeError:
            return None
        if not info.info_hashes().has_v1():
            return None
        storage = info.files()
        files = [
            (storage.file_path(i), storage.file_size(i), bool(storage.file_flags(i) & storage.flag_pad_file))
            for i in range(storage.num_files())
        ]
        return summary(str(info.info_hashes().v1), info.priv(), files, with_names=with_names)


def test_the_digests_are_of_all_torrents_that_libtorrent_takes_for_version_1():
    assert len(known()) == 179
    assert set(NAMES) <= set(known())


def paths() -> list[Path]:
    return sorted(Path(FOLDER).glob("*.torrent")) if FOLDER else []


@pytest.mark.skipif(not FOLDER, reason="GEVENTBT_TORRENTS names no folder of real .torrent files")
@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name[:4])
def test_a_real_torrent_is_read_as_libtorrent_reads_it(path: Path):
    number = path.name[:4]
    expected = known().get(number)
    if expected is None:
        return
    assert ours(Torrent.from_file(path), with_names=number not in NAMES) == expected


@pytest.mark.interop
@pytest.mark.skipif(not FOLDER, reason="GEVENTBT_TORRENTS names no folder of real .torrent files")
@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name[:4])
def test_libtorrent_still_says_so(path: Path):
    number = path.name[:4]
    expected = libtorrents(path, with_names=number not in NAMES)
    assert expected == known().get(number)
    if expected is None:
        return
    assert ours(Torrent.from_file(path), with_names=number not in NAMES) == expected


REFUSED_ELSEWHERE = {
    "0240": "an integer with leading zeros: libtorrent takes the file for no bencoding",
}


@pytest.mark.interop
@pytest.mark.skipif(not FOLDER, reason="GEVENTBT_TORRENTS names no folder of real .torrent files")
@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name[:4])
def test_version_2_is_read_as_libtorrent_reads_it(path: Path):
    lt: Any = pytest.importorskip("libtorrent")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            info = lt.torrent_info(str(path))
            files = info.files()
        except RuntimeError:
            info = None
    try:
        torrent = Torrent.from_file(path)
    except MetainfoError:
        assert info is None or not info.info_hashes().has_v2()
        return
    if info is None or path.name[:4] in REFUSED_ELSEWHERE:
        return
    hashes = info.info_hashes()
    assert torrent.info_hash_v2 == (hashes.v2.to_bytes() if hashes.has_v2() else None)
    if torrent.info_hash_v2:
        stored = [number for number in range(files.num_files()) if not files.file_flags(number) & files.flag_pad_file]
        expected = [(files.file_size(number), files.file_offset(number)) for number in stored]
        assert [(file.length, file.offset) for file in torrent.files if not file.padding] == expected


@pytest.mark.skipif(not FOLDER, reason="GEVENTBT_TORRENTS names no folder of real .torrent files")
@pytest.mark.parametrize("path", paths(), ids=lambda path: path.name[:4])
def test_any_real_file_is_a_torrent_or_a_metainfo_error(path: Path):
    data = path.read_bytes()
    try:
        torrent = Torrent.from_bytes(data)
    except MetainfoError:
        return
    assert torrent.to_bytes() == data
