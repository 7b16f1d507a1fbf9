"""Torrents against any damage, and paths against any names."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from geventbt.bencoding import encode
from geventbt.errors import MetainfoError
from geventbt.metainfo import Torrent
from geventbt.metainfo.paths import UniquePaths, safe_name

GOOD: dict[str, Any] = {
    "announce": "http://a/",
    "announce-list": [["http://a/", "http://b/"], ["udp://c:1"]],
    "comment": "c",
    "creation date": 5,
    "info": {
        "name": "t",
        "piece length": 16,
        "pieces": bytes(60),
        "files": [
            {"length": 10, "path": ["a", "b"]},
            {"length": 6, "path": [".pad", "6"], "attr": "p"},
            {"length": 30, "path": ["c"], "path.utf-8": ["d"]},
        ],
    },
}

nasty_parts = st.sampled_from(
    [
        b"",
        b".",
        b"..",
        b"/",
        b"\\",
        b"..\\..",
        b"../..",
        b"/etc",
        b"C:\\",
        b"~",
        b"\x00",
        b"a\x00",
        b"\xff..",
        b"con",
        b"a. ",
    ]
)
names = nasty_parts | st.binary(max_size=12) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "replace"))
paths = st.lists(names, min_size=1, max_size=5)
scraps = st.integers(-(2**63), 2**63) | st.binary(max_size=40) | st.just([]) | st.just({})


def torrent_of(paths: list[list[bytes]], name: bytes = b"t") -> Torrent:
    files = [{"length": 1, "path": path} for path in paths]
    info = {"name": name or b"t", "piece length": 1, "pieces": bytes(20) * len(files), "files": files}
    return Torrent.from_info(encode(info))


def positions(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key or index) within a value."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    return [(value, key) for key in keys] + [found for key in keys for found in positions(value[key])]


def copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    return [copy(item) for item in value] if isinstance(value, list) else value


@given(st.data())
def test_a_torrent_with_wrong_values_is_a_torrent_or_a_metainfo_error(data: st.DataObject):
    damaged = copy(GOOD)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(positions(damaged)))
        if data.draw(st.booleans()):
            container[key] = data.draw(scraps)
        else:
            del container[key]
        if not damaged:
            break
    with contextlib.suppress(MetainfoError):
        torrent = Torrent.from_bytes(encode(damaged))
        assert Torrent.from_bytes(torrent.to_bytes()) == torrent
        assert len(torrent.piece_hashes) == 20 * torrent.geometry.pieces
        assert sum(file.length for file in torrent.files) == torrent.geometry.length


@given(st.data())
def test_a_torrent_with_wrong_bytes_is_a_torrent_or_a_metainfo_error(data: st.DataObject):
    damaged = bytearray(encode(GOOD))
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(MetainfoError):
        Torrent.from_bytes(damaged)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_torrent_or_a_metainfo_error(data: bytes):
    with contextlib.suppress(MetainfoError):
        Torrent.from_bytes(data)


@given(st.lists(paths, min_size=1, max_size=6), names)
def test_no_path_leads_outside(paths: list[list[bytes]], name: bytes):
    torrent = torrent_of(paths, name)
    root = os.path.abspath(os.path.join(os.sep, "downloads"))
    for file, path in zip(torrent.files, paths, strict=True):
        joined = os.path.join(root, *file.path)
        assert os.path.normpath(joined) == joined
        assert os.path.commonpath([root, joined]) == root
        assert len(file.path) == 1 + len(path)
        assert file.path[0] == torrent.name


@given(st.lists(paths, min_size=1, max_size=6))
def test_the_files_of_any_torrent_can_all_exist_at_once(paths: list[list[bytes]]):
    files = [file.path for file in torrent_of(paths).files]
    assert len(set(files)) == len(files)
    folders = {path[:depth] for path in files for depth in range(len(path))}
    assert not folders & set(files)


few_names = st.sampled_from(["a", "A", "a.1", "a.2", "b.x", "b.1.x", "B.X"])


@given(st.lists(st.lists(few_names, min_size=1, max_size=3).map(tuple), max_size=12), st.booleans())
def test_colliding_paths_are_all_made_different(paths: list[tuple[str, ...]], folds_names: bool):
    unique = UniquePaths(paths, folds_names=folds_names)
    taken = [unique.take(path) for path in paths]

    def seen(path: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(part.lower() for part in path) if folds_names else path

    files = {seen(path) for path in taken}
    assert len(files) == len(paths)
    assert not files & {seen(path[:depth]) for path in taken for depth in range(len(path))}


@given(names, st.booleans())
def test_a_safe_name_is_plain_and_stays_as_it_is(raw: bytes, windows: bool):
    name = safe_name(raw, windows=windows)
    assert name not in ("", ".", "..")
    assert not set(name) & set("/\\\0")
    assert len(name.encode()) <= 255
    assert not any(ord(character) < 32 for character in name)
    assert safe_name(name.encode(), windows=windows) == name
