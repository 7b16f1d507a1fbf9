"""``geventbt create`` and ``geventbt verify``, as a person meets them."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt import bencoding
from geventbt.cli.main import run
from tests.cli_harness import COMMAND, Call, assert_one_line, json_lines, run_here


@pytest.fixture
def endless(tmp_path: Path) -> Path:
    """A file that takes more than a minute to hash, and no room."""
    path = tmp_path / "endless"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    return path


# ------------------------------------------------------------------ create


def test_a_torrent_is_made_here_and_named_after_its_data(call: Call, origin: Path, tmp_path: Path) -> None:
    result = call("create", origin, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    torrent = geventbt.Torrent.from_file(tmp_path / "shared.torrent")
    assert torrent.info_hash == geventbt.create_torrent(origin).info_hash
    assert torrent.info_hash.hex() in result.stdout
    assert result.stdout.startswith("shared: 361.4 KiB in 23 pieces of 16.0 KiB")
    assert torrent.created_by == f"geventbt {geventbt.__version__}"
    assert abs((torrent.creation_date or 0) - time.time()) < 600


def test_all_that_was_said_is_in_the_torrent(call: Call, origin: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.torrent"
    options = ["--private", "--comment", "Hello", "--source", "OURS", "--name", "Other", "--piece-length", "32K"]
    trackers = ["--tracker", "http://a/announce", "--tracker", "udp://b:1"]
    result = call("create", "-o", output, *options, *trackers, "--web-seed", "http://s/", origin)
    assert result.returncode == 0, result.stderr
    torrent = geventbt.Torrent.from_file(output)
    assert (torrent.name, torrent.private, torrent.comment) == ("Other", True, "Hello")
    assert torrent.geometry.piece_length == 32768
    assert torrent.trackers == (("http://a/announce",), ("udp://b:1",))
    assert torrent.web_seeds == ("http://s/",)
    assert bencoding.decode(torrent.info_bytes)[b"source"] == b"OURS"


def test_what_was_created_verifies(call: Call, origin: Path, tmp_path: Path) -> None:
    assert call("create", origin, "-o", tmp_path / "x.torrent", "-q").stderr == ""
    assert call("verify", tmp_path / "x.torrent", origin).returncode == 0


@pytest.mark.parametrize("version", ["2", "hybrid"])
def test_a_torrent_of_version_2_is_made_shown_linked_and_verified(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], version: str
) -> None:
    output = tmp_path / "x.torrent"
    assert run_here("create", origin, "--torrent-version", version, "-o", output, "--json") == 0
    (made,) = json_lines(capsys.readouterr().out)
    torrent = geventbt.Torrent.from_file(output)
    assert torrent.info_hash_v2 is not None
    hashes = [value.hex() for value in (torrent.info_hash, torrent.info_hash_v2) if value is not None]
    assert len(hashes) == (2 if version == "hybrid" else 1)
    assert run_here("info", output, "--json") == 0
    (shown,) = json_lines(capsys.readouterr().out)
    for line in (made, shown):
        assert (line["version"], line["info_hash_v2"]) == (version, hashes[-1])
        assert line["length"] == sum(path.stat().st_size for path in origin.rglob("*") if path.is_file())
    assert run_here("magnet", output) == 0
    link = capsys.readouterr().out
    assert [link.count(f":{digest}") + link.count(f":1220{digest}") for digest in hashes] == [1] * len(hashes)
    assert run_here("verify", output, origin, "-q") == 0
    data = bytearray((origin / "one.bin").read_bytes())
    data[-1] ^= 1
    (origin / "one.bin").write_bytes(data)
    assert run_here("verify", output, origin, "-q") != 0


def test_a_path_that_is_not_there_is_not_found(call: Call, tmp_path: Path) -> None:
    result = call("create", tmp_path / "nothing", cwd=tmp_path)
    assert result.returncode == 3
    assert_one_line(result.stderr)
    assert not list(tmp_path.glob("*.torrent"))


def test_a_folder_without_data_makes_no_torrent(call: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = call("create", tmp_path / "empty", cwd=tmp_path)
    assert result.returncode == 4
    assert_one_line(result.stderr)


def test_pieces_that_are_too_many_are_an_error_and_no_bug(call: Call, endless: Path, tmp_path: Path) -> None:
    result = call("create", endless, "--piece-length", "1K", cwd=tmp_path)
    assert result.returncode == 4
    assert_one_line(result.stderr)


def test_an_output_that_cannot_be_written_is_an_error(call: Call, origin: Path, tmp_path: Path) -> None:
    result = call("create", origin, "-q", "-o", tmp_path)
    assert result.returncode == 6
    assert_one_line(result.stderr)


@pytest.mark.parametrize("output", ["", "sub/two.bin", "x.torrent"])
def test_a_torrent_is_never_written_into_its_own_data(call: Call, origin: Path, output: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in origin.parent.rglob("*")}
    data = origin if output else origin / "one.bin"
    result = call("create", data, "-q", "-o", data / output)
    assert result.returncode == 2
    assert_one_line(result.stderr)
    assert "part of the data itself" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in origin.parent.rglob("*")} == before


def test_the_data_is_recognized_behind_a_link(call: Call, origin: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(origin)
    assert call("create", origin, "-q", "-o", tmp_path / "link" / "x.torrent").returncode == 2
    assert call("create", tmp_path / "link", "-q", "-o", origin / "x.torrent").returncode == 2


def test_only_a_torrent_is_written_over(call: Call, origin: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.torrent"
    output.write_text("a letter")
    result = call("create", origin, "-q", "-o", output)
    assert result.returncode == 2
    assert_one_line(result.stderr)
    assert "not a torrent" in result.stderr
    assert output.read_text() == "a letter"
    output.write_bytes(geventbt.create_torrent(origin / "one.bin").to_bytes())
    assert call("create", origin, "-q", "-o", output).returncode == 0
    assert geventbt.Torrent.from_file(output).name == "shared"


def test_a_torrent_may_go_to_where_there_is_nothing_to_lose(origin: Path) -> None:
    command = [*COMMAND, "create", str(origin), "-q", "-o", "/dev/stdout"]
    written = subprocess.run(command, capture_output=True, timeout=50).stdout
    assert written.startswith(b"d10:created by")


def test_a_torrent_may_go_to_standard_output(origin: Path) -> None:
    done = subprocess.run([*COMMAND, "create", str(origin), "-o", "-", "-q"], capture_output=True, timeout=50)
    assert geventbt.Torrent.from_bytes(done.stdout).name == "shared"
    assert done.stderr.startswith(b"shared: 361.4 KiB in 23 pieces of 16.0 KiB")
    assert run_here("create", origin, "-o", "-", "--json") == 2


def test_a_folder_that_is_not_there_is_said_before_anything_is_hashed(
    call: Call, endless: Path, tmp_path: Path
) -> None:
    result = call("create", endless, "-q", "-o", tmp_path / "nowhere" / "x.torrent")
    assert result.returncode == 3
    assert_one_line(result.stderr)
    assert f"there is no folder {tmp_path / 'nowhere'}" in result.stderr


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_hashed(
    call: Call, endless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The tests may run as a user to whom no folder is closed.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    result = call("create", endless, "-o", tmp_path / "x.torrent")
    assert result.returncode == 6
    assert "choose another place" in result.stderr


def test_a_full_disk_leaves_what_was_there_and_is_told_with_the_file(origin: Path, tmp_path: Path) -> None:
    output = tmp_path / "x.torrent"
    create = f"trap '' XFSZ; ulimit -f 0; exec {' '.join(COMMAND)} create {origin} -q -o {output}"
    for before in (None, geventbt.create_torrent(origin / "one.bin").to_bytes()):
        if before is not None:
            output.write_bytes(before)
        names = sorted(path.name for path in tmp_path.iterdir())
        result = subprocess.run(["bash", "-c", create], capture_output=True, text=True, timeout=50)
        assert result.returncode == 6
        assert_one_line(result.stderr)
        assert str(output) in result.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        assert before is None or output.read_bytes() == before


@pytest.mark.parametrize(
    "options",
    [["--piece-length", "16385"], ["--piece-length", "1G"], ["--tracker", "nowhere"], ["--web-seed", "a b"], []],
)
def test_wrong_usage_ends_with_2(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(["create", *options])
    assert caught.value.code == 2
    assert_one_line(capsys.readouterr().err)


# ------------------------------------------------------------------ verify


@pytest.mark.parametrize("where", ["itself", "its folder"])
def test_good_data_is_good(call: Call, torrent_file: Path, origin: Path, where: str) -> None:
    result = call("verify", torrent_file, origin if where == "itself" else origin.parent)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "shared: 23 of 23 pieces are good\n"


def test_data_beside_its_torrent_need_not_be_named(call: Call, torrent_file: Path, origin: Path) -> None:
    beside = torrent_file.rename(origin.with_name("any.torrent"))
    result = call("verify", beside, "-q")
    assert (result.returncode, result.stdout) == (0, "shared: 23 of 23 pieces are good\n")


def test_a_single_file_is_verified(call: Call, origin: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.torrent"
    path.write_bytes(geventbt.create_torrent(origin / "one.bin").to_bytes())
    assert call("verify", path, origin / "one.bin").returncode == 0
    assert call("verify", path, origin).returncode == 0


def test_one_piece_is_no_pieces(call: Call, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"data")
    assert call("create", tmp_path / "small", cwd=tmp_path).stdout.startswith("small: 4 B in 1 piece of 16.0 KiB")
    result = call("verify", tmp_path / "small.torrent", tmp_path / "small")
    assert result.stdout == "small: 1 of 1 piece is good\n"


def test_each_file_that_is_not_good_is_named(call: Call, torrent_file: Path, origin: Path) -> None:
    with open(origin / "one.bin", "r+b") as file:
        file.write(b"not what was there")
    (origin / "sub" / "two.bin").unlink()
    result = call("verify", torrent_file, origin)
    assert result.returncode == 4
    assert result.stdout.splitlines() == [
        "shared: 17 of 23 pieces are good",
        "  shared/one.bin: 17 of 19 pieces are good",
        "  shared/sub/three.txt: 0 of 1 piece is good",
        "  shared/sub/two.bin: missing",
    ]


def test_verify_makes_and_changes_nothing(call: Call, torrent_file: Path, origin: Path) -> None:
    (origin / "sub" / "two.bin").unlink()
    before = {path: path.stat().st_mtime_ns for path in origin.parent.rglob("*")}
    call("verify", torrent_file, origin)
    assert {path: path.stat().st_mtime_ns for path in origin.parent.rglob("*")} == before


def test_data_that_is_not_there_is_not_found(call: Call, torrent_file: Path, tmp_path: Path) -> None:
    result = call("verify", torrent_file, tmp_path / "elsewhere")
    assert result.returncode == 3
    assert_one_line(result.stderr)


def test_a_name_cannot_steer_the_terminal(call: Call, tmp_path: Path) -> None:
    info = {
        "name": "a\u202eb",
        "piece length": 16384,
        "pieces": bytes(20),
        "files": [{"length": 5, "path": ["\x1b[2J"]}],
    }
    torrent = geventbt.Torrent.from_info(bencoding.encode(info))
    (tmp_path / "x.torrent").write_bytes(torrent.to_bytes())
    path = tmp_path.joinpath(*torrent.files[0].path)
    path.parent.mkdir()
    path.write_bytes(b"12345")
    result = call("verify", tmp_path / "x.torrent", tmp_path)
    assert result.returncode == 4
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout


# ------------------------------------------------------------------ interrupted


def interrupt(command: list[Any], data: Path) -> subprocess.CompletedProcess[str]:
    """Press Ctrl-C once the data is being read."""
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 30
        while not reads(process.pid, data):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        return subprocess.CompletedProcess(command, process.returncode, output, errors)


def reads(pid: int, path: Path) -> bool:
    links = Path(f"/proc/{pid}/fd").glob("*")
    return any(os.path.realpath(link) == str(path) for link in links)


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what a process reads cannot be seen here")


@needs_proc
def test_creating_ends_soon_when_interrupted(endless: Path, tmp_path: Path) -> None:
    result = interrupt([*COMMAND, "create", endless, "-o", tmp_path / "x.torrent"], endless)
    assert result.returncode == 130
    assert result.stderr.endswith("interrupted\n")
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x.torrent").exists()


@needs_proc
def test_verifying_ends_soon_when_interrupted(endless: Path, tmp_path: Path) -> None:
    info = {"name": "endless", "piece length": 1 << 24, "pieces": bytes(20 << 16), "length": 1 << 40}
    (tmp_path / "x.torrent").write_bytes(geventbt.Torrent.from_info(bencoding.encode(info)).to_bytes())
    result = interrupt([*COMMAND, "verify", tmp_path / "x.torrent", endless, "--json"], endless)
    assert result.returncode == 130
    assert result.stdout == '{"event": "interrupted", "done": null, "wanted": null}\n'
    assert result.stderr.endswith("interrupted\n")
    assert "Traceback" not in result.stderr
