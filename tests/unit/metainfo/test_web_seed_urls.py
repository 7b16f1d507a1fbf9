"""The URLs of a torrent's files at web seeds (BEP 17, 19)."""

from __future__ import annotations

from typing import Any

import pytest

from geventbt.bencoding import encode
from geventbt.metainfo import Torrent
from geventbt.metainfo.web_seed_urls import fetchable, file_url, piece_url


def single(name: str | bytes, **more: Any) -> Torrent:
    return read({"name": name, "length": 16384, **more})


def multi(name: str | bytes, *paths: list[str | bytes], **more: Any) -> Torrent:
    return read({"name": name, "files": [{"length": 16384, "path": path} for path in paths], **more})


def read(info: dict[str, Any]) -> Torrent:
    files = info.get("files", [None])
    return Torrent.from_info(encode({**info, "piece length": 16384, "pieces": bytes(20 * len(files))}))


def urls(torrent: Torrent, seed: str) -> list[str]:
    return [file_url(seed, torrent, file) for file in torrent.files]


def test_the_url_of_a_single_file_is_its_own_or_that_of_its_folder():
    torrent = single("a b.iso")
    assert urls(torrent, "http://h/other%20name.iso?x=1") == ["http://h/other%20name.iso?x=1"]
    assert urls(torrent, "http://h/pub/") == ["http://h/pub/a%20b.iso"]


def test_the_url_of_a_folder_is_that_of_the_folder_around_it():
    torrent = multi("dir", ["x"], ["y", "z"])
    for seed in ("http://h/pub", "http://h/pub/"):
        assert urls(torrent, seed) == ["http://h/pub/dir/x", "http://h/pub/dir/y/z"]


def test_a_folder_with_one_file_is_a_folder():
    assert urls(multi("dir", ["x"]), "http://h/pub") == ["http://h/pub/dir/x"]


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a b", "a%20b"),
        ("100%25 %", "100%2525%20%25"),
        ("a#b?c&d=e;f+g", "a%23b%3Fc%26d%3De%3Bf%2Bg"),
        ("é\N{SNOWMAN}", "%C3%A9%E2%98%83"),
        ("~a-b_c.d", "~a-b_c.d"),
        (b"caf\xe9", "caf%E9"),
        ("con:aux|*<>\"'", "con%3Aaux%7C%2A%3C%3E%22%27"),
        ("a\\b\x01", "a%5Cb%01"),
        ("..", ".."),
        ("x" * 300, "x" * 300),
        ("right\u202eto left", "right%E2%80%AEto%20left"),
    ],
)
def test_names_are_escaped_as_the_torrent_has_them_and_not_as_they_are_on_disk(name: str | bytes, escaped: str):
    assert urls(single(name), "http://h/") == [f"http://h/{escaped}"]
    assert urls(multi(name, [name]), "http://h/") == [f"http://h/{escaped}/{escaped}"]


def test_two_files_of_one_name_are_both_asked_for_by_it():
    torrent = multi("dir", ["x"], ["x"], ["y", "z"], ["y"])
    assert len({file.path for file in torrent.files}) == 4
    assert urls(torrent, "http://h") == ["http://h/dir/x", "http://h/dir/x", "http://h/dir/y/z", "http://h/dir/y"]


def test_names_in_utf_8_come_first():
    torrent = single(b"h\xe9", **{"name.utf-8": "hé"})
    assert urls(torrent, "http://h/") == ["http://h/h%C3%A9"]


def test_the_usual_name_is_kept_only_once():
    assert [file.raw_parts for file in multi("é", ["x"], ["y"]).files] == [None, None]


def test_only_http_can_be_fetched():
    seeds = ["ftp://a/", "HTTP://a/", "https://b/", "HTTP://a/", "udp://c", "s3://d/e"]
    assert fetchable(seeds) == ("HTTP://a/", "https://b/")


def test_a_script_is_asked_for_a_part_of_a_piece():
    info_hash = bytes.fromhex("9cd9698af555751a9186ae066c57ea21572335e0")
    query = "info_hash=%9C%D9i%8A%F5Uu%1A%91%86%AE%06lW%EA%21W%235%E0&piece=8&ranges=49152-131071"
    assert piece_url("http://h/seed.php", info_hash, 8, 49152, 131072) == f"http://h/seed.php?{query}"
    assert piece_url("http://h/seed.php?a=b", info_hash, 8, 49152, 131072) == f"http://h/seed.php?a=b&{query}"
