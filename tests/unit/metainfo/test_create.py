"""Making torrents: byte for byte what libtorrent makes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from geventbt import bencoding
from geventbt.errors import MetainfoError
from geventbt.metainfo import Torrent
from geventbt.metainfo.create import create_torrent, piece_length_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with some of everything."""
    root = tmp_path / "Root"
    lengths = {
        "z": 10,
        "B": 5,
        "a.txt": 70_000,
        "b/deep/x": 50_000,
        "a/1": 0,
        "a/10": 3,
        "a-b": 2,
        ".hidden/f": 4,
        "é": 3,
    }
    for number, (name, length) in enumerate(lengths.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * length)
    (root / "z").chmod(0o755)
    (root / "empty").mkdir()
    return root


def libtorrent_info(
    folder: Path, names: list[str], piece_length: int, *, private: bool = False, source: str | None = None
) -> bytes:
    """The info dictionary that libtorrent makes of the files, version 1 only."""
    lt: Any = pytest.importorskip("libtorrent")
    executable = lt.file_flags_t.flag_executable
    flags = [executable if os.access(folder / name, os.X_OK) else 0 for name in names]
    entries = [
        lt.create_file_entry(name, (folder / name).stat().st_size, flag)
        for name, flag in zip(names, flags, strict=True)
    ]
    maker = lt.create_torrent(entries, piece_length, lt.create_torrent.v1_only)
    maker.set_priv(private)
    lt.set_piece_hashes(maker, str(folder))
    info = maker.generate()[b"info"]
    if source is not None:
        # Its interface has no word for it; where the key is in the dictionary is what its encoder decides.
        info[b"source"] = source.encode()
    encoded: bytes = lt.bencode(info)
    return encoded


@pytest.mark.parametrize("piece_length", [16384, 32768, 3 * 16384, 1 << 20])
@pytest.mark.parametrize("options", [{}, {"private": True}, {"source": "ours"}, {"private": True, "source": "ünsere"}])
def test_a_folder_gives_the_info_that_libtorrent_gives(folder: Path, piece_length: int, options: dict[str, Any]):
    torrent = create_torrent(folder, piece_length=piece_length, **options)
    names = ["/".join(file.path) for file in torrent.files]
    assert torrent.info_bytes == libtorrent_info(folder.parent, names, piece_length, **options)


@pytest.mark.parametrize(
    "names",
    [
        ["one"],
        ["a/b/c/d/e/f"],
        ["ä", "日本語/ファイル", "z\N{COMBINING DIAERESIS}", "emoji \N{GRINNING FACE}"],
        [f"{number}/{name}" for number in range(12) for name in ("x", "y")],
        ["with space", "quo'te", 'quo"te', "100%", "~", "-dash", "a.b.c"],
    ],
)
def test_folders_of_all_kinds_give_the_info_that_libtorrent_gives(tmp_path: Path, names: list[str]):
    for number, name in enumerate(names):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(number * 9000 + 1))
    torrent = create_torrent(tmp_path / "root")
    in_order = ["/".join(file.path) for file in torrent.files]
    assert {name.removeprefix("root/") for name in in_order} == set(names)
    assert torrent.info_bytes == libtorrent_info(tmp_path, in_order, torrent.geometry.piece_length)


def test_a_single_file_gives_the_info_that_libtorrent_gives(folder: Path):
    for name in ("a.txt", "z"):
        torrent = create_torrent(folder / name, piece_length=16384, private=True)
        assert torrent.info_bytes == libtorrent_info(folder, [name], 16384, private=True)


@pytest.mark.parametrize("length", [1, 2684355, 2684356, 10737418, 10737419, 1 << 30, 10995116278, 1 << 38, 1 << 42])
def test_the_piece_length_is_libtorrents(length: int):
    lt: Any = pytest.importorskip("libtorrent")
    maker = lt.create_torrent([lt.create_file_entry("x", length)], 0, lt.create_torrent.v1_only)
    assert piece_length_for(length) == maker.piece_length()


def test_files_are_in_the_order_of_their_paths_and_hidden_ones_belong(folder: Path):
    names = ["/".join(file.path[1:]) for file in create_torrent(folder).files]
    assert names == [".hidden/f", "B", "a-b", "a.txt", "a/1", "a/10", "b/deep/x", "z", "é"]


def test_pieces_are_hashed_over_the_ends_of_files(folder: Path):
    torrent = create_torrent(folder, piece_length=1024)
    stream = b"".join((folder.parent / Path(*file.path)).read_bytes() for file in torrent.files)
    expected = [hashlib.sha1(stream[at : at + 1024]).digest() for at in range(0, len(stream), 1024)]
    assert torrent.piece_hashes == b"".join(expected)


def test_all_that_is_said_is_in_the_torrent(folder: Path):
    torrent = create_torrent(
        folder,
        trackers=["http://a/", ["http://b/", "udp://c:1"]],
        web_seeds=["http://s/"],
        private=True,
        comment="c",
        source="ours",
        name="Other",
        created_by="me",
        creation_date=1,
    )
    assert torrent.name == "Other"
    assert {file.path[0] for file in torrent.files} == {"Other"}
    assert torrent.trackers == (("http://a/",), ("http://b/", "udp://c:1"))
    assert torrent.private
    assert bencoding.decode(torrent.info_bytes, max_tokens=10_000)[b"source"] == b"ours"
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent


def test_the_same_data_gives_the_same_torrent(folder: Path):
    assert create_torrent(folder).to_bytes() == create_torrent(str(folder) + os.sep).to_bytes()


def test_progress_is_told_after_each_piece(folder: Path):
    told: list[tuple[int, int]] = []
    torrent = create_torrent(folder, piece_length=16384, progress=lambda done, pieces: told.append((done, pieces)))
    assert told == [(done + 1, torrent.geometry.pieces) for done in range(torrent.geometry.pieces)]


def test_what_progress_raises_ends_the_work(folder: Path):
    def stop(done: int, pieces: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        create_torrent(folder, piece_length=1024, progress=stop)


def test_symbolic_links_below_the_folder_are_left_out(folder: Path):
    expected = create_torrent(folder)
    (folder / "to-file").symlink_to("z")
    (folder / "to-folder").symlink_to("a")
    (folder / "b" / "loop").symlink_to("..")
    (folder / "dangling").symlink_to("nowhere")
    assert create_torrent(folder) == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_are_left_out_and_refused_alone(folder: Path):
    expected = create_torrent(folder)
    os.mkfifo(folder / "pipe")
    assert create_torrent(folder) == expected
    with pytest.raises(MetainfoError, match="neither a file nor a folder"):
        create_torrent(folder / "pipe")


def test_nothing_makes_no_torrent(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "zero").touch()
    for name in ("empty", "zero"):
        with pytest.raises(MetainfoError, match="no data"):
            create_torrent(tmp_path / name)


def test_a_missing_path_is_an_error_of_the_system(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        create_torrent(tmp_path / "missing")


@pytest.mark.parametrize("name", ["back\\slash", "new\nline", os.fsdecode(b"\xff")])
def test_a_name_that_would_not_come_back_is_refused(tmp_path: Path, name: str):
    try:
        (tmp_path / name).write_bytes(b"x")
    except (OSError, UnicodeError):
        pytest.skip("this file system has no such names")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(MetainfoError, match="cannot be in a torrent"):
            create_torrent(path)


@pytest.mark.parametrize("name", ["", "..", "a/b"])
def test_a_senseless_name_is_refused(folder: Path, name: str):
    with pytest.raises(MetainfoError, match="cannot be in a torrent"):
        create_torrent(folder, name=name)


@pytest.mark.parametrize("piece_length", [0, -16384, 100, 16385, 1 << 30])
def test_a_senseless_piece_length_is_refused(folder: Path, piece_length: int):
    with pytest.raises(ValueError):
        create_torrent(folder, piece_length=piece_length)


@pytest.mark.parametrize("piece_length", [1, 1024, 16384, 3 * 16384])
def test_small_and_odd_piece_lengths_are_possible(folder: Path, piece_length: int):
    assert create_torrent(folder / "a.txt", piece_length=piece_length).geometry.piece_length == piece_length


def test_a_file_that_shrinks_while_it_is_read_is_an_error(folder: Path):
    def shrink(done: int, pieces: int) -> None:
        os.truncate(folder / "b" / "deep" / "x", 10)

    with pytest.raises(MetainfoError, match="changed while it was read"):
        create_torrent(folder, piece_length=1024, progress=shrink)


def test_a_file_that_is_changed_while_it_is_read_is_an_error(folder: Path):
    def change(done: int, pieces: int) -> None:
        os.utime(folder / "B", ns=(1, 1))

    with pytest.raises(MetainfoError, match="was changed while it was read"):
        create_torrent(folder, progress=change)


def test_a_link_to_the_data_itself_is_followed(folder: Path):
    (folder.parent / "link").symlink_to(folder / "a.txt")
    assert create_torrent(folder.parent / "link").piece_hashes == create_torrent(folder / "a.txt").piece_hashes


@pytest.mark.parametrize("url", ["nowhere", "http://a b/", "http://\N{GREEK SMALL LETTER ALPHA}/", "http://a/\n"])
def test_what_is_no_url_is_refused(folder: Path, url: str):
    with pytest.raises(ValueError, match="not a URL"):
        create_torrent(folder, trackers=[["http://a/", url]])


@pytest.mark.parametrize("url", ["nowhere", "http://a/\x1b[2J", "http://a/\nb"])
def test_a_web_seed_that_cannot_be_a_url_is_refused(folder: Path, url: str):
    with pytest.raises(ValueError, match="not a URL"):
        create_torrent(folder, web_seeds=[url])


def test_a_web_seed_with_a_blank_is_escaped(folder: Path):
    assert create_torrent(folder, web_seeds=["http://a/b c"]).web_seeds == ("http://a/b%20c",)
