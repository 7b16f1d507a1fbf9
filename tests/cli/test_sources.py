"""What a person may call a torrent, and what is said when it is none."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import geventbt
from geventbt import limits
from tests.cli_harness import assert_one_line, json_lines, make_torrent_file, run_here
from tests.loopback.fake_trackers import FakeHttp, ok
from tests.loopback.harness import gevent_listener

HASH = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def web(torrent_file: Path) -> Iterator[FakeHttp]:
    """A web server that has the torrent, and a page."""
    server = FakeHttp(
        {
            "/x.torrent": ok(torrent_file.read_bytes()),
            "/page": ok(b"<!DOCTYPE html><p>Sorry"),
            "/gone": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
        }
    )
    yield server
    server.close()


class _Input:
    """Standard input that is not a terminal."""

    def __init__(self, data: bytes, is_terminal: bool = False) -> None:
        self.buffer = io.BytesIO(data)
        self.isatty = lambda: is_terminal


def test_a_torrent_may_come_from_standard_input(
    torrent_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(torrent_file.read_bytes()))
    assert run_here("magnet", "-") == 0
    assert geventbt.Torrent.from_file(torrent_file).info_hash.hex() in capsys.readouterr().out


def test_nothing_is_read_from_a_keyboard(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(b"", is_terminal=True))
    assert run_here("info", "-") == 2
    assert_one_line(error := capsys.readouterr().err)
    assert "< FILE.torrent" in error


def test_a_torrent_may_come_from_the_web(
    web: FakeHttp, seeder: str, origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("download", web.url("/x.torrent"), "-q", "-o", tmp_path / "out", "--peer", seeder) == 0
    assert (tmp_path / "out/shared/one.bin").read_bytes() == (origin / "one.bin").read_bytes()


def test_a_web_page_is_no_torrent_and_is_called_a_page(web: FakeHttp, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", web.url("/page")) == 4
    assert_one_line(error := capsys.readouterr().err)
    assert "it is a web page" in error


def test_a_url_where_nothing_is_is_not_found(web: FakeHttp, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", web.url("/gone")) == 3
    assert_one_line(error := capsys.readouterr().err)
    assert "404" in error
    assert "check the URL" in error


def test_a_url_where_nobody_listens_is_a_network_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("download", "http://127.0.0.1:1/x.torrent") == 5
    assert_one_line(error := capsys.readouterr().err)
    assert "check the URL" in error


def test_an_info_hash_is_enough_where_a_peer_is_named(
    torrent_file: Path, seeder: str, origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info_hash = geventbt.Torrent.from_file(torrent_file).info_hash.hex()
    assert run_here("download", info_hash, "-q", "-o", tmp_path / "out", "--peer", seeder) == 0
    assert (tmp_path / "out/shared/sub/two.bin").read_bytes() == (origin / "sub/two.bin").read_bytes()


def test_info_hardly_waits_for_a_tracker_that_does_not_answer(
    torrent_file: Path, seeder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeouts, close = [], geventbt.Client.close

    def note(client: geventbt.Client, timeout: float = limits.STOP_TIMEOUT) -> None:
        timeouts.append(timeout)
        close(client, timeout)

    monkeypatch.setattr(geventbt.Client, "close", note)
    info_hash = geventbt.Torrent.from_file(torrent_file).swarm_hash.hex()
    with gevent_listener() as mute:
        tracker = f"http://127.0.0.1:{mute.getsockname()[1]}/announce"
        assert run_here("info", info_hash, "--peer", seeder, "--tracker", tracker) == 0
    assert timeouts[0] <= 1


@pytest.mark.parametrize("command", ["download", "cat"])
@pytest.mark.parametrize("source", [f"magnet:?xt=urn:btih:{HASH}", HASH])
def test_a_magnet_that_the_shell_has_cut_is_noticed(
    command: str, source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(command, source, "--no-dht") == 2
    assert_one_line(error := capsys.readouterr().err)
    assert "in quotes" in error
    assert "&" in error
    assert "--peer" in error


@pytest.mark.parametrize("command", ["download", "info", "magnet", "cat", "peer 127.0.0.1:1"])
@pytest.mark.parametrize("options", [[], ["--debug"]])
def test_a_magnet_that_the_shell_has_cut_before_its_info_hash_is_noticed(
    command: str, options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    name, *address = command.split()
    assert run_here(name, *options, *address, "magnet:?dn=photos") == 4
    last = capsys.readouterr().err.splitlines()[-1]
    assert "the magnet link has no BitTorrent info hash" in last
    assert "put it in quotes" in last


@pytest.mark.parametrize("command", ["download", "info", "cat"])
def test_a_cut_magnet_with_which_nobody_is_found_is_explained(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    link = f"magnet:?xt=urn:btih:{HASH}"
    for source, is_cut in ((link, True), (f"{link}&dn=x", False), (HASH, False)):
        assert run_here(command, "--peer", "127.0.0.1:1", source) == 5
        assert_one_line(error := capsys.readouterr().err)
        assert ("put it in quotes" in error) == is_cut


def test_a_cut_magnet_from_which_nothing_comes_is_explained(
    silent_peer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["info", "-q", "--stall-timeout", "0.3", "--peer", silent_peer, f"magnet:?xt=urn:btih:{HASH}"]
    assert run_here(*arguments) == 8
    assert_one_line(error := capsys.readouterr().err)
    assert "put it in quotes" in error
    assert "is kept" not in error


def test_info_of_a_cut_magnet_explains_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", f"magnet:?xt=urn:btih:{HASH}") == 0
    assert "put it in quotes" in capsys.readouterr().out


def test_info_does_not_promise_to_keep_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", HASH, "--peer", "127.0.0.1:1") == 5
    assert_one_line(error := capsys.readouterr().err)
    assert "--peer" in error
    assert "kept" not in error


@pytest.mark.parametrize("by_link", [False, True])
def test_a_peer_whose_name_leads_nowhere_is_named_with_the_reason(
    by_link: bool, torrent_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = HASH if by_link else torrent_file
    assert run_here("download", source, "-q", "-o", tmp_path / "out", "--peer", "nosuch.invalid:80") == 5
    assert_one_line(error := capsys.readouterr().err)
    assert "(nosuch.invalid: " in error


@pytest.mark.parametrize("text", [HASH, f"magnet:?xt=urn:btih:{HASH}&dn=x", f"  {HASH.upper()}\n"])
def test_a_link_may_come_from_standard_input(
    text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(text.encode()))
    assert run_here("magnet", "-") == 0
    assert capsys.readouterr().out.startswith(f"magnet:?xt=urn:btih:{HASH}")


def test_a_url_may_come_from_standard_input(
    web: FakeHttp, torrent_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", _Input(f"{web.url('/x.torrent')}\n".encode()))
    assert run_here("magnet", "-") == 0
    assert geventbt.Torrent.from_file(torrent_file).info_hash.hex() in capsys.readouterr().out


def test_a_file_that_is_not_there_is_told_with_what_would_be_a_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("download", "ubuntu.torrrent") == 3
    assert_one_line(error := capsys.readouterr().err)
    assert "ubuntu.torrrent: there is no such file" in error
    assert "magnet link" in error


@pytest.mark.parametrize("text", ["magnet:?dn=x", "magnet:?xt=urn:btih:xyz", f"magnet:?xt=urn:btmh:1220{'a' * 62}"])
def test_a_magnet_that_leads_nowhere_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("download", text, "--peer", "127.0.0.1:1") == 4
    assert_one_line(capsys.readouterr().err)


def test_a_link_of_version_2_is_shown_and_its_peers_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").write_bytes(bytes(range(256)) * 500)
    torrent = geventbt.create_torrent(tmp_path / "data", version="2", piece_length=16384)
    link = str(geventbt.Magnet.from_torrent(torrent))
    assert run_here("info", link, "--json") == 0
    (shown,) = json_lines(capsys.readouterr().out)
    assert torrent.info_hash_v2 is not None
    assert (shown["info_hash"], shown["info_hash_v2"]) == (torrent.swarm_hash.hex(), torrent.info_hash_v2.hex())
    assert run_here("info", link) == 0
    assert torrent.info_hash_v2.hex() in capsys.readouterr().out
    assert run_here("magnet", torrent.info_hash_v2.hex().upper()) == 0
    assert capsys.readouterr().out.strip() == str(geventbt.Magnet(info_hash_v2=torrent.info_hash_v2))
    with geventbt.seed(torrent, tmp_path, ("127.0.0.1", 0), dht=False) as client:
        peer = f"127.0.0.1:{client.port}"
        assert run_here("download", link, "--peer", peer, "--no-dht", "-o", tmp_path / "out", "-q") == 0
        assert (tmp_path / "out" / "data").read_bytes() == (tmp_path / "data").read_bytes()
        assert run_here("peer", peer, link, "--json") == 0


def test_several_torrents_of_version_2_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torrents = []
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(name.encode() * 9000)
        torrents.append(geventbt.create_torrent(tmp_path / name, version="2", piece_length=16384))
        (tmp_path / f"{name}.torrent").write_bytes(torrents[-1].to_bytes())
    sources = [tmp_path / "one.torrent", tmp_path / "two.torrent"]
    out = tmp_path / "out"
    assert run_here("download", *sources, "--no-dht", "-o", out, "--stall-timeout", "0.5s", "--json") != 0
    failed = [line["info_hash"] for line in json_lines(capsys.readouterr().out) if line["event"] == "error"]
    assert sorted(failed) == sorted(torrent.swarm_hash.hex() for torrent in torrents)


def test_a_name_that_no_file_can_have_is_not_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", "a\x00b") == 3
    assert_one_line(error := capsys.readouterr().err)
    assert "\x00" not in error


def test_a_folder_is_no_torrent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", tmp_path) == 6
    assert_one_line(capsys.readouterr().err)


def test_a_link_cannot_be_seeded_and_it_is_said_how_to_get_the_torrent(
    seeder: str, torrent_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("seed", HASH, tmp_path) == 2
    assert_one_line(error := capsys.readouterr().err)
    assert "geventbt info --save-torrent" in error
    magnet = str(geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(torrent_file)))
    assert run_here("info", magnet, "-q", "--peer", seeder, "--save-torrent", tmp_path / "got.torrent") == 0
    got = geventbt.Torrent.from_file(tmp_path / "got.torrent")
    assert got.info_bytes == geventbt.Torrent.from_file(torrent_file).info_bytes


@pytest.mark.parametrize("command", ["info", "download"])
def test_a_torrent_is_kept_only_where_nothing_is_lost(
    command: str, torrent_file: Path, seeder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, torrent_file, "-q", "--peer", seeder, "--save-torrent"]
    (tmp_path / "keep.txt").write_text("a letter")
    assert run_here(*arguments, tmp_path / "keep.txt") == 2
    assert_one_line(capsys.readouterr().err)
    assert (tmp_path / "keep.txt").read_text() == "a letter"
    assert run_here(*arguments, tmp_path / "nowhere/x.torrent") == 3
    assert_one_line(error := capsys.readouterr().err)
    assert "there is no folder" in error


# ------------------------------------------------------------------ info and magnet


def test_info_shows_what_a_torrent_says(tmp_path: Path, origin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_torrent_file(
        tmp_path, origin, trackers=[["http://a/announce"], ["udp://b:1"]], comment="evil\x1b[2J", private=True
    )
    assert run_here("info", path) == 0
    shown = capsys.readouterr().out
    assert "size       361.4 KiB in 23 pieces of 16.0 KiB" in shown
    assert "private    yes" in shown
    assert "trackers   http://a/announce\n           udp://b:1" in shown
    assert "    2    68.4 KiB  shared/sub/two.bin" in shown
    assert "\x1b" not in shown


def test_info_is_for_programs_too(torrent_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", torrent_file, "--json") == 0
    (facts,) = json_lines(capsys.readouterr().out)
    torrent = geventbt.Torrent.from_file(torrent_file)
    assert facts["event"] == "torrent"
    assert facts["info_hash"] == torrent.info_hash.hex()
    assert [file["path"] for file in facts["files"]] == ["/".join(file.path) for file in torrent.files]
    assert facts["files"][0] == {"index": 0, "path": "shared/one.bin", "length": 300_001, "selected": True}


def test_info_of_a_link_asks_its_peers_and_leaves_nothing(
    torrent_file: Path,
    seeder: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    magnet = f"{geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(torrent_file))}&x.pe={seeder}"
    assert run_here("info", magnet, "--json", "-q") == 0
    (facts,) = json_lines(capsys.readouterr().out)
    assert len(facts["files"]) == 3
    assert list((tmp_path / "here").iterdir()) == []


def test_info_of_a_link_with_nobody_to_ask_shows_the_link(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", f"magnet:?xt=urn:btih:{HASH}&dn=a%1bb&xl=1024") == 0
    shown = capsys.readouterr().out
    assert HASH in shown
    assert "1.0 KiB" in shown
    assert "--peer" in shown
    assert "\x1b" not in shown
    assert run_here("info", HASH, "--json") == 0
    assert json_lines(capsys.readouterr().out)[0]["info_hash"] == HASH


def test_info_of_a_link_that_no_peer_answers_ends_in_time(silent_peer: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("info", HASH, "-q", "--stall-timeout", "0.3", "--peer", silent_peer) == 8
    assert_one_line(error := capsys.readouterr().err)
    assert "nothing received for 0.3 seconds" in error


def test_a_hash_becomes_a_link(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("magnet", HASH) == 0
    assert capsys.readouterr().out == f"magnet:?xt=urn:btih:{HASH}\n"


# ------------------------------------------------------------------ peer


def test_a_peer_may_be_asked_for_the_torrent_of_a_file(
    seeder: str, torrent_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("peer", seeder, torrent_file, "--wait", "0.1", "--json") == 0
    (facts,) = json_lines(capsys.readouterr().out)
    assert (facts["event"], facts["address"], facts["has_all"]) == ("peer", seeder, True)
