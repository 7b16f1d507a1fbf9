"""Several torrents in one command, a folder that is seeded, and commands that run at the end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import geventbt
from tests.cli_harness import COMMAND, assert_one_line, json_lines, of_event, run_here


@pytest.fixture
def torrents(tmp_path: Path) -> Iterator[tuple[list[Path], list[str]]]:
    """Three torrents, and the options for their seeders."""
    files, peers = [], []
    clients = []
    for name in ("a", "b", "c"):
        data = tmp_path / "origin" / f"{name}.bin"
        data.parent.mkdir(exist_ok=True)
        data.write_bytes(os.urandom(100_000))
        files.append(tmp_path / f"{name}.torrent")
        files[-1].write_bytes(geventbt.create_torrent(data, piece_length=16384).to_bytes())
        clients.append(geventbt.seed(files[-1], data, ("127.0.0.1", 0)))
        peers += ["--peer", f"127.0.0.1:{clients[-1].port}"]
    yield files, peers
    for client in clients:
        client.close()


def test_several_torrents_are_fetched_at_one_time(
    torrents: tuple[list[Path], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files, peers = torrents
    out = tmp_path / "out"
    assert run_here("download", *files, "--json", "-o", out, *peers) == 0
    lines = json_lines(capfd.readouterr().out)
    hashes = {geventbt.Torrent.from_file(file).info_hash.hex() for file in files}
    for event in ("torrent", "file", "done"):
        assert {line["info_hash"] for line in of_event(lines, event)} == hashes
    assert {line["info_hash"] for line in of_event(lines, "progress")} == hashes
    for name in ("a", "b", "c"):
        assert (out / f"{name}.bin").read_bytes() == (tmp_path / "origin" / f"{name}.bin").read_bytes()


def test_one_that_fails_does_not_stop_the_others_and_gives_the_exit_code(
    torrents: tuple[list[Path], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (a, b, _), peers = torrents
    info = {"name": "lost", "piece length": 16384, "pieces": bytes(20), "length": 5}
    lost = tmp_path / "lost.torrent"
    lost.write_bytes(geventbt.Torrent.from_info(geventbt.bencoding.encode(info)).to_bytes())
    code = run_here("download", a, lost, b, "-o", tmp_path / "out", *peers, "--stall-timeout", "2", "-q")
    output, errors = capfd.readouterr()
    assert code in (5, 8)
    assert_one_line(errors)
    assert errors.startswith("geventbt: lost: ")
    assert sorted(line.partition(":")[0] for line in output.splitlines()) == ["a.bin", "b.bin"]


@pytest.mark.parametrize("options", [["--select", "0"], ["--save-torrent", "x.torrent"]])
def test_what_is_for_one_torrent_is_refused_for_several(
    options: list[str], torrents: tuple[list[Path], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    files, _ = torrents
    assert run_here("download", *files, *options) == 2
    assert f"{options[0]} is for one SOURCE, and 3 are given" in capfd.readouterr().err


def test_the_same_torrent_twice_is_refused(
    torrents: tuple[list[Path], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    (a, b, _), _ = torrents
    assert run_here("download", a, b, a) == 2
    assert "are the same torrent" in capfd.readouterr().err


def test_several_that_are_interrupted_say_how_much_is_kept(tmp_path: Path) -> None:
    info = [{"name": name, "piece length": 16384, "pieces": bytes(20), "length": 16384} for name in ("x", "y")]
    for one in info:
        torrent = geventbt.Torrent.from_info(geventbt.bencoding.encode(one), trackers=[["http://127.0.0.1:1/"]])
        (tmp_path / f"{one['name']}.torrent").write_bytes(torrent.to_bytes())
    command = [*COMMAND, "download", "x.torrent", "y.torrent", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stdout is not None
        seen: set[str] = set()
        while len(seen) < 2:
            (line,) = json_lines(process.stdout.readline())
            if line["event"] == "progress" and line["state"] == "downloading":
                seen.add(line["info_hash"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "0 B of 32.0 KiB are kept" in errors


# ------------------------------------------------------------------ --on-complete


def test_a_command_runs_for_each_torrent_that_is_complete(
    torrents: tuple[list[Path], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files, peers = torrents
    (tmp_path / "out").mkdir()
    log = tmp_path / "log"
    hook = f'echo "$TORRENT_NAME $TORRENT_INFO_HASH $TORRENT_FOLDER" >> {log}; test -f "$TORRENT_PATH" && echo said'
    assert run_here("download", *files, "-q", "-o", tmp_path / "out", *peers, "--on-complete", hook) == 0
    expected = {
        f"{name}.bin {geventbt.Torrent.from_file(file).info_hash.hex()} {tmp_path / 'out'}"
        for name, file in zip("abc", files, strict=True)
    }
    assert set(log.read_text().splitlines()) == expected
    assert capfd.readouterr().err == "said\n" * 3


def test_a_command_that_fails_is_told_and_the_download_is_done(
    torrents: tuple[list[Path], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (a, *_), peers = torrents
    options = ["-o", tmp_path / "out", *peers[:2], "--on-complete", "exit 3"]
    assert run_here("download", a, "-q", *options) == 0
    assert capfd.readouterr().err == "geventbt: the command of --on-complete ended with exit code 3\n"
    assert run_here("download", a, "--json", *options) == 0
    (event,) = of_event(json_lines(capfd.readouterr().out), "on_complete")
    assert event["code"] == 3


def test_a_command_does_not_run_for_what_is_not_complete(
    tmp_path: Path, torrents: tuple[list[Path], list[str]]
) -> None:
    (a, *_), _ = torrents
    hook = f"touch {tmp_path / 'ran'}"
    assert run_here("download", a, "-q", "-o", tmp_path / "o", "--peer", "127.0.0.1:1", "--on-complete", hook) == 5
    assert not (tmp_path / "ran").exists()


def test_the_name_of_a_torrent_is_no_part_of_the_command(tmp_path: Path) -> None:
    data = tmp_path / "origin" / "$(touch hacked); `touch hacked`"
    data.parent.mkdir()
    data.write_bytes(b"data")
    torrent = geventbt.create_torrent(data)
    file = tmp_path / "x.torrent"
    file.write_bytes(torrent.to_bytes())
    with geventbt.seed(torrent, data, ("127.0.0.1", 0)) as client:
        options = ["-o", "out", "--peer", f"127.0.0.1:{client.port}", "--on-complete", 'echo "$TORRENT_NAME" > name']
        before = os.getcwd()
        os.chdir(tmp_path)
        try:
            assert run_here("download", file, "-q", *options) == 0
        finally:
            os.chdir(before)
    assert (tmp_path / "name").read_text() == f"{torrent.name}\n"
    assert not (tmp_path / "hacked").exists()


# ------------------------------------------------------------------ seed FOLDER


@contextmanager
def seeding(*arguments: object) -> Iterator[list[str]]:
    """A `geventbt seed`; gives the lines that it says first."""
    command = [*COMMAND, "seed", *map(str, arguments), "--host", "127.0.0.1", "--port", "0", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield [process.stdout.readline().rstrip("\n") for _ in range(3)]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
        assert process.returncode == 143


@pytest.mark.parametrize("what", ["folder", "folder/", "file"])
def test_data_without_a_torrent_is_made_one_of_and_seeded(what: str, origin: Path, tmp_path: Path) -> None:
    data = origin / "one.bin" if what == "file" else origin
    given = f"{data}/" if what == "folder/" else str(data)
    beside = data.with_name(f"{data.name}.torrent")
    for _ in range(2):
        with seeding(given, "--tracker", "http://127.0.0.1:1/announce") as (first, second, third):
            peer = first.split()[-1]
            assert first.startswith(f"seeding {data.name} (")
            assert second == f"torrent file: {beside}"
            link = third.removeprefix("magnet link:  ")
            magnet = geventbt.Magnet.from_string(link)
            assert magnet.trackers == ("http://127.0.0.1:1/announce",)
            assert run_here("download", link, "-q", "-o", tmp_path / "out", "--peer", peer) == 0
        torrent = geventbt.Torrent.from_file(beside)
        assert torrent.info_hash == magnet.info_hash
    assert (tmp_path / "out" / torrent.name).exists()


def test_a_torrent_of_other_data_beside_the_folder_is_left_alone(
    origin: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    beside = origin.with_name("shared.torrent")
    beside.write_bytes(geventbt.create_torrent(origin / "one.bin").to_bytes())
    before = beside.read_bytes()
    assert run_here("seed", origin) == 2
    assert "is there already, and not of what is in" in capfd.readouterr().err
    beside.write_bytes(b"no torrent")
    assert run_here("seed", origin) == 2
    assert beside.read_bytes() == b"no torrent"
    beside.write_bytes(before)


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """Three .torrent files, whose data is in a folder beside them."""
    (tmp_path / "data").mkdir()
    files = []
    for name in "abc":
        data = tmp_path / "data" / f"{name}.bin"
        data.write_bytes(name.encode() * 100_000)
        files.append(tmp_path / f"{name}.torrent")
        files[-1].write_bytes(geventbt.create_torrent(data).to_bytes())
    return files


def test_several_torrents_are_seeded_by_one_client(three: list[Path], tmp_path: Path) -> None:
    with seeding(*three, tmp_path / "data") as lines:
        assert sorted(line.split()[1] for line in lines) == ["a.bin", "b.bin", "c.bin"]
        (peer,) = {line.split()[-1] for line in lines}
        assert run_here("download", *three, "-q", "-o", tmp_path / "out", "--peer", peer) == 0
    assert (tmp_path / "out" / "c.bin").read_bytes() == b"c" * 100_000


def test_data_of_several_kinds_is_seeded_by_one_client(three: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"a" * 100_000)
    with seeding(three[0], tmp_path / "data" / "b.bin", tmp_path / "data" / "c.bin") as lines:
        assert {line.split()[0] for line in lines} <= {"seeding", "torrent", "magnet"}
        assert (tmp_path / "data" / "b.bin.torrent").exists()
        peer = next(line.split()[-1] for line in lines if line.startswith("seeding "))
        assert run_here("download", *three, "-q", "-o", tmp_path / "out", "--peer", peer) == 0


def test_one_of_several_torrents_that_cannot_be_seeded_stops_no_other(
    three: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "b.bin").write_bytes(b"x" * 100_000)
    options = ["-q", "--host", "127.0.0.1", "--port", "0", "--seed-time", "0.1"]
    assert run_here("seed", *three, tmp_path / "data", *options) == 4
    captured = capfd.readouterr()
    assert captured.out.count("seeding ") == 2
    assert captured.err.startswith("geventbt: b.bin: ")


@pytest.mark.parametrize("option", [["--workers", "2"], ["--web-seed", "http://127.0.0.1/x"]])
def test_what_is_meant_for_one_torrent_is_not_given_for_several_seeds(
    option: list[str], three: list[Path], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_here("seed", *three, *option) == 2
    assert f"{option[0]} is for one SOURCE, and 3 are given" in capfd.readouterr().err


def test_a_torrent_is_not_seeded_twice(three: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here("seed", three[0], three[0], tmp_path / "data") == 2
    assert "are the same torrent" in capfd.readouterr().err


def test_an_empty_folder_cannot_be_seeded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert run_here("seed", tmp_path / "empty") == 4
    assert_one_line(capfd.readouterr().err)
    assert not (tmp_path / "empty.torrent").exists()


def test_the_data_of_a_torrent_is_looked_for_beside_it(torrent_file: Path, origin: Path) -> None:
    moved = origin.parent / "x.torrent"
    moved.write_bytes(torrent_file.read_bytes())
    command = [*COMMAND, "seed", str(moved), "--host", "127.0.0.1", "--port", "0", "-q"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("seeding shared (361.4 KiB) on 127.0.0.1:")
        process.terminate()


# ------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize("command", ["download", "cat"])
@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x", "{tmp}/file/x", "{tmp}/file"])
def test_a_folder_that_cannot_be_made_is_an_error_of_the_disk(
    command: str, place: str, torrent_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = place.format(tmp=tmp_path)
    done = subprocess.run(
        [*COMMAND, command, str(torrent_file), "-o", folder, "--peer", "127.0.0.1:1"], capture_output=True, text=True
    )
    assert done.returncode == 6
    assert_one_line(done.stderr)
    assert f"{folder}: the folder cannot be made: " in done.stderr
    assert done.stderr.endswith("; choose another with -o\n")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (bytes(32769) + b"CD001" + bytes(100), "it is the image of a disc (ISO 9660)"),
        (b"PK\x03\x04" + bytes(100), "it is a ZIP archive"),
        (b"\x1aE\xdf\xa3" + bytes(100), "it is a video"),
        (bytes(4) + b"ftypisom", "it is a video (MP4)"),
        (b"hello", "it is something else"),
        (b"", "it is empty"),
        (b"<html>", "it is a web page"),
    ],
)
@pytest.mark.parametrize("command", ["download", "info", "verify"])
def test_what_is_not_a_torrent_is_told_in_plain_words(
    command: str, content: bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "linux.iso"
    path.write_bytes(content)
    assert run_here(command, path, *([tmp_path] if command == "verify" else [])) == 4
    error = capfd.readouterr().err
    assert_one_line(error)
    assert f"{path}: not a .torrent file: {words}" in error
    assert ("to share it: geventbt seed" in error) == (words not in ("it is empty", "it is a web page"))


def test_a_selection_of_nothing_shows_the_files(torrent_file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_here("download", torrent_file, "--select", "*.mkv", "--peer", "127.0.0.1:1") == 3
    first, *files = capfd.readouterr().err.splitlines()
    assert first == "geventbt: '*.mkv' is not a file of the torrent; its files are:"
    assert [line.split() for line in files] == [
        ["0", "293.0", "KiB", "shared/one.bin"],
        ["1", "100", "B", "shared/sub/three.txt"],
        ["2", "68.4", "KiB", "shared/sub/two.bin"],
    ]
