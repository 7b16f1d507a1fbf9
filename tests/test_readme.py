"""The README's code, run as it stands: the commands' options exist, and the snippets move real blocks."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from bitarray import bitarray
from gevent.server import StreamServer

import geventbt
from geventbt.cli.main import run

README = (Path(__file__).parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DOWNLOAD, SEED, FILES, CLIENT, CREATE = SNIPPETS


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    data = tmp_path / "origin" / "ubuntu"
    data.parent.mkdir()
    data.write_bytes(bytes(range(256)) * 1000)
    torrent = geventbt.create_torrent(data)
    (tmp_path / "ubuntu.torrent").write_bytes(torrent.to_bytes())
    return torrent


@pytest.fixture
def seeder(torrent: geventbt.Torrent, tmp_path: Path) -> Any:
    """The README's own seeder, on a free port."""
    storage = geventbt.Storage(torrent, tmp_path / "origin")
    storage.check()
    names: dict[str, Any] = {
        "geventbt": geventbt,
        "storage": storage,
        "info_hash": torrent.info_hash,
        "peer_id": geventbt.new_peer_id(),
        "have": bitarray("1" * torrent.geometry.pieces),
    }
    code, listening = SEED.rsplit("geventbt.listen", 1)
    exec(code, names)
    assert listening.startswith("(6881, seed).serve_forever()")
    with geventbt.listen(("127.0.0.1", 0), names["seed"]) as server:
        yield server
    storage.close()


def test_the_downloading_snippet_gets_a_block(seeder: Any, torrent: geventbt.Torrent) -> None:
    names: dict[str, Any] = {"info_hash": torrent.info_hash, "peer_id": geventbt.new_peer_id()}
    exec(DOWNLOAD.replace("6881", str(seeder.server_port)), names)
    assert names["block"] == (bytes(range(256)) * 64)
    assert names["peer"].info_hash == torrent.info_hash
    names["wire"].close()


@pytest.fixture
def tracked(
    seeder: Any, torrent: geventbt.Torrent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve_http: Any
) -> Path:
    """The README's folder, and a tracker that knows the README's seeder. Gives the folder of the data."""
    peer = bytes([127, 0, 0, 1]) + seeder.server_port.to_bytes(2, "big")
    answer = geventbt.bencoding.encode({"interval": 1800, "peers": peer})
    url = serve_http(answer) + "/announce"
    (tmp_path / "ubuntu.torrent").write_bytes(replace(torrent, trackers=((url,),)).to_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "downloads"


@pytest.fixture
def serve_http() -> Any:
    """Answers every GET with the given bytes; gives the address as a URL."""
    servers: list[StreamServer] = []

    def serve(body: bytes) -> str:
        def answer(sock: Any, address: Any) -> None:
            sock.recv(65536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            sock.close()

        servers.append(StreamServer(("127.0.0.1", 0), answer))
        servers[-1].start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.stop()


def test_the_files_snippet_downloads_everything(tracked: Path, tmp_path: Path) -> None:
    exec(FILES, {"geventbt": geventbt})
    assert (tracked / "ubuntu").read_bytes() == (tmp_path / "origin" / "ubuntu").read_bytes()


def test_the_client_snippet_reads_and_downloads(
    tracked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {"geventbt": geventbt}
    exec(CLIENT.replace("port=6881", "port=0"), names)
    origin = (tmp_path / "origin" / "ubuntu").read_bytes()
    assert names["beginning"] == origin[:1000]
    assert (tracked / "ubuntu").read_bytes() == origin
    assert f"{len(origin)} bytes from" in capsys.readouterr().out


def test_the_create_snippet_makes_a_torrent(
    torrent: geventbt.Torrent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "origin").rename(tmp_path / "downloads")
    exec(CREATE, {"geventbt": geventbt})
    made = geventbt.Torrent.from_file(tmp_path / "made.torrent")
    assert made.info_hash == torrent.info_hash
    assert made.trackers == (("http://tracker.example/announce",),)


def test_the_serve_forever_of_the_snippet_blocks(torrent: geventbt.Torrent) -> None:
    server = geventbt.listen(("127.0.0.1", 0), lambda wire: None)
    greenlet = gevent.spawn(server.serve_forever)
    assert not greenlet.ready()
    server.stop()
    greenlet.join(timeout=5)
    assert greenlet.ready()


def test_every_command_and_option_of_the_readme_exists(capsys: pytest.CaptureFixture[str]) -> None:
    for command, options in re.findall(r"^geventbt (\w+) ?(.*)$", README, re.MULTILINE):
        with pytest.raises(SystemExit) as caught:
            run([command, "--help"])
        assert caught.value.code == 0
        usage = capsys.readouterr().out
        for option in re.findall(r"(?<!\S)--?[a-z][a-z-]*", options):
            assert option in usage


def test_the_exit_codes_of_the_readme_are_those_of_the_command_line() -> None:
    from geventbt.cli import errors

    told = {
        int(code)
        for code in re.findall(
            r"\b(\d+) (?:done|usage|not found|not a torrent|network|disk|unfinished|timed out|interrupted)", README
        )
    }
    ours = {value for name, value in vars(errors).items() if name.isupper()} | {2}
    assert told == ours
