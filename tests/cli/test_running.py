"""Downloads and seeders with the options of the command line, against real peers."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import gevent
import pytest

import geventbt
from geventbt import bencoding
from tests.cli_harness import (
    COMMAND,
    FILES,
    PIECES,
    OnTerminal,
    assert_one_line,
    json_lines,
    make_torrent_file,
    of_event,
    process_of,
    run_here,
    seeding_process,
)
from tests.free_port import free_port

TOTAL = sum(FILES.values())


@pytest.fixture
def magnet(torrent_file: Path) -> str:
    return str(geventbt.Magnet.from_torrent(geventbt.Torrent.from_file(torrent_file)))


# ------------------------------------------------------------------ which files


@pytest.mark.parametrize("by_link", [False, True])
@pytest.mark.parametrize("select", ["*two.bin", "2", "sub/two.bin"])
def test_only_the_selected_files_are_fetched(
    by_link: bool, select: str, torrent_file: Path, magnet: str, seeder: str, origin: Path, tmp_path: Path
) -> None:
    source = magnet if by_link else torrent_file
    assert run_here("download", source, "-q", "-o", tmp_path / "out", "--peer", seeder, "--select", select) == 0
    shared = tmp_path / "out/shared"
    assert [path.name for path in shared.rglob("*") if path.is_file()] == ["two.bin"]
    assert (shared / "sub/two.bin").read_bytes() == (origin / "sub/two.bin").read_bytes()


def test_a_link_may_itself_select_files(magnet: str, seeder: str, tmp_path: Path) -> None:
    assert run_here("download", f"{magnet}&so=1", "-q", "-o", tmp_path / "out", "--peer", seeder) == 0
    assert [path.name for path in (tmp_path / "out/shared").rglob("*") if path.is_file()] == ["three.txt"]


@pytest.mark.parametrize("by_link", [False, True])
def test_a_file_that_is_not_in_the_torrent_is_not_found(
    by_link: bool, torrent_file: Path, magnet: str, seeder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = magnet if by_link else torrent_file
    for arguments in (["download", source, "--select", "nine"], ["cat", source, "nine"]):
        assert run_here(*arguments, "-o", tmp_path / "out", "--peer", seeder) == 3
        first, *files = capsys.readouterr().err.splitlines()
        assert first == "geventbt: 'nine' is not a file of the torrent; its files are:"
        assert len(files) == len(FILES)


@pytest.mark.parametrize("by_link", [False, True])
def test_the_files_are_listed_and_none_is_fetched(
    by_link: bool, torrent_file: Path, magnet: str, seeder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = magnet if by_link else torrent_file
    out = tmp_path / "out"
    assert run_here("download", source, "--list", "--select", "1-", "-o", out, "--peer", seeder) == 0
    assert capsys.readouterr().out.splitlines() == [
        "      0   293.0 KiB  shared/one.bin",
        "*     1       100 B  shared/sub/three.txt",
        "*     2    68.4 KiB  shared/sub/two.bin",
    ]
    assert not out.exists()
    assert run_here("download", source, "--list", "--select", "1-", "-q", "--json", "--peer", seeder) == 0
    (facts,) = json_lines(capsys.readouterr().out)
    assert [file["selected"] for file in facts["files"]] == [False, True, True]


def test_cat_needs_to_know_which_file(torrent_file: Path, seeder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("cat", torrent_file, "*.bin", "--peer", seeder) == 3
    assert_one_line(error := capsys.readouterr().err)
    assert "matches 2 files" in error


@pytest.mark.parametrize("by_link", [False, True])
def test_cat_writes_the_file_that_is_meant(by_link: bool, torrent_file: Path, magnet: str, origin: Path) -> None:
    source = magnet if by_link else torrent_file
    with seeding_process(torrent_file, origin) as (_, peer):
        result = subprocess.run([*COMMAND, "cat", source, "*/two.bin", "--peer", peer], capture_output=True, timeout=50)
    assert result.returncode == 0, result.stderr
    assert result.stdout == (origin / "sub/two.bin").read_bytes()


def test_cat_ends_quietly_with_its_reader(tmp_path: Path) -> None:
    with large(tmp_path) as (torrent_file, peer), process_of("cat", torrent_file, "--peer", peer) as process:
        assert process.stdout is not None
        assert process.stdout.buffer.read(100)
        process.stdout.close()
        assert process.wait(30) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_cat_can_be_interrupted_while_nobody_reads(tmp_path: Path) -> None:
    with large(tmp_path) as (torrent_file, peer), process_of("cat", torrent_file, "--peer", peer) as process:
        assert process.stdout is not None
        # The rest is more than fits between two processes.
        assert process.stdout.buffer.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "interrupted\n"


@contextmanager
def large(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A torrent of 4 MiB, and a process that seeds it."""
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "file").write_bytes(os.urandom(4 << 20))
    torrent_file = make_torrent_file(tmp_path, folder)
    with seeding_process(torrent_file, folder) as (_, peer):
        yield torrent_file, peer


def test_cat_gives_up_when_nothing_comes(
    torrent_file: Path, silent_peer: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here("cat", torrent_file, "--peer", silent_peer, "--stall-timeout", "0.3") == 8
    assert_one_line(capfd.readouterr().err)


# ------------------------------------------------------------------ when it ends


@pytest.mark.parametrize("by_link", [False, True])
def test_a_download_that_gets_nothing_gives_up_with_a_code_of_its_own(
    by_link: bool, torrent_file: Path, magnet: str, silent_peer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = magnet if by_link else torrent_file
    arguments = ["-q", "-o", tmp_path / "out", "--peer", silent_peer, "--stall-timeout", "0.3"]
    assert run_here("download", source, *arguments) == 8
    assert_one_line(error := capsys.readouterr().err)
    assert "run the same command again to resume" in error


def test_a_download_that_gets_something_does_not_give_up(torrent_file: Path, seeder: str, tmp_path: Path) -> None:
    arguments = ["-q", "-o", tmp_path / "out", "--peer", seeder, "--stall-timeout", "1", "--limit-down", "200K"]
    assert run_here("download", torrent_file, *arguments) == 0


def test_a_download_seeds_until_the_ratio_is_reached(
    torrent_file: Path, seeder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    arguments = ["-q", "-o", tmp_path / "out", "--peer", seeder, "--host", "127.0.0.1", "--port", port]
    job = gevent.spawn(run_here, "download", torrent_file, *arguments, "--seed-ratio", "1", "--json")
    with geventbt.Client(None) as other:
        fetched = other.add(torrent_file, tmp_path / "other", peers=[("127.0.0.1", port)])
        assert fetched.wait(30)
        assert job.get(timeout=30) == 0
    lines = json_lines(capsys.readouterr().out)
    assert [line["event"] for line in lines if line["event"] != "file"] == ["torrent", "done", "seeded"]
    assert lines[-1]["uploaded"] >= TOTAL
    assert lines[-1]["ratio"] >= 1


def test_a_seeder_ends_after_its_time(torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["-q", "--host", "127.0.0.1", "--port", "0", "--seed-time", "0.1"]
    assert run_here("seed", torrent_file, origin, *arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("seeding shared (361.4 KiB) on 127.0.0.1:")
    assert shown.endswith("shared: 0 B sent, ratio 0.00\n")


def test_a_torrent_whose_pieces_are_wrong_from_every_peer_stays_unfinished(
    torrent_file: Path, origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = geventbt.Torrent.from_file(torrent_file)
    wrong = good.info_bytes.replace(good.piece_hash(5), bytes(20))
    (tmp_path / "wrong.torrent").write_bytes(geventbt.Torrent.from_info(wrong).to_bytes())
    info_hash = geventbt.Torrent.from_info(wrong).info_hash
    with liars(info_hash, good, origin) as peers:
        options = [part for peer in peers for part in ("--peer", peer)]
        assert run_here("download", tmp_path / "wrong.torrent", "-q", "-o", tmp_path / "out", *options) == 7
    assert_one_line(error := capsys.readouterr().err)
    assert "wrong from every peer" in error


@contextmanager
def liars(info_hash: bytes, torrent: geventbt.Torrent, origin: Path) -> Iterator[list[str]]:
    """Peers that all serve the same data, one piece of which is not what the torrent says."""
    stream = b"".join(origin.parent.joinpath(*file.path).read_bytes() for file in torrent.files)
    length = torrent.geometry.piece_length

    def serve(wire: geventbt.Wire) -> None:
        wire.handshake(info_hash, os.urandom(20), geometry=torrent.geometry)
        wire.have_all()
        wire.unchoke()
        for request in wire.incoming_requests():
            start = request.piece * length + request.offset
            wire.piece(request.piece, request.offset, stream[start : start + request.length])

    servers = [geventbt.listen(("127.0.0.1", 0), serve) for _ in range(4)]
    yield [f"127.0.0.1:{server.server_port}" for server in servers]
    for server in servers:
        server.stop(1)


# ------------------------------------------------------------------ ports and folders


def test_a_taken_port_is_told_with_what_to_do(
    torrent_file: Path, origin: Path, seeder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--host", "127.0.0.1", "--port", seeder.rpartition(":")[2]]
    for command in (["seed", torrent_file, origin], ["download", torrent_file, "-o", tmp_path / "out"]):
        assert run_here(*command, *arguments) == 5
        assert_one_line(error := capsys.readouterr().err)
        assert f"{seeder} is in use; choose another one with --port" in error


def test_an_address_that_is_not_ours_is_told_with_what_to_do(
    torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("seed", torrent_file, origin, "--host", "192.0.2.1") == 5
    assert_one_line(error := capsys.readouterr().err)
    assert "choose another one with --host" in error


def test_incomplete_data_is_told_with_what_to_do(
    torrent_file: Path, origin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (origin / "sub/two.bin").unlink()
    assert run_here("seed", torrent_file, origin, "--host", "127.0.0.1", "--port", "0", "-q") == 4
    assert_one_line(error := capsys.readouterr().err)
    assert "geventbt verify shows them, geventbt download fetches them" in error


def test_a_folder_in_use_is_told_as_such(
    torrent_file: Path, silent_peer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    host, _, port = silent_peer.rpartition(":")
    with geventbt.Client(None) as client:
        torrent = client.add(torrent_file, out, peers=[(host, int(port))])
        while torrent.state == "checking":
            gevent.sleep(0.01)
        command = [*COMMAND, "download", torrent_file, "-q", "-o", out, "--peer", silent_peer]
        result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 6
    assert_one_line(result.stderr)
    assert "another program is using this torrent; stop it first" in result.stderr


# ------------------------------------------------------------------ --json


def test_a_download_is_told_to_programs_line_by_line(
    torrent_file: Path, seeder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here("download", torrent_file, "--json", "-v", "-o", tmp_path / "out", "--peer", seeder) == 0
    captured = capsys.readouterr()
    lines = json_lines(captured.out)
    assert captured.err == ""
    assert lines[0]["event"] == "torrent"
    assert {(line["index"], line["path"]) for line in of_event(lines, "file")} == {
        (0, "shared/one.bin"),
        (1, "shared/sub/three.txt"),
        (2, "shared/sub/two.bin"),
    }
    last = of_event(lines, "progress")[-1]
    assert (last["state"], last["done"], last["wanted"], last["pieces"]) == ("seeding", TOTAL, TOTAL, PIECES)
    assert isinstance(last["connections"], list)
    assert lines[-1]["event"] == "done"
    assert (lines[-1]["downloaded"], lines[-1]["sources"]) == (TOTAL, 1)


def test_an_error_is_told_to_programs_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_here("download", tmp_path / "x", "--json") == 3
    captured = capsys.readouterr()
    assert_one_line(captured.err)
    (line,) = json_lines(captured.out)
    assert (line["event"], line["code"]) == ("error", 3)
    assert captured.err == f"geventbt: {line['message']}\n"


def test_creating_and_verifying_are_told_to_programs(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.torrent"
    assert run_here("create", origin, "-o", path, "--json", "--piece-length", "16K") == 0
    (created,) = json_lines(capsys.readouterr().out)
    assert (created["event"], created["pieces"], created["output"]) == ("created", PIECES, str(path))
    (origin / "sub/two.bin").unlink()
    assert run_here("verify", path, origin, "--json") == 4
    lines = json_lines(capsys.readouterr().out)
    assert [line["good"] for line in of_event(lines, "checked")][::2] == [18, None]
    assert lines[-1]["complete"] is False


def test_the_keys_that_programs_count_on_are_those_that_are_documented() -> None:
    from geventbt.cli import json_lines as documented

    text = " ".join((documented.__doc__ or "").split())
    torrent = geventbt.Torrent.from_info(b"d6:lengthi1e4:name1:x12:piece lengthi16384e6:pieces20:" + bytes(20) + b"e")
    status = geventbt.PeerStatus(("::1", 1), "\x1b", False, "rc4", 1.5, 0, 1, 0, 3, False, True, False, True, True, 0)
    for fields in (
        documented.progress_fields(geventbt.Progress("seeding")),
        documented.peer_fields(status),
        documented.torrent_fields(torrent, None),
        documented.magnet_fields(geventbt.Magnet.from_torrent(torrent)),
    ):
        for key in fields:
            assert key in text
    assert documented.peer_fields(status)["flags"] == "DUIES"
    assert documented.peer_fields(status)["address"] == "[::1]:1"


# ------------------------------------------------------------------ Ctrl-C


def read_json_until(process: subprocess.Popen[str], condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first object of a process that is so; fails when it ends before."""
    assert process.stdout is not None
    for text in process.stdout:
        (line,) = json_lines(text)
        if condition(line):
            return line
    raise AssertionError("it has ended")


def test_an_interrupted_download_goes_on_where_it_was(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with seeding_process(torrent_file, origin) as (_, peer):
        slowly = ["--json", "--limit-down", "64K", "-o", out, "--peer", peer]
        with process_of("download", torrent_file, *slowly) as process:
            read_json_until(process, lambda line: line["event"] == "progress" and 0 < line["done"] < TOTAL)
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "run the same command again to resume" in errors
        (interrupted,) = of_event(json_lines(output), "interrupted")
        assert 0 < interrupted["done"] < TOTAL
        again = subprocess.run(
            [*COMMAND, "download", torrent_file, "--json", "-o", out, "--peer", peer], capture_output=True, timeout=50
        )
    (done,) = of_event(json_lines(again.stdout.decode()), "done")
    assert 0 < done["downloaded"] <= TOTAL - interrupted["done"]
    assert (out / "shared/one.bin").read_bytes() == (origin / "one.bin").read_bytes()


class DeafTracker:
    """A tracker that names one peer, and does not answer those who leave.

    It runs in threads, as does nothing else here: while gevent's loop runs, it may be the one to see that a process
    has ended, whose exit code would be lost.

    Attributes:
        url: where it is asked.
        has_left: set when a client says that it leaves.
        peer: the peer that it names; it takes connections.
    """

    def __init__(self) -> None:
        self.has_left = threading.Event()
        self.peer = socket.create_server(("127.0.0.1", 0))
        self.peer.settimeout(30)
        self._over = threading.Event()
        answer = bencoding.encode(
            {"interval": 1800, "peers": [{"ip": "127.0.0.1", "port": self.peer.getsockname()[1]}]}
        )

        class Handler(BaseHTTPRequestHandler):
            def do_GET(handler) -> None:
                if "event=stopped" in handler.path:
                    self.has_left.set()
                    self._over.wait(60)
                    return
                handler.send_response(200)
                handler.end_headers()
                handler.wfile.write(answer)

            def log_message(handler, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/announce"
        threading.Thread(target=self._server.serve_forever).start()

    def wait_until_known(self) -> None:
        """Wait until a client has the answer, and connects to the peer."""
        self.peer.accept()[0].close()

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self.peer.close()


@pytest.fixture
def deaf_tracker() -> Iterator[DeafTracker]:
    tracker = DeafTracker()
    yield tracker
    tracker.close()


@pytest.fixture
def announced(deaf_tracker: DeafTracker, tmp_path: Path, origin: Path) -> Iterator[subprocess.Popen[str]]:
    """A download that the tracker knows of."""
    torrent_file = make_torrent_file(tmp_path, origin, trackers=[[deaf_tracker.url]])
    with process_of("download", torrent_file, "-q", "-o", tmp_path / "out") as process:
        deaf_tracker.wait_until_known()
        yield process


def test_a_second_interrupt_ends_at_once(deaf_tracker: DeafTracker, announced: subprocess.Popen[str]) -> None:
    announced.send_signal(signal.SIGINT)
    assert deaf_tracker.has_left.wait(30)
    announced.send_signal(signal.SIGINT)
    _, errors = announced.communicate(timeout=30)
    assert announced.returncode == 130
    assert errors.endswith("stopped at once\n")
    assert "interrupted" not in errors
    assert "Traceback" not in errors


def test_a_stop_that_takes_a_while_says_what_it_is_doing(announced: subprocess.Popen[str]) -> None:
    announced.send_signal(signal.SIGINT)
    _, errors = announced.communicate(timeout=30)
    assert announced.returncode == 130
    first, last = errors.splitlines()
    assert "Ctrl-C again stops at once" in first
    assert last.startswith("interrupted")


def test_an_interrupted_search_for_the_metadata_says_how_to_go_on(silent_peer: str, tmp_path: Path) -> None:
    with process_of("download", "a" * 40, "--json", "-o", tmp_path, "--peer", silent_peer) as process:
        read_json_until(process, lambda line: line["event"] == "progress" and line["state"] == "metadata")
        errors, interrupted = interrupt(process)
    assert errors == "interrupted: nothing has been received yet; run the same command to start again\n"
    assert (interrupted["done"], interrupted["wanted"]) == (None, None)


@pytest.mark.parametrize("command", ["download", "seed"])
def test_an_interrupted_check_says_how_to_go_on(command: str, tmp_path: Path) -> None:
    info = {"name": "endless", "piece length": 1 << 24, "pieces": bytes(20 << 16), "length": 1 << 40}
    (tmp_path / "x.torrent").write_bytes(geventbt.Torrent.from_info(bencoding.encode(info)).to_bytes())
    with open(tmp_path / "endless", "wb") as file:
        file.truncate(1 << 40)
    data = [tmp_path] if command == "seed" else ["-o", tmp_path]
    with process_of(command, tmp_path / "x.torrent", *data, "--json", "--port", "0") as process:
        read_json_until(process, lambda line: line["event"] == "progress" and line["state"] == "checking")
        errors, interrupted = interrupt(process)
    assert errors.splitlines()[-1] == "interrupted: what is there is kept; run the same command again to resume"
    assert (interrupted["done"], interrupted["wanted"]) == (None, None)


@pytest.mark.parametrize("command", ["download", "seed"])
def test_an_interrupted_seeder_says_how_to_go_on(command: str, torrent_file: Path, origin: Path) -> None:
    data = [origin] if command == "seed" else ["-o", origin.parent, "--seed-time", "forever"]
    with process_of(command, torrent_file, *data, "--json", "--host", "127.0.0.1", "--port", "0") as process:
        if command == "download":
            read_json_until(process, lambda line: line["event"] == "done")
        read_json_until(process, lambda line: line["event"] == "progress" and line["state"] == "seeding")
        errors, interrupted = interrupt(process)
    assert errors == "interrupted: run the same command to seed again\n"
    assert (interrupted["done"], interrupted["wanted"]) == (TOTAL, TOTAL)


def test_an_interrupted_look_at_a_peer_is_told_to_programs() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        process_of("peer", f"127.0.0.1:{listener.getsockname()[1]}", "a" * 40, "--json") as process,
    ):
        listener.settimeout(30)
        with listener.accept()[0]:
            errors, interrupted = interrupt(process)
    assert errors == "interrupted\n"
    assert (interrupted["done"], interrupted["wanted"]) == (None, None)


def test_cat_that_keeps_what_it_fetches_says_how_to_go_on_when_interrupted(tmp_path: Path) -> None:
    with (
        large(tmp_path) as (torrent_file, peer),
        process_of("cat", torrent_file, "-o", tmp_path / "out", "--peer", peer) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.buffer.read(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert re.fullmatch(r"interrupted: .*the same command .*\n", process.stderr.read())


def interrupt(process: subprocess.Popen[str]) -> tuple[str, dict[str, Any]]:
    """Press Ctrl-C. Returns what is said on standard error, and the event."""
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    (event,) = of_event(json_lines(output), "interrupted")
    return errors, event


# ------------------------------------------------------------------ output that cannot be written


def run_in_bash(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a script, in which "$@" is the command."""
    command = ["bash", "-c", script, "bash", *COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=50)


def test_a_download_that_nobody_reads_on_is_unfinished(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    with seeding_process(torrent_file, origin) as (_, peer):
        slowly = ["download", torrent_file, "--json", "--limit-down", "64K", "-o", tmp_path / "out", "--peer", peer]
        result = run_in_bash('"$@" | head -2; exit ${PIPESTATUS[0]}', *slowly)
    assert result.returncode == 7
    assert_one_line(result.stderr)
    assert "run the same command again to resume" in result.stderr


def test_a_download_whose_result_nobody_reads_is_done(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    with seeding_process(torrent_file, origin) as (_, peer):
        arguments = ["download", torrent_file, "-q", "-o", tmp_path / "out", "--peer", peer]
        result = run_in_bash('"$@" | true; exit ${PIPESTATUS[0]}', *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    assert (tmp_path / "out/shared/one.bin").read_bytes() == (origin / "one.bin").read_bytes()


def test_a_seeder_that_nobody_reads_on_is_unfinished(torrent_file: Path, origin: Path) -> None:
    arguments = ["seed", torrent_file, origin, "--json", "--host", "127.0.0.1", "--port", "0"]
    assert run_in_bash('"$@" | true; exit ${PIPESTATUS[0]}', *arguments).returncode == 7


def test_wrong_data_is_wrong_although_nobody_reads_so(torrent_file: Path, origin: Path) -> None:
    (origin / "one.bin").write_bytes(bytes(300_001))
    assert run_in_bash('"$@" | true; exit ${PIPESTATUS[0]}', "verify", torrent_file, origin, "-q").returncode == 4


@pytest.mark.parametrize("command", ["download --json", "download --json -v", "download -q", "cat", "info"])
def test_output_that_cannot_be_written_is_told_in_a_line(
    command: str, torrent_file: Path, origin: Path, tmp_path: Path
) -> None:
    name, *options = command.split()
    with seeding_process(torrent_file, origin) as (_, peer):
        place = [] if name == "info" else ["-o", tmp_path / "out"]
        result = run_in_bash('"$@" > /dev/full', name, torrent_file, *options, *place, "--peer", peer)
    assert result.returncode == 6
    assert_one_line(result.stderr)
    assert "full" in result.stderr


@pytest.mark.parametrize("nowhere", ["> /dev/full", "| true; exit ${PIPESTATUS[0]}", ">&-"])
@pytest.mark.parametrize(("arguments", "code"), [("download x --json --port y", 2), ("download nothing --json", 3)])
def test_an_error_that_programs_cannot_be_told_keeps_its_code(nowhere: str, arguments: str, code: int) -> None:
    result = run_in_bash(f'"$@" {nowhere}', *arguments.split())
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr


def test_cat_without_an_output_says_so(torrent_file: Path) -> None:
    result = run_in_bash('"$@" >&-', "cat", torrent_file)
    assert result.returncode == 2
    assert_one_line(result.stderr)
    assert "standard output is closed" in result.stderr


def test_cat_writes_nothing_to_a_terminal(torrent_file: Path) -> None:
    with OnTerminal("cat", torrent_file) as terminal:
        assert terminal.wait() == 2
    assert "standard output is a terminal" in terminal.output


def test_what_nobody_is_told_on_standard_error_ends_no_work(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    with seeding_process(torrent_file, origin) as (_, peer):
        for number, nowhere in enumerate((">/dev/full", ">&-")):
            out = tmp_path / str(number)
            slowly = ["download", torrent_file, "-v", "--limit-down", "250K", "-o", out, "--peer", peer]
            result = run_in_bash(f'"$@" 2{nowhere}', *slowly)
            assert result.returncode == 0
            assert_one_line(result.stdout)


# ------------------------------------------------------------------ --debug


def test_debug_shows_the_traceback_as_well(tmp_path: Path) -> None:
    result = subprocess.run([*COMMAND, "info", tmp_path / "x", "--debug", "--json"], capture_output=True, text=True)
    assert result.returncode == 3
    assert result.stderr.startswith("Traceback")
    assert result.stderr.splitlines()[-1].startswith("geventbt: ")
    (error,) = json_lines(result.stdout)
    assert (error["event"], error["code"]) == ("error", 3)
