"""Torrents of version 2, and hybrids (BEP 52): read as libtorrent reads them, made as libtorrent makes them."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest

from geventbt import bencoding
from geventbt.errors import MagnetError, MetainfoError
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.create import create_torrent
from geventbt.metainfo.piece_hashes import contradicts, digest_of

KIB16 = 16384
ROOT = b"r" * 32


def leaf(length: int, root: bytes = ROOT, **more: Any) -> dict[bytes, Any]:
    """A file of a tree."""
    properties: dict[bytes, Any] = {b"length": length, **({b"pieces root": root} if length else {})}
    return {b"": properties | {key.encode(): value for key, value in more.items()}}


def torrent_file(tree: Any, piece_length: int = KIB16, layers: Any = None, **more: Any) -> bytes:
    info = {b"name": b"Name", b"piece length": piece_length, b"meta version": 2, b"file tree": tree}
    info |= {key.encode().replace(b"_", b" "): value for key, value in more.items()}
    return bencoding.encode({b"info": info, b"piece layers": layers or {}})


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_files_begin_at_pieces_of_their_own():
    torrent = Torrent.from_bytes(torrent_file({b"a": leaf(20000, merkle_root()), b"d": {b"b": leaf(5)}}, layers=LAYERS))
    assert [(file.path, file.length, file.offset) for file in torrent.files] == [
        (("Name", "a"), 20000, 0),
        (("Name", "d", "b"), 5, 2 * KIB16),
    ]
    geometry = torrent.geometry
    assert [geometry.piece_size(piece) for piece in range(geometry.pieces)] == [KIB16, 20000 - KIB16, 5]
    assert geometry.size == 20005
    assert (torrent.version, torrent.info_hash, torrent.piece_hashes) == ("2", None, b"")
    assert torrent.info_hash_v2 == sha(torrent.info_bytes)
    assert torrent.swarm_hashes == (sha(torrent.info_bytes)[:20],)


PIECES = [b"1" * 32, b"2" * 32]
LAYERS = {sha(PIECES[0] + PIECES[1]): b"".join(PIECES)}


def merkle_root() -> bytes:
    return next(iter(LAYERS))


def test_a_single_file_has_its_own_name_and_no_folder():
    torrent = Torrent.from_bytes(torrent_file({b"file": leaf(5)}))
    assert torrent.name == "file"
    assert not torrent.is_multi_file


def test_files_with_the_same_contents_share_a_layer():
    root = merkle_root()
    tree = {b"a": leaf(20000, root), b"b": leaf(20000, root)}
    torrent = Torrent.from_bytes(torrent_file(tree, layers=LAYERS))
    hashes = torrent.hashes()
    assert [hashes.expected(piece) for piece in range(4)] == PIECES * 2


@pytest.mark.parametrize(
    "tree",
    [
        [],
        {},
        {b"a": []},
        {b"a": 1},
        {b"a": {b"": 1}},
        {b"": leaf(5)},
        {b"": {b"length": 5, b"pieces root": ROOT}},
        {b"a": {b"": {b"length": 5, b"pieces root": ROOT}, b"b": leaf(5)}},
        {b"a": {b"": {b"length": 5}}},
        {b"a": leaf(5, b"short")},
        {b"a": leaf(5, bytes(32))},
        {b"a": leaf(-1)},
        {b"a": leaf(1 << 62)},
        {b"a": {b"": {b"length": b"5", b"pieces root": ROOT}}},
        {b"a": leaf(5, attr=b"p")},
        {b"a": leaf(0)},
        {b"a": {b"b": {}}},
        {b"a": leaf(5), b"b": leaf(6)},
        {b"a": leaf(5), b"b": {b"c": leaf(5), b"d": leaf(40000)}},
    ],
)
def test_a_tree_that_makes_no_sense_is_refused(tree: Any):
    with pytest.raises(MetainfoError):
        Torrent.from_bytes(torrent_file(tree))


@pytest.mark.parametrize("piece_length", [0, -1, 1, 8192, KIB16 + 1, 3 * KIB16, 1 << 40])
def test_piece_lengths_are_powers_of_two_from_16_kib_up(piece_length: int):
    with pytest.raises(MetainfoError):
        Torrent.from_bytes(torrent_file({b"a": leaf(5)}, piece_length))


@pytest.mark.parametrize(
    "layers",
    [
        {},
        [],
        {merkle_root(): 5},
        {merkle_root(): PIECES[0]},
        {merkle_root(): b"".join(PIECES) + bytes(32)},
        {merkle_root(): PIECES[1] + PIECES[0]},
        {merkle_root(): b"".join(PIECES), b"other".ljust(32): bytes(64)},
        {merkle_root(): b"".join(PIECES)[:-1]},
    ],
)
def test_layers_that_are_missing_or_wrong_are_refused(layers: Any):
    with pytest.raises(MetainfoError, match="layer"):
        Torrent.from_bytes(torrent_file({b"a": leaf(20000, merkle_root())}, layers=layers))


def test_a_file_of_exactly_one_piece_has_no_layer():
    assert Torrent.from_bytes(torrent_file({b"a": leaf(KIB16)})).missing_layers == ()


def test_a_deep_tree_is_refused_without_recursion():
    tree: dict[bytes, Any] = leaf(5)
    for _ in range(90):
        tree = {b"d": tree}
    assert Torrent.from_bytes(torrent_file({b"a": tree})).files[0].length == 5
    deep = b"d1:a" * 10_000 + b"e" * 10_000
    with pytest.raises(MetainfoError):
        Torrent.from_bytes(b"d4:infod9:file tree" + deep + b"12:meta versioni2e4:name1:n12:piece lengthi16384eee")


def test_a_newer_version_is_refused_by_name():
    with pytest.raises(MetainfoError, match="version 3"):
        Torrent.from_bytes(torrent_file({b"a": leaf(5)}, meta_version=3))


def test_names_are_made_safe_and_unique():
    torrent = Torrent.from_bytes(torrent_file({b"..": leaf(5), b"__": leaf(5), b"a/b": leaf(5)}))
    assert [file.path[1:] for file in torrent.files] == [("__",), ("__.1",), ("a_b",)]


def test_an_info_dictionary_alone_lacks_its_layers():
    whole = Torrent.from_bytes(torrent_file({b"a": leaf(20000, merkle_root())}, layers=LAYERS))
    torrent = Torrent.from_info(whole.info_bytes)
    assert torrent.missing_layers == (merkle_root(),)
    with pytest.raises(MetainfoError, match="not known"):
        torrent.hashes()


# ------------------------------------------------------------------ making


def make_tree(folder: Path, random: Random, piece_length: int) -> None:
    """Files in folders, of every kind of length."""
    names = ["a", "b", "a.b", "B", "é", "日本", "c c", "#%?", "z"]
    edges = [0, 1, KIB16, KIB16 + 1, piece_length - 1, piece_length, piece_length + 1, 3 * piece_length]
    folder.mkdir()
    (folder / "always").write_bytes(random.randbytes(random.randint(1, 5 * piece_length)))
    for number in range(random.randint(0, 7)):
        parts = [f"{random.choice(names)}{number}" if level else random.choice("xyz") for level in range(3)]
        path = folder.joinpath(*parts[random.randint(0, 2) :])
        if path.exists() or any(parent.is_file() for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(random.choice([*edges, random.randint(1, 300_000)])))
        if random.random() < 0.3:
            path.chmod(0o755)


def made_by_libtorrent(path: Path, piece_length: int, version: str) -> dict[bytes, Any]:
    lt: Any = pytest.importorskip("libtorrent")
    entries = sorted(other for other in path.rglob("*") if other.is_file()) if path.is_dir() else [path]
    executable = lt.file_flags_t.flag_executable
    files = [
        lt.create_file_entry(
            other.relative_to(path.parent).as_posix(),
            other.stat().st_size,
            executable if os.access(other, os.X_OK) else 0,
        )
        for other in entries
    ]
    maker = lt.create_torrent(files, piece_length, lt.create_torrent.v2_only if version == "2" else 0)
    lt.set_piece_hashes(maker, str(path.parent))
    made: dict[bytes, Any] = maker.generate()
    return made


@pytest.mark.parametrize("version", ["2", "hybrid"])
@pytest.mark.parametrize("seed", range(30))
def test_a_torrent_is_made_as_libtorrent_makes_it(tmp_path: Path, seed: int, version: Any):
    lt: Any = pytest.importorskip("libtorrent")
    random = Random(seed)
    piece_length = random.choice([KIB16, 2 * KIB16, 4 * KIB16])
    path = tmp_path / "Root"
    if seed % 5:
        make_tree(path, random, piece_length)
    else:
        path.write_bytes(random.randbytes(random.choice([1, piece_length, piece_length + 1, 5 * piece_length])))
    ours = create_torrent(path, version=version, piece_length=piece_length)
    theirs = made_by_libtorrent(path, piece_length, version)
    assert ours.info_bytes == lt.bencode(theirs[b"info"])
    assert ours.piece_layers == theirs.get(b"piece layers", {})
    assert ours.version == version
    again = Torrent.from_bytes(ours.to_bytes())
    assert again == ours
    hashes = lt.torrent_info(lt.bdecode(ours.to_bytes())).info_hashes()
    assert hashes.v2.to_bytes() == ours.info_hash_v2
    assert ours.info_hash == (hashes.v1.to_bytes() if version == "hybrid" else None)


LINKS = {
    "to-file": "a",
    "to-folder": "sub",
    "sub/up": "../a",
    "sub/deep/there-and-back": "../../sub/./b",
    "dangling": "nowhere",
    "out": "/etc/hostname",
    "sub/escape": "../../x",
    "sub/root": "..",
}


@pytest.mark.skipif(os.name != "posix", reason="symbolic links need rights here")
@pytest.mark.parametrize("files", [["a"], ["a", "sub/b"]])
@pytest.mark.parametrize("version", ["2", "hybrid"])
def test_symbolic_links_are_recorded_as_libtorrent_records_them(tmp_path: Path, version: Any, files: list[str]):
    lt: Any = pytest.importorskip("libtorrent")
    root = tmp_path / "Root"
    for number, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(Random(name).randbytes(20_000))
        (root / name).chmod(0o755 if number else 0o644)
    for name, target in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    ours = create_torrent(root, version=version, piece_length=KIB16)
    flags = lt.create_torrent.symlinks
    # It would record the root itself by an empty path, and then not read it.
    found = lt.list_files(str(root), lambda path: not path.endswith("/root"), flags)
    maker = lt.create_torrent(found, KIB16, flags | (lt.create_torrent.v2_only if version == "2" else 0))
    lt.set_piece_hashes(maker, str(tmp_path))
    assert ours.info_bytes == lt.bencode(maker.generate()[b"info"])
    again = Torrent.from_bytes(ours.to_bytes())
    assert again.version == version
    assert [file.path[-1] for file in again.files if file.link] == [
        "dangling",
        "there-and-back",
        "up",
        "to-file",
        "to-folder",
    ]
    hashes = lt.torrent_info(lt.bdecode(ours.to_bytes())).info_hashes()
    assert hashes.v2.to_bytes() == ours.info_hash_v2


def test_a_hybrid_lists_its_files_in_the_order_of_the_tree(tmp_path: Path):
    # libtorrent lists "a-b" before "a/", and then refuses to read the torrent itself.
    for name in ("a/x", "a-b/y"):
        (tmp_path / "Root" / name).parent.mkdir(parents=True)
        (tmp_path / "Root" / name).write_bytes(name.encode())
    torrent = create_torrent(tmp_path / "Root", version="hybrid")
    assert torrent.version == "hybrid"
    assert [file.path[1:] for file in torrent.files if file.stored] == [("a", "x"), ("a-b", "y")]


@pytest.mark.parametrize("version", ["2", "hybrid"])
@pytest.mark.parametrize("piece_length", [1, 8192, 3 * KIB16])
def test_a_piece_length_that_version_2_cannot_have_is_refused(tmp_path: Path, version: Any, piece_length: int):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(ValueError, match="power of two"):
        create_torrent(tmp_path / "file", version=version, piece_length=piece_length)


@pytest.mark.parametrize("version", ["1", "2", "hybrid"])
def test_its_pieces_have_its_hashes(tmp_path: Path, version: Any):
    for name, size in (("a", 3 * KIB16 + 5), ("b", 0), ("c", 2 * KIB16), ("d", 7)):
        (tmp_path / "Root").mkdir(exist_ok=True)
        (tmp_path / "Root" / name).write_bytes(Random(size).randbytes(size))
    torrent = create_torrent(tmp_path / "Root", version=version, piece_length=2 * KIB16)
    stream = bytearray(torrent.geometry.length)
    for file in torrent.files:
        if file.stored:
            stream[file.offset : file.offset + file.length] = tmp_path.joinpath(*file.path).read_bytes()
    hashes = torrent.hashes()
    for piece in range(torrent.geometry.pieces):
        start = torrent.geometry.start_of(piece)
        data = stream[start : start + torrent.geometry.piece_size(piece)]
        assert digest_of(hashes, piece, data) == hashes.expected(piece)
        data[-1] ^= 1
        assert digest_of(hashes, piece, data) != hashes.expected(piece)


# ------------------------------------------------------------------ hybrids


def hybrid(tmp_path: Path) -> dict[bytes, Any]:
    for name, size in (("a", 3 * KIB16 + 5), ("b", 7)):
        (tmp_path / "Root").mkdir(exist_ok=True)
        (tmp_path / "Root" / name).write_bytes(Random(size).randbytes(size))
    metainfo = bencoding.decode(create_torrent(tmp_path / "Root", version="hybrid", piece_length=KIB16).to_bytes())
    assert isinstance(metainfo, dict)
    return metainfo


@pytest.mark.parametrize("change", ["order", "length", "name", "more", "layers", "tree"])
def test_a_hybrid_whose_halves_disagree_is_version_1(tmp_path: Path, change: str, caplog: Any):
    metainfo = hybrid(tmp_path)
    info = metainfo[b"info"]
    tree = info[b"file tree"]
    if change == "order":
        info[b"file tree"] = {b"a": tree[b"b"], b"b": tree[b"a"]}
    elif change == "length":
        tree[b"b"][b""][b"length"] = 8
    elif change == "name":
        tree[b"c"] = tree.pop(b"b")
    elif change == "more":
        tree[b"c"] = leaf(4)
    elif change == "layers":
        del metainfo[b"piece layers"]
    else:
        info[b"file tree"] = []
    with caplog.at_level(logging.WARNING):
        torrent = Torrent.from_bytes(bencoding.encode(metainfo))
    assert torrent.version == "1"
    assert torrent.info_hash_v2 is None
    assert "version 1" in caplog.text


def test_padding_behind_the_last_file_may_be_left_out(tmp_path: Path):
    metainfo = hybrid(tmp_path)
    assert metainfo[b"info"][b"files"].pop()[b"attr"] == b"p"
    torrent = Torrent.from_bytes(bencoding.encode(metainfo))
    assert torrent.version == "hybrid"


def test_padding_is_no_part_of_its_length(tmp_path: Path):
    torrent = Torrent.from_bytes(bencoding.encode(hybrid(tmp_path)))
    assert torrent.length == 3 * KIB16 + 5 + 7
    assert torrent.geometry.size == 5 * KIB16
    assert Magnet.from_torrent(torrent).length == torrent.length


def test_a_piece_with_one_hash_of_two_shows_that_the_torrent_is_wrong():
    both, flat = b"1" * 20 + b"2" * 32, b"1" * 20
    assert contradicts(both, b"1" * 20 + b"x" * 32)
    assert contradicts(both, b"x" * 20 + b"2" * 32)
    assert not contradicts(both, b"x" * 52)
    assert not contradicts(both, both)
    assert not contradicts(flat, b"x" * 20)


def test_a_link_without_any_hash_is_an_error_and_no_traceback():
    with pytest.raises(MagnetError, match="no info hash"):
        _ = Magnet().swarm_hash


def test_the_link_to_a_hybrid_has_both_hashes(tmp_path: Path):
    torrent = Torrent.from_bytes(bencoding.encode(hybrid(tmp_path)))
    magnet = Magnet.from_torrent(torrent)
    assert (magnet.info_hash, magnet.info_hash_v2) == (torrent.info_hash, torrent.info_hash_v2)
    assert Magnet.from_string(str(magnet)) == magnet
