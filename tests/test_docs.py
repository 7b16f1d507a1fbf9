"""The documentation, held to what it says: all Python of the README and of docs/ runs here, as it stands, against real
peers on loopback."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import gevent
import pytest
from bitarray import bitarray
from gevent import socket as gevent_socket
from gevent import subprocess as gevent_subprocess
from gevent.pywsgi import WSGIServer

import geventbt
from tests.documents import DOCUMENTS
from tests.free_port import free_port
from tests.loopback.fake_trackers import FakeHttp, bencoded
from tests.loopback.harness import eventually

CONTENT = bytes(range(256)) * 1000
TAKEN: set[tuple[str, str, int]] = set()


def take(document: str, heading: str, number: int = 0) -> str:
    """A block of Python, for a test that runs it. To be called as the module is imported."""
    TAKEN.add((document, heading, number))
    return DOCUMENTS[document].blocks[heading, number]


DOWNLOAD = take("README", "Get the files")
BLOCK = take("README", "Get a block")
SEED = take("README", "Serve blocks")
TUTORIAL_DOWNLOAD = take("tutorial", "Download a torrent")
TUTORIAL_SEED = take("tutorial", "Make a torrent and seed it")
TUTORIAL_BLOCK = take("tutorial", "Ask one peer for one block")
TUTORIAL_SEVERAL = take("tutorial", "Do several things at once")
ERRORS = take("guides/wire", "Errors and timeouts")
WIRE = take("guides/wire", "The wire") + take("guides/wire", "Requests") + ERRORS
EVENTS = take("guides/wire", "Signals and messages", 0)
MESSAGES = take("guides/wire", "Signals and messages", 1)
SEED_BY_REQUEST = take("guides/serving", "Answer request by request")
OWN_SERVER = take("guides/serving", "On a server of your own")
OWN_STORAGE = take("guides/serving", "Serve from any storage")
MEMORY = take("guides/serving", "Download into any storage", 0)
BUCKET = take("guides/serving", "A bucket, or any other store")
DATABASE = take("guides/serving", "A backend of your own")
EXTENSION = take("guides/extensions", "Extensions", 0)
EXTENSION_IN_A_CLIENT = take("guides/extensions", "Extensions", 1)
CLIENT = take("guides/client", "Client")
WATCH = take("guides/client", "Watch a torrent")
CHOOSE = take("guides/client", "Select files")
CREATE = take("guides/client", "Make a torrent")
CHANGE = take("guides/client", "Change a torrent")
STREAM = take("guides/streaming", "Streaming")
PIECES = take("guides/streaming", "By pieces")
WEB = take("guides/web", "A client with its page")
OWN_VIEW = take("guides/web", "In a view of your own", 0)
FLASK_VIEW = take("guides/web", "In a view of your own", 1)
PARTS = take("guides/web", "Parts")
SERVICE = take("guides/service", "In a Python program")
WORKER = take("guides/farm", "More cores")
FARM = take("guides/farm", "More machines")
REMOTE = take("guides/service", "Programs that control it")
SCRIPT = take("guides/concurrency", "In a script that is not patched")
PATCHED = take("guides/concurrency", "In a monkey-patched program")
GUNICORN = take("guides/concurrency", "Under gunicorn")
IN_GEVENT = take("guides/concurrency", "Next to native threads")
DHT = take("guides/dht", "The DHT and the local network")
SIGNALS = take("guides/concurrency", "Signals, and the end of a program")
ASYNCIO = take("guides/concurrency", "Next to asyncio")


def test_every_block_of_python_is_run_by_a_test() -> None:
    found = {(name, *block) for name, document in DOCUMENTS.items() for block in document.blocks}
    assert found == TAKEN, "take() each block by its page, heading and number, and run it in a test"
    assert len(found) == sum(document.text.count("```python") for document in DOCUMENTS.values())


def test_a_client_is_closed_to_the_end_by_a_signal() -> None:
    lines = ["import os, gevent, geventbt", SIGNALS, "gevent.spawn_later(0.3, os.kill, os.getpid(), 15)", "main()"]
    code = "\n".join([*lines, "print('closed')"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "closed\n"), done.stderr


def test_the_dht_finds_and_keeps(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with geventbt.DHT(0, "127.0.0.1", routers=()) as other:
        monkeypatch.setenv("GEVENTBT_DHT_ROUTERS", f"127.0.0.1:{other.port}")
        monkeypatch.setattr("geventbt.limits.DHT_ROUTERS_AFTER", 0.1)
        with geventbt.DHT(0, "127.0.0.1", routers=(), nodes=[("127.0.0.1", other.port)]) as third:
            third.wait_ready(10)
            eventually(lambda: other.status().nodes == 1)
            executed = execute(DHT, names)
            assert executed["stored"] >= 1
            assert executed["value"] == b"any small value"
    assert Path("dht.state").exists()


# --- peers for the code ---


def execute(code: str, names: dict[str, Any], **replacements: str) -> dict[str, Any]:
    """Run code as it stands, except for what cannot be so here, such as a port. Returns its names."""
    for old, new in {"port=6881": "port=0", **replacements}.items():
        code = code.replace(old, new)
    exec(compile(code, "docs", "exec"), names)
    return names


@pytest.fixture
def torrent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> geventbt.Torrent:
    """ubuntu.torrent in the current folder, and its data in origin/."""
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "ubuntu").write_bytes(CONTENT)
    torrent = geventbt.create_torrent(tmp_path / "origin" / "ubuntu", piece_length=131072)
    (tmp_path / "ubuntu.torrent").write_bytes(torrent.to_bytes())
    monkeypatch.chdir(tmp_path)
    return torrent


@pytest.fixture
def names(torrent: geventbt.Torrent, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The names that the examples take for known."""
    with geventbt.Storage(torrent, tmp_path / "origin") as storage:
        storage.check()
        yield {
            "geventbt": geventbt,
            "gevent": gevent,
            "torrent": torrent,
            "storage": storage,
            "info_hash": torrent.info_hash,
            "peer_id": geventbt.new_peer_id(),
            "have": bitarray("1" * torrent.geometry.pieces),
        }


@contextmanager
def listening(code: str, names: dict[str, Any]) -> Iterator[int]:
    """Run code that makes a `server` on port 6881, which gets a free one here. Gives that port."""
    server = execute(code, names, **{"listen(6881": 'listen(("127.0.0.1", 0)'})["server"]
    with server:
        yield server.server_port


@pytest.fixture(params=[SEED, SEED_BY_REQUEST], ids=["README", "serving"])
def port_of_each(request: pytest.FixtureRequest, names: dict[str, Any]) -> Iterator[int]:
    """The port of each seeder of the documentation that answers request by request."""
    with seeder(request.param, names) as port:
        yield port


@pytest.fixture
def port(names: dict[str, Any]) -> Iterator[int]:
    """The port of the README's own seeder."""
    with seeder(SEED, names) as port:
        yield port


@contextmanager
def seeder(seed: str, names: dict[str, Any]) -> Iterator[int]:
    """Run code that serves forever beside the test. Gives its port."""
    code = seed.replace("geventbt.listen(6881, seed).serve_forever()", "server = geventbt.listen(6881, seed)")
    assert code != seed
    with listening(code, {**names, "peer_id": geventbt.new_peer_id()}) as port:
        yield port


@pytest.fixture
def tracked(port: int, torrent: geventbt.Torrent, tmp_path: Path) -> Iterator[Callable[[geventbt.Torrent], bytes]]:
    """Gives a torrent a tracker that knows the README's seeder; so has ubuntu.torrent. Returns the file's bytes."""
    peer = bytes([127, 0, 0, 1]) + port.to_bytes(2, "big")
    tracker = FakeHttp({"": bencoded(interval=1800, peers=peer)})

    def with_tracker(torrent: geventbt.Torrent) -> bytes:
        return replace(torrent, trackers=((tracker.url(),),)).to_bytes()

    (tmp_path / "ubuntu.torrent").write_bytes(with_tracker(torrent))
    yield with_tracker
    tracker.close()


# --- its code ---


@pytest.mark.parametrize("code", [DOWNLOAD, TUTORIAL_DOWNLOAD], ids=["README", "tutorial"])
def test_the_download_gets_the_files(code: str, tracked: Any, tmp_path: Path) -> None:
    execute(code, {})
    assert (tmp_path / "downloads" / "ubuntu").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [BLOCK, TUTORIAL_BLOCK], ids=["README", "tutorial"])
def test_the_downloading_wire_gets_a_block(code: str, port: int, names: dict[str, Any]) -> None:
    execute(code, names, **{"6881": str(port)})
    assert names["block"] == CONTENT[:16384]
    assert names["peer"].info_hash == names["info_hash"]
    names["wire"].close()


def assert_no_traceback(port: int, torrent: geventbt.Torrent, caplog: pytest.LogCaptureFixture) -> None:
    """A peer that requests what does not exist is closed, and leaves nothing in the log."""
    with geventbt.connect(("127.0.0.1", port)) as wire:
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        wire.interested()
        wire.wait_unchoked(10)
        with pytest.raises(geventbt.WireClosed):
            wire.request(0, torrent.geometry.piece_length, 1, timeout=5)
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


def test_an_untrusted_peer_causes_no_traceback_in_the_log_of_the_seeder(
    port_of_each: int, torrent: geventbt.Torrent, caplog: pytest.LogCaptureFixture
) -> None:
    assert_no_traceback(port_of_each, torrent, caplog)


def test_a_server_of_the_users_own_serves(names: dict[str, Any], torrent: geventbt.Torrent, tmp_path: Path) -> None:
    starts = 'server = StreamServer(("127.0.0.1", 0), handle)\nserver.start()'
    code = (SEED_BY_REQUEST + OWN_SERVER).replace("geventbt.listen(6881, seed).serve_forever()", "")
    server = execute(code, names, **{'StreamServer(("", 6881), handle).serve_forever()': starts})["server"]
    with closing(server):
        geventbt.download(torrent, tmp_path / "copy", peers=[("127.0.0.1", server.server_port)])


def test_serve_forever_blocks() -> None:
    server = geventbt.listen(("127.0.0.1", 0), lambda wire: None)
    greenlet = gevent.spawn(server.serve_forever)
    gevent.sleep(0)
    assert not greenlet.ready()
    server.stop()
    greenlet.join(timeout=5)
    assert greenlet.ready()


def test_the_wire_gets_blocks_pieces_and_ranges(port: int, capsys: pytest.CaptureFixture[str]) -> None:
    names = execute(WIRE, {}, **{"6881": str(port)})
    assert capsys.readouterr().out.startswith("geventbt 0.1.0.0 Extensions(")
    assert names["block"] == CONTENT[:16384]
    assert bytes(names["piece"]) == CONTENT[:131072]
    assert bytes(names["buffer"]) == CONTENT[131172:181172]
    assert b"".join(names["blocks"]) == CONTENT[131072:]
    assert names["fetch"](0, 16384, 16384) == CONTENT[16384:32768]
    names["wire"].close()
    with pytest.raises(SystemExit, match="the peer is gone"):
        names["fetch"](0, 16384, 16384)


def test_the_errors_of_requests_are_caught_where_the_guide_says() -> None:
    def do_nothing(wire: geventbt.Wire) -> None:
        wire.handshake("11" * 20, geventbt.new_peer_id())
        wire.wait_for("close")

    with geventbt.listen(("127.0.0.1", 0), do_nothing) as server:
        wire = geventbt.connect(("127.0.0.1", server.server_port))
        wire.handshake("11" * 20, geventbt.new_peer_id())
        names = execute(ERRORS, {"geventbt": geventbt, "wire": wire})
        asking = gevent.spawn(names["fetch"], 0, 0, 16384)
        gevent.sleep(0)
        # It is choked, and therefore waits.
        assert not asking.ready()
        (other_end,) = server.wires
        other_end.unchoke()
        eventually(lambda: other_end.peer_requests)
        other_end.reject(0, 0, 16384)
        assert asking.get(timeout=10) is None
        wire.close()


def test_the_seeder_by_events_serves(names: dict[str, Any], torrent: geventbt.Torrent) -> None:
    with (
        listening(EVENTS, names) as port,
        geventbt.connect(("127.0.0.1", port)) as wire,
    ):
        wire.handshake(torrent.info_hash, geventbt.new_peer_id())
        wire.interested()
        wire.wait_unchoked(10)
        assert wire.read(1, 0, 100) == CONTENT[131072:131172]


def test_an_untrusted_peer_causes_no_traceback_in_the_log_of_the_seeder_by_events(
    names: dict[str, Any], torrent: geventbt.Torrent, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(EVENTS, names) as port:
        assert_no_traceback(port, torrent, caplog)


def test_the_messages_are_printed_until_the_peer_leaves(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    def say_something(wire: geventbt.Wire) -> None:
        wire.handshake(names["info_hash"], geventbt.new_peer_id())
        wire.have(1)

    with geventbt.listen(("127.0.0.1", 0), say_something) as server:
        execute(MESSAGES, names, **{"6881": str(server.server_port)})
    assert "\nHave(index=1)\n" in capsys.readouterr().out


def test_the_seeder_with_its_own_storage_serves_a_whole_client(
    names: dict[str, Any], torrent: geventbt.Torrent, tmp_path: Path
) -> None:
    (tmp_path / "origin").rename(tmp_path / "downloads")
    magnet = str(geventbt.Magnet.from_torrent(torrent))
    with listening(OWN_STORAGE, names) as port:
        geventbt.download(magnet, tmp_path / "out", peers=[("127.0.0.1", port)])
    assert (tmp_path / "out" / "ubuntu").read_bytes() == CONTENT


def test_a_download_is_kept_in_memory(tracked: Any, tmp_path: Path) -> None:
    names = execute(MEMORY, {"geventbt": geventbt})
    assert names["beginning"] == CONTENT[:1000]
    assert not (tmp_path / "ubuntu").exists()


def test_a_download_is_kept_in_a_bucket_and_seeded_from_there(tracked: Any, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed")
    names = execute(BUCKET, {"geventbt": geventbt}, **{"s3://bucket": "memory://bucket"})
    torrent = names["to_bucket"]("ubuntu.torrent")
    path = "/bucket/prefix/" + "/".join(torrent.files[0].path)
    assert fsspec.filesystem("memory").cat_file(path) == CONTENT
    names["seed_from_bucket"]("ubuntu.torrent").close()


def test_a_download_is_kept_in_a_database_and_found_there_again(tracked: Any, tmp_path: Path) -> None:
    names = execute(DATABASE, {"geventbt": geventbt})
    names["fetch"]("ubuntu.torrent", tmp_path)
    assert not (tmp_path / "ubuntu").exists()
    database = names["Database"](geventbt.Torrent.from_file("ubuntu.torrent"), tmp_path)
    assert (database.size(0), database.read(0, 100, 200_000)) == (len(CONTENT), CONTENT[100:200_100])
    database.close()
    with geventbt.Client(port=None) as client:
        torrent = client.add("ubuntu.torrent", tmp_path, storage=names["Database"])
        assert torrent.wait(10)
        assert torrent.progress.downloaded == 0


def test_the_extension_is_answered_by_itself(names: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    def serve(wire: geventbt.Wire) -> None:
        wire.use(names["Ping"])
        wire.handshake(names["info_hash"], geventbt.new_peer_id())
        wire.wait_for("close")

    with geventbt.listen(("127.0.0.1", 0), serve) as server:
        # The other end of the README's wire needs the class that the README makes.
        definition, connection = EXTENSION.split("\n\n\n")
        execute(definition, names)
        execute(connection, names, **{"6881": str(server.server_port)})
        printed: list[str] = []
        eventually(lambda: printed.append(capsys.readouterr().out) or "the peer said 42\n" in printed)
        assert names["wire"].ext["x_ping"] is names["wire"].x_ping
        names["wire"].close()


def test_the_extension_is_used_in_a_client(names: dict[str, Any], torrent: geventbt.Torrent) -> None:
    definition, _ = EXTENSION.split("\n\n\n")
    execute(f"{definition}\n\n{EXTENSION_IN_A_CLIENT}", names)
    with geventbt.Client(0, host="127.0.0.1") as client:
        active = client.add(torrent, "origin")
        names["use_in"](active)
        active.wait(10)
        with geventbt.connect(("127.0.0.1", client.port), info_hash=torrent.info_hash) as wire:
            numbers: list[int] = []
            wire.use(names["Ping"]).on("pong", lambda ping, number: numbers.append(number))
            wire.handshake(torrent.info_hash, geventbt.new_peer_id())
            eventually(lambda: 42 in numbers)


def test_the_client_reads_and_downloads(tracked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = execute(CLIENT, {"geventbt": geventbt})
    assert names["beginning"] == CONTENT[:1000]
    assert (tmp_path / "downloads" / "ubuntu").read_bytes() == CONTENT
    assert f"{len(CONTENT)} bytes are verified, {len(CONTENT)} of them fetched" in capsys.readouterr().out


def test_a_torrent_can_be_watched_and_its_files_selected(
    tracked: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with geventbt.Client() as client:
        active = client.add("ubuntu.torrent", tmp_path / "downloads", files=[])
        execute(CHOOSE, {})["choose"](active)
        execute(WATCH, {})["watch"](active)
        assert active.files[0].priority == 7
    assert capsys.readouterr().out.endswith("ubuntu complete\n")


def test_a_file_is_streamed_to_standard_output(tracked: Any) -> None:
    in_a_program(f"import geventbt\n{STREAM}", CONTENT)


def test_the_pieces_are_processed_as_they_arrive(tracked: Any) -> None:
    names = execute(PIECES, {"geventbt": geventbt})
    pieces = [CONTENT[:131072], CONTENT[131072:]]
    assert names["digests"] == {index: hashlib.sha256(piece).hexdigest() for index, piece in enumerate(pieces)}
    assert names["first"] == pieces[0]


def test_the_torrent_of_the_tutorial_is_made_and_seeded(
    torrent: geventbt.Torrent, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "origin").rename(tmp_path / "downloads")
    names = execute(TUTORIAL_SEED, {}, **{'"downloads/", 6881': '"downloads/", ("127.0.0.1", 0)'})
    with names["client"] as client:
        assert capsys.readouterr().out == f"{geventbt.Magnet.from_torrent(names['torrent'])} on port {client.port}\n"
        geventbt.download("made.torrent", tmp_path / "out", peers=[("127.0.0.1", client.port)])
    assert (tmp_path / "out" / "ubuntu").read_bytes() == CONTENT


def test_the_tutorial_downloads_two_at_once(tracked: Any, names: dict[str, Any], tmp_path: Path) -> None:
    with other_seeder(names["torrent"], tmp_path) as magnet:
        execute(TUTORIAL_SEVERAL, {}, **{'"debian.torrent"': repr(magnet)})
    assert (tmp_path / "downloads" / "ubuntu").read_bytes() == CONTENT
    assert (tmp_path / "downloads" / "debian").read_bytes() == CONTENT


@contextmanager
def ending_well(*arguments: str, number: signal.Signals = signal.SIGTERM) -> Iterator[Any]:
    """A program of Python that runs until it is sent a signal, and then ends without an error or a word of one."""
    process = gevent_subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE)
    try:
        yield process
        process.send_signal(number)
        assert process.stderr.read() == b""
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_service_serves_until_a_signal(tracked: Any, tmp_path: Path, number: signal.Signals) -> None:
    code = f"{SERVICE}\nserve(['ubuntu.torrent'], 'downloads', 0)"
    target = tmp_path / "downloads" / "ubuntu"
    with ending_well("-c", code, number=number):
        eventually(lambda: target.exists() and target.read_bytes() == CONTENT, 30)


def test_processes_of_a_program_share_a_port(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    seeding = execute(WORKER, {})["seeding"]
    with (
        seeding(torrent, tmp_path / "origin", 0, announces=True) as first,
        seeding(torrent, tmp_path / "origin", first.port, announces=False) as second,
    ):
        assert second.port == first.port
        assert second.torrents[torrent.info_hash].progress.checked == 0
        geventbt.download(torrent, tmp_path / "out", peers=[("127.0.0.1", first.port)])
    assert (tmp_path / "out" / "ubuntu").read_bytes() == CONTENT


def is_served(torrent: geventbt.Torrent, port: int) -> bool:
    """Whether a peer is let in: not before the torrent is added, which is later than the port is open."""
    try:
        with geventbt.connect(("127.0.0.1", port)) as wire:
            wire.handshake(torrent.info_hash, geventbt.new_peer_id())
    except ConnectionError:
        return False
    return True


def test_a_machine_of_a_farm_serves_out_of_the_bucket_until_a_signal(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    pytest.importorskip("fsspec", reason="fsspec is not installed")
    port = free_port()
    # To other machines, a folder is as good as a bucket.
    code = f"{FARM}\nserve(['ubuntu.torrent'], 'file://{tmp_path}/origin', {port})"
    with ending_well("-c", code) as process:
        eventually(lambda: process.poll() is not None or is_served(torrent, port), 60)
        geventbt.download(torrent, tmp_path / "out", peers=[("127.0.0.1", port)], timeout=30)
        assert (tmp_path / "out" / "ubuntu").read_bytes() == CONTENT


def test_a_torrent_is_made(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    (tmp_path / "origin").rename(tmp_path / "downloads")
    execute(CREATE + CHANGE, {"geventbt": geventbt})
    made = geventbt.Torrent.from_file(tmp_path / "made.torrent")
    assert made.files == torrent.files
    assert made.trackers == (("http://tracker.example/announce",),)
    changed = geventbt.Torrent.from_file(tmp_path / "changed.torrent")
    assert changed.info_hash == made.info_hash
    assert changed.trackers == (("https://tracker.example/announce",),)


# --- where it runs ---


def in_a_program(code: str, output: bytes | None = None) -> None:
    """Run code in an interpreter of its own, which must exit with 0, with no errors and perhaps this output."""
    done = gevent_subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, b"")
    assert output is None or done.stdout == output


@contextmanager
def other_seeder(torrent: geventbt.Torrent, folder: Path) -> Iterator[str]:
    """Seed a second torrent, debian. Gives its magnet link, with a peer in it."""
    other = geventbt.create_torrent(folder / "origin" / "ubuntu", name="debian")
    (folder / "origin" / "debian").write_bytes(CONTENT)
    with geventbt.seed(other, folder / "origin", ("127.0.0.1", 0)) as client:
        yield f"{geventbt.Magnet.from_torrent(other)}&x.pe=127.0.0.1:{client.port}"


def test_it_runs_in_a_script_that_is_not_patched(tracked: Any, tmp_path: Path) -> None:
    in_a_program(f"import gevent, geventbt\n{SCRIPT}\nassert checksum and torrent.name == 'ubuntu'")
    assert (tmp_path / "downloads" / "ubuntu").read_bytes() == CONTENT


def test_it_runs_in_a_monkey_patched_program(tracked: Any, names: dict[str, Any], tmp_path: Path) -> None:
    with other_seeder(names["torrent"], tmp_path) as magnet:
        in_a_program(PATCHED.replace('"debian.torrent"', repr(magnet)))
    assert (tmp_path / "downloads" / "ubuntu").read_bytes() == CONTENT
    assert (tmp_path / "downloads" / "debian").read_bytes() == CONTENT


def get(port: int, path: str) -> bytes:
    """What a web server answers, once it is there."""
    eventually(lambda: is_listening(port), 60)

    def fetch() -> bytes:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=50) as answer:
            return bytes(answer.read())

    return bytes(gevent.get_hub().threadpool.apply(fetch))


def is_listening(port: int) -> bool:
    with gevent_socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.usefixtures("torrent")
def test_the_remote_control_is_served() -> None:
    names = execute(REMOTE, {}, **{"127.0.0.1:9091": "127.0.0.1:0"})
    assert get(names["server"].server_port, "/healthz") == b"ok\n"
    names["server"].stop(1)
    names["session"].close()
    names["client"].close()


@pytest.mark.usefixtures("tracked")
def test_the_web_application_answers() -> None:
    names = execute(GUNICORN, {})
    server = WSGIServer(("127.0.0.1", 0), names["app"], log=None)
    server.start()
    assert get(server.server_port, "/") == CONTENT[:1000]
    assert get(server.server_port, "/") == CONTENT[:1000]
    server.stop()
    names["client"].close()


@pytest.mark.usefixtures("tracked")
def test_the_web_interface_of_a_client_answers() -> None:
    names = execute(WEB, {}, **{"127.0.0.1:8080": "127.0.0.1:0"})
    assert b"<title>geventbt" in get(names["server"].server_port, "/")
    (info_hash,) = names["client"].torrents
    assert get(names["server"].server_port, f"/stream/{info_hash.hex()}/0/ubuntu") == CONTENT
    names["server"].stop()
    names["client"].close()


@pytest.mark.usefixtures("tracked")
def test_views_of_ones_own_stream() -> None:
    pytest.importorskip("flask", reason="Flask is not installed")
    names = execute(OWN_VIEW, {"geventbt": geventbt})
    apps = {"/": names["app"], "/film": execute(FLASK_VIEW, names)["app"]}
    for path, app in apps.items():
        with serving(app) as port:
            assert get(port, path) == CONTENT
    names["client"].close()


@pytest.mark.usefixtures("tracked")
def test_parts_of_the_web_interface_go_into_another_app() -> None:
    pytest.importorskip("flask", reason="Flask is not installed")
    names = execute(PARTS, {"geventbt": geventbt})
    active = names["client"].add("ubuntu.torrent", "downloads/")
    with serving(names["app"]) as port:
        assert b"<title>geventbt" in get(port, "/torrents/")
        assert get(port, f"/files/{active.info_hash.hex()}/0/ubuntu") == CONTENT
        assert b"geventbt_torrents" in get(port, "/metrics")
    names["client"].close()


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """Serve a WSGI app. Gives its port."""
    server = WSGIServer(("127.0.0.1", 0), app, log=None)
    server.start()
    yield server.server_port
    server.stop()


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("workers", [1, 2])
def test_the_web_application_answers_under_gunicorn(tmp_path: Path, workers: int) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    (tmp_path / "app.py").write_text(GUNICORN)
    port = free_port()
    arguments = ["-k", "gevent", "-w", str(workers), "-b", f"127.0.0.1:{port}", "--log-level", "error", "app:app"]
    with ending_well("-m", "gunicorn", *arguments):
        assert [get(port, "/") for _ in range(4)] == [CONTENT[:1000]] * 4


def test_a_native_thread_has_the_client_called(names: dict[str, Any], tmp_path: Path) -> None:
    with geventbt.seed(names["torrent"], tmp_path / "origin", ("127.0.0.1", 0)) as client:
        execute(IN_GEVENT, names)
        active = client.torrents[names["info_hash"]]

        def use_from_another_thread() -> list[Any]:
            with pytest.raises(RuntimeError, match="native thread"):
                active.wait(10)
            results = [names["in_gevent"](active.wait, 10).result(20), names["in_gevent"](int, "7").result(20)]
            with pytest.raises(ValueError, match="invalid literal"):
                names["in_gevent"](int, "seven").result(20)
            return results

        assert gevent.get_hub().threadpool.apply(use_from_another_thread) == [True, 7]


def test_it_runs_next_to_asyncio(tracked: Any, tmp_path: Path) -> None:
    in_a_program(f"import geventbt\n{ASYNCIO}")
    assert (tmp_path / "downloads" / "ubuntu").read_bytes() == CONTENT


def test_asyncio_can_await_a_client_in_a_thread_of_its_own(torrent: geventbt.Torrent, tmp_path: Path) -> None:
    program = f"""
import asyncio, threading, gevent, geventbt
made = threading.Event()
def run():
    global client, in_gevent
    with geventbt.seed("ubuntu.torrent", "origin", ("127.0.0.1", 0)) as client:
        names = {{"gevent": gevent}}
        exec({IN_GEVENT!r}, names)
        in_gevent = names["in_gevent"]
        made.set()
        client.serve_forever()
async def main():
    thread = threading.Thread(target=run)
    thread.start()
    await asyncio.to_thread(made.wait)
    torrent = client.torrents[geventbt.Torrent.from_file("ubuntu.torrent").info_hash]
    assert await asyncio.wrap_future(in_gevent(torrent.wait, 60))
    await asyncio.wrap_future(in_gevent(client.close))
    thread.join()
asyncio.run(main())
"""
    in_a_program(program)
