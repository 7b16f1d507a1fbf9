"""Reading .torrent files (BEP 3, 12, 19, 27, 47, 52)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from geventbt import limits
from geventbt.bencoding import decode, encode
from geventbt.errors import MetainfoError
from geventbt.geometry import Geometry
from geventbt.metainfo import Torrent, TorrentFile

HASHES = bytes(range(40))


def single(**changes: Any) -> dict[str, Any]:
    """The info of a file of 30 bytes in two pieces; a change to None takes a key away."""
    info = {"name": "a.txt", "length": 30, "piece length": 16, "pieces": HASHES, **changes}
    return {key: value for key, value in info.items() if value is not None}


def multi(*files: Any, **changes: Any) -> dict[str, Any]:
    """The info of a folder."""
    return single(**{"length": None, "name": "folder", "files": list(files), **changes})


def entry(length: int, *path: str | bytes, **more: Any) -> dict[str, Any]:
    return {"length": length, "path": list(path), **more}


def read(info: Any, **outer: Any) -> Torrent:
    return Torrent.from_bytes(encode({"info": info, **outer}))


def paths(torrent: Torrent) -> list[str]:
    return ["/".join(file.path) for file in torrent.files]


def test_a_single_file_is_read():
    torrent = read(single())
    assert torrent.name == "a.txt"
    assert torrent.files == (TorrentFile(("a.txt",), 30, 0),)
    assert torrent.geometry == Geometry(30, 16)
    assert torrent.piece_hashes == HASHES
    assert not torrent.is_multi_file
    assert not torrent.private


def test_a_folder_is_read_with_its_name_in_every_path():
    torrent = read(multi(entry(10, "x"), entry(0, "b", "y"), entry(20, "b", "z")))
    assert torrent.is_multi_file
    assert torrent.files == (
        TorrentFile(("folder", "x"), 10, 0),
        TorrentFile(("folder", "b", "y"), 0, 10),
        TorrentFile(("folder", "b", "z"), 20, 10),
    )


def test_a_folder_of_one_file_is_a_folder():
    assert read(multi(entry(30, "x"))).is_multi_file


def test_the_info_hash_is_of_the_exact_bytes():
    unsorted = b"d6:pieces40:" + HASHES + b"12:piece lengthi16e4:name1:a6:lengthi30ee"
    torrent = Torrent.from_bytes(b"d4:info" + unsorted + b"e")
    assert torrent.info_bytes == unsorted
    assert torrent.info_hash == hashlib.sha1(unsorted).digest()


def test_unknown_keys_of_the_info_count_for_its_hash():
    assert read(single(x=1)).info_hash == hashlib.sha1(encode(single(x=1))).digest()


def test_piece_hashes_are_had_by_index():
    torrent = read(single())
    assert torrent.piece_hash(1) == HASHES[20:]
    for piece in (-1, 2):
        with pytest.raises(IndexError):
            torrent.piece_hash(piece)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(kind: Any):
    torrent = Torrent.from_bytes(kind(encode({"info": single()})))
    assert type(torrent.info_bytes) is bytes
    assert Torrent.from_info(kind(torrent.info_bytes)) == torrent


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (single(name=None), "name is missing"),
        (single(name=5), "name is of a wrong type"),
        (single(length=None), "length is missing"),
        (single(length="30"), "length is of a wrong type"),
        (single(length=-30), "-30 bytes"),
        (single(length=0), "has no pieces"),
        (single(length=1 << 62), "pieces: at most"),
        (single(length=10**19), "pieces: at most"),
        (single(length=33), "2 piece hashes for 3 pieces"),
        (single(length=16), "2 piece hashes for 1 pieces"),
        (single(files=[entry(30, "x")]), "both"),
        (single(pieces=None), "pieces is missing"),
        (single(pieces=[HASHES]), "pieces is of a wrong type"),
        (single(pieces=HASHES[:-1]), "not a multiple of 20"),
        (single(pieces=b""), "0 piece hashes"),
        ({**single(), "piece length": 0}, "must be 1 to"),
        ({**single(), "piece length": -16}, "piece_length=-16: a whole number from 0 on is expected"),
        ({**single(), "piece length": limits.PIECE_LENGTH + 1}, "must be 1 to"),
        ({**single(), "piece length": "16"}, "of a wrong type"),
        (multi(), "no files"),
        (multi(files={}), "of a wrong type"),
        (multi("x"), "not a dictionary"),
        (multi({"length": 30}), "path is missing"),
        (multi({"path": ["x"]}), "length is missing"),
        (multi({"length": 30, "path": "x"}), "path is of a wrong type"),
        (multi(entry(30)), "0 parts"),
        (multi({"length": 30, "path": [1]}), "not a string"),
        (multi(entry(30, *"x" * (limits.PATH_PARTS + 1))), "101 parts"),
        (multi(entry(40, "x"), entry(-10, "y")), "-10 bytes"),
        (multi(entry(0, "x")), "has no pieces"),
        ([], "not a dictionary"),
        ("info", "not a dictionary"),
    ],
)
def test_a_torrent_that_cannot_be_used_is_refused(info: Any, words: str):
    with pytest.raises(MetainfoError, match=words):
        read(info)


@pytest.mark.parametrize(
    "data", [b"", b"de", b"le", b"i1e", b"4:info", b"d4:info", b"<html>", b"d4:infoi1ee", bytes(100)]
)
def test_what_is_no_torrent_is_refused(data: bytes):
    with pytest.raises(MetainfoError):
        Torrent.from_bytes(data)
    with pytest.raises(MetainfoError):
        Torrent.from_info(data)


@pytest.mark.parametrize("junk", [b"\n", b"\r\n", b"\0", b" ", b"e", b"<!-- 0.01 s -->", b"d4:infodee", bytes(5000)])
def test_bytes_behind_the_torrent_are_ignored(junk: bytes):
    data = encode({"info": single(), "announce": "http://a/"})
    assert Torrent.from_bytes(data + junk) == Torrent.from_bytes(data)


def test_bytes_behind_an_info_alone_are_refused_for_they_would_be_written_into_a_torrent():
    with pytest.raises(MetainfoError, match="1 bytes are behind it"):
        Torrent.from_info(encode(single()) + b"\n")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (b"6:lengthi30e", b"6:lengthi030e"),
        (b"4:name5:a.txt", b"4:name05:a.txt"),
        (b"12:piece lengthi16e", b"12:piece lengthi16e12:piece lengthi32e"),
        (b"12:piece lengthi16e", b"12:piece lengthi16e6:pieces20:" + bytes(range(20, 40))),
        (b"6:lengthi30e", b"6:lengthi30e1:xi" + b"9" * 60 + b"e"),
        (b"6:lengthi30e", b"6:lengthi30e1:xi-0e"),
    ],
)
def test_a_torrent_that_is_not_quite_right_is_read_with_the_hash_of_its_own_bytes(ours: bytes, theirs: bytes):
    info = encode(single())
    assert ours in info
    written = info.replace(ours, theirs)
    if b"6:pieces20:" in theirs:
        # Of a key that comes twice the first one counts: here the one of a single hash.
        written = written.replace(b"6:lengthi30e", b"6:lengthi10e")
    torrent = Torrent.from_bytes(b"d4:info" + written + b"e")
    assert torrent.info_hash == hashlib.sha1(written).digest()
    assert (torrent.name, torrent.geometry.piece_length) == ("a.txt", 16)


def test_an_empty_name_is_advice():
    assert paths(read(single(name=""))) == ["_"]
    assert paths(read(multi(entry(30, "x"), name=""))) == ["_/x"]


def test_a_hybrid_is_read_as_version_1():
    tree = {"x": {"": {"length": 30, "pieces root": bytes(32)}}}
    info = {**multi(entry(30, "x")), "meta version": 2, "file tree": tree}
    assert paths(read(info)) == ["folder/x"]


def test_no_path_leads_out_of_the_folder():
    torrent = read(
        multi(
            entry(10, "..", "..", "etc", "passwd"),
            entry(5, "/etc/shadow"),
            entry(5, "a/../../b"),
            entry(5, b"\xff\x00", ""),
            entry(5, "."),
            name="../up",
        )
    )
    assert torrent.name == ".._up"
    below = [path.removeprefix(".._up/") for path in paths(torrent)]
    assert below == ["__/__/etc/passwd", "_etc_shadow", "a_.._.._b", "__/_", "_"]


def test_utf8_names_come_first():
    info = multi({**entry(30, b"\xb5"), "path.utf-8": ["µ"]}, **{"name.utf-8": "é"})
    assert paths(read(info)) == ["é/µ"]
    assert read(single(**{"name.utf-8": "é.txt"})).name == "é.txt"
    assert read(single(**{"name.utf-8": 5})).name == "a.txt"


def test_files_of_one_path_get_paths_of_their_own():
    assert paths(read(multi(entry(10, "a"), entry(10, "a"), entry(10, "a", "b")))) == [
        "folder/a.1",
        "folder/a.2",
        "folder/a/b",
    ]


def test_padding_files_are_known_and_need_no_path():
    pad = {"length": 6, "attr": "p"}
    torrent = read(multi(entry(10, "x"), pad, entry(10, "y"), entry(4, "_____padding_file_0_if you see this file")))
    assert [file.padding for file in torrent.files] == [False, True, False, True]
    assert [file.stored for file in torrent.files] == [True, False, True, False]
    assert torrent.files[1].path == ("folder", ".pad", "6")
    assert torrent.files[2].offset == 16


def test_padding_files_may_share_a_path():
    pad = entry(5, ".pad", "5", attr="p")
    assert paths(read(multi(entry(20, "x"), pad, pad)))[1:] == ["folder/.pad/5"] * 2


def test_executable_files_and_links_are_known():
    link = {"path": ["l"], "attr": "l", "symlink path": ["..", "x"]}
    torrent = read(multi(entry(30, "x", attr="hx?"), link))
    assert torrent.files[0].executable
    assert torrent.files[1] == TorrentFile(("folder", "l"), 0, 30, link=True)
    assert not torrent.files[1].stored
    assert read(single(attr="x")).files[0].executable
    assert not read(single(attr=5)).files[0].executable


def test_a_single_file_is_never_padding():
    assert not read(single(attr="p")).files[0].padding


@pytest.mark.parametrize("value", [1, 2, 42, -1, 1 << 63])
def test_any_number_but_zero_is_private(value: int):
    assert read(single(private=value)).private


@pytest.mark.parametrize("value", [0, "1", b"", ["1"], {}])
def test_zero_and_what_is_not_a_number_is_not_private(value: Any):
    assert not read(single(private=value)).private


def test_announce_list_comes_before_announce():
    tiers = [
        ["http://a/", "udp://b:1"],
        [],
        ["http://c/", "http://a/"],
        5,
        [5, "", "no url", "http://d/\n", "http://\xff/", "http://[d/"],
    ]
    torrent = read(single(), announce="http://x/", **{"announce-list": tiers})
    assert torrent.trackers == (("http://a/", "udp://b:1"), ("http://c/",), ("http://d/",))


@pytest.mark.parametrize("tiers", [None, 5, [], [[]], [["nonsense"]], ["http://flat/"]])
def test_announce_is_used_where_the_list_is_of_no_use(tiers: Any):
    outer = {"announce-list": tiers} if tiers is not None else {}
    assert read(single(), announce="http://x/", **outer).trackers == (("http://x/",),)


def test_a_torrent_needs_no_tracker():
    assert read(single()).trackers == ()
    assert read(single(), announce=["http://x/"]).trackers == ()


def test_trackers_are_bounded():
    tiers = [[f"http://{i}-{j}/" for j in range(50)] for i in range(50)]
    torrent = read(single(), **{"announce-list": tiers, "url-list": tiers[0] * 50})
    assert sum(map(len, torrent.trackers)) == limits.TRACKERS
    assert len(torrent.web_seeds) == 50


def test_web_seeds_are_one_or_many():
    assert read(single(), **{"url-list": "http://a/"}).web_seeds == ("http://a/",)
    assert read(single(), **{"url-list": ["http://a/", 5, "http://b/"]}).web_seeds == ("http://a/", "http://b/")
    assert read(single(), **{"url-list": 5}).web_seeds == ()


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        ("http://a/b c", "http://a/b%20c"),
        (" http://a/x\n", "http://a/x"),
        ("http://a/é", "http://a/%C3%A9"),
        ("http://a/100%25 of/é?q=a b&c=d#e f", "http://a/100%25%20of/%C3%A9?q=a%20b&c=d#e%20f"),
        ("http://bücher.example/x", "http://xn--bcher-kva.example/x"),
        ("ftp://a:b@c:21/[d] e", "ftp://a:b@c:21/[d]%20e"),
        ("http://mé:pä ss@bücher.example:80/x", "http://m%C3%A9:p%C3%A4%20ss@xn--bcher-kva.example:80/x"),
        ("http://[::1]:80/é", "http://[::1]:80/%C3%A9"),
    ],
)
def test_a_web_seed_with_blanks_or_letters_outside_ascii_is_escaped(raw: str, url: str):
    assert read(single(), **{"url-list": [raw]}).web_seeds == (url,)


@pytest.mark.parametrize(
    "raw", ["", "/8/items/", "http:a", "http://a/\nb", "http://a\x1b[2J/", b"http://\xff\xfe\0/", "http://[a/"]
)
def test_a_web_seed_that_is_not_a_url_is_left_out(raw: str | bytes):
    assert read(single(), **{"url-list": [raw, "http://b/"]}).web_seeds == ("http://b/",)


def test_web_seeds_are_bounded_far_beyond_what_large_mirrors_list():
    urls = [f"http://{number}/" for number in range(2000)]
    assert read(single(), **{"url-list": urls[:403]}).web_seeds == tuple(urls[:403])
    assert read(single(), **{"url-list": urls}).web_seeds == tuple(urls[: limits.WEB_SEEDS])


def test_web_seeds_are_written_as_a_list():
    torrent = Torrent.from_info(encode(single()), web_seeds=["http://s/"])
    assert decode(torrent.to_bytes())[b"url-list"] == [b"http://s/"]


def test_scripts_that_seed_are_read_and_written():
    torrent = read(single(), httpseeds=["http://a/x y", "nonsense", 5])
    assert torrent.http_seeds == ("http://a/x%20y",)
    changed = replace(torrent, http_seeds=("http://b/",))
    assert Torrent.from_bytes(changed.to_bytes()).http_seeds == ("http://b/",)


def test_advice_in_utf_8_comes_first():
    torrent = read(single(), comment=b"h\xe9", **{"comment.utf-8": "hé", "created by": b"\xff", "created by.utf-8": ""})
    assert (torrent.comment, torrent.created_by) == ("hé", "\ufffd")
    assert read(single(name=b"h\xe9", **{"name.utf-8": "hé"})).name == "hé"


def test_advice_is_read_or_left_out():
    torrent = read(single(), comment="hé", **{"created by": "me", "creation date": 5})
    assert (torrent.comment, torrent.created_by, torrent.creation_date) == ("hé", "me", 5)
    torrent = read(single(), comment=5, **{"created by": b"\xff", "creation date": 1 << 60})
    assert (torrent.comment, torrent.created_by, torrent.creation_date) == (None, "\ufffd", None)


@pytest.mark.parametrize("junk", [b"", b"\n"])
def test_a_torrent_is_written_as_the_very_bytes_that_it_was_read_from(junk: bytes):
    info = encode(single())
    data = b"d5:x_key3:abc4:info" + info + b"9:httpseedsl12:http://old/xe8:announcei5ee" + junk
    assert Torrent.from_bytes(data).to_bytes() == data


def test_a_change_is_written_and_all_other_keys_stay():
    layers = {"piece layers": {b"r" * 32: b"h" * 64}, "x_big": 5, "comment.utf-8": "old", "comment": "old"}
    torrent = read(single(), announce="http://a/", **layers)
    changed = replace(torrent, trackers=(("http://b/",),), comment="new")
    written = decode(changed.to_bytes())
    assert written[b"piece layers"] == {b"r" * 32: b"h" * 64}
    assert (written[b"announce"], written[b"x_big"]) == (b"http://b/", 5)
    assert Torrent.from_bytes(changed.to_bytes()) == changed
    assert list(written) == sorted(written)


@pytest.mark.parametrize("change", [{"private": True}, {"name": "other"}])
def test_what_is_hashed_is_not_changed_in_writing(change: dict[str, Any]):
    for torrent in (read(single()), Torrent.from_info(encode(single()))):
        with pytest.raises(ValueError, match="make it anew"):
            replace(torrent, **change).to_bytes()


def test_writing_is_the_inverse_of_reading():
    torrent = read(
        multi(entry(10, "x"), entry(20, "y")),
        comment="c",
        **{
            "announce-list": [["http://a/", "http://b/"], ["http://c/"]],
            "created by": "me",
            "creation date": 5,
            "url-list": ["http://s/"],
        },
    )
    assert Torrent.from_bytes(torrent.to_bytes()) == torrent


def test_an_info_alone_is_read_as_from_a_magnet_link():
    torrent = Torrent.from_info(encode(single()), trackers=[["http://a/"]], web_seeds=["http://s/"])
    assert torrent == read(single(), announce="http://a/", **{"url-list": ["http://s/"]})


def test_a_file_is_read(tmp_path: Path):
    torrent = read(single())
    (tmp_path / "a.torrent").write_bytes(torrent.to_bytes())
    assert Torrent.from_file(tmp_path / "a.torrent") == torrent
    assert Torrent.from_file(str(tmp_path / "a.torrent")) == torrent


def test_errors_of_the_system_pass_as_they_are(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        Torrent.from_file(tmp_path / "missing.torrent")
    with pytest.raises(OSError):
        Torrent.from_file(tmp_path)


def test_a_file_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "TORRENT_FILE", 1000)
    (tmp_path / "big").write_bytes(b"1000:" + bytes(1000))
    with pytest.raises(MetainfoError, match="more than 1000 bytes"):
        Torrent.from_file(tmp_path / "big")


def test_a_torrent_shows_itself_in_a_line():
    torrent = read(multi(*[entry(1, str(i)) for i in range(30)]))
    assert len(repr(torrent)) < 500
