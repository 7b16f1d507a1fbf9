"""Torrents whose data comes from a web server, and no peer at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import geventbt
from geventbt.cli.making import share
from tests.cli_harness import assert_one_line, run_here
from tests.loopback.web_server import WebServer

NO_DHT = ("--no-dht", "-q")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is shared, with a name that has to be escaped."""
    made = tmp_path / "www" / "100% of #1?"
    made.mkdir(parents=True)
    (made / "é x.bin").write_bytes(bytes(range(256)) * 300)
    (made / "other").write_bytes(b"other" * 5000)
    return made


@pytest.fixture
def web(folder: Path) -> Iterator[WebServer]:
    """A web server that has the folder around it."""
    server = WebServer(folder.parent)
    yield server
    server.stop()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def create(folder: Path, *options: object) -> Path:
    """Make a torrent of a folder by the command line."""
    path = folder.parent.parent / "x.torrent"
    assert run_here("create", folder, "-o", path, "-q", "--piece-length", "16K", *options) == 0
    return path


def assert_same(folder: Path, out: Path) -> None:
    for file in folder.iterdir():
        assert (out / folder.name / file.name).read_bytes() == file.read_bytes()


def test_a_torrent_with_a_web_seed_is_downloaded_without_any_peer(folder: Path, web: WebServer, out: Path) -> None:
    torrent = create(folder, "--web-seed", web.url)
    assert run_here("download", torrent, "-o", out, *NO_DHT) == 0
    assert_same(folder, out)


def test_a_web_seed_may_be_named_on_the_command_line(folder: Path, web: WebServer, out: Path) -> None:
    assert run_here("download", create(folder), "-o", out, "--web-seed", web.url[:-1], *NO_DHT) == 0
    assert_same(folder, out)


def test_a_link_with_urls_only_is_enough(folder: Path, web: WebServer, out: Path) -> None:
    torrent = geventbt.Torrent.from_file(create(folder))
    (folder.parent / "x.torrent").write_bytes(torrent.to_bytes())
    link = f"magnet:?xt=urn:btih:{torrent.swarm_hash.hex()}&xs={web.url}x.torrent&ws={web.url}"
    assert run_here("download", link, "-o", out, *NO_DHT) == 0
    assert_same(folder, out)


def test_a_file_is_written_to_standard_output(
    folder: Path, web: WebServer, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    torrent = create(folder)
    capfdbinary.readouterr()
    assert run_here("cat", torrent, "other", "--no-dht", "--web-seed", web.url) == 0
    assert capfdbinary.readouterr().out == b"other" * 5000


def test_web_seeds_can_be_switched_off(
    folder: Path, web: WebServer, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torrent = create(folder, "--web-seed", web.url)
    assert run_here("download", torrent, "-o", out, "--no-web-seeds", *NO_DHT) == 5
    assert "no peers" in capsys.readouterr().err
    assert not web.asked


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--web-seed", "ftp://a/"), "begins with http:// or https://"),
        (("--web-seed", "a b"), "not a URL"),
        (("--web-seed", "http://a/", "--no-web-seeds"), "not allowed with"),
    ],
)
def test_options_that_make_no_sense_are_one_line(
    options: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_here("download", "x.torrent", *options)
    assert_one_line(error := capsys.readouterr().err)
    assert text in error


def test_a_web_seed_is_of_one_torrent(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("download", "x.torrent", "y.torrent", "--web-seed", "http://a/") == 2
    assert "--web-seed is for one SOURCE" in capsys.readouterr().err


def test_a_folder_is_shared_with_its_web_seeds(folder: Path) -> None:
    made = share(str(folder), [], ["http://s/a%20b/"], is_quiet=True)
    assert geventbt.Torrent.from_file(made.output).web_seeds == ("http://s/a%20b/",)
