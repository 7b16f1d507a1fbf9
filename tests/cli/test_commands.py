"""The command line as a person meets it: its exit codes, its one line for each error, and the main job."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

import geventbt
from geventbt.cli.main import run
from geventbt.cli.messages import code_and_text
from geventbt.cli.text import human_size, human_time, printable
from tests.cli_harness import COMMAND, FILES, Call, assert_one_line, process_of, run_here, seeding_process


def test_the_version_is_told() -> None:
    result = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, timeout=50)
    assert result.stdout == f"geventbt {geventbt.__version__}\n"


def test_a_download_from_a_seeder_ends_with_the_same_files(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    """Each in a process of its own, as a user runs them."""
    with seeding_process(torrent_file, origin) as (_, peer):
        command = [*COMMAND, "download", torrent_file, "-o", tmp_path / "out", "--peer", peer]
        result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("shared: 361.4 KiB verified; 361.4 KiB from 1 peer at")
    for name in FILES:
        assert (tmp_path / "out" / "shared" / name).read_bytes() == (origin / name).read_bytes()


def test_the_demo_moves_verified_data_from_every_seeder(call: Call) -> None:
    result = call("demo", "--size", "40M", "--seeders", "2")
    assert result.returncode == 0, result.stderr
    assert "verified 40.0 MiB" in result.stdout
    assert "served by 2 of 2 peers" in result.stdout


@pytest.mark.parametrize("where", ["itself", "its folder"])
def test_the_data_may_be_named_itself_or_by_its_folder(torrent_file: Path, origin: Path, where: str) -> None:
    data = origin if where == "itself" else origin.parent
    with geventbt.seed(torrent_file, data, ("127.0.0.1", 0)) as server:
        assert server.port


def test_a_missing_file_is_not_found(call: Call, tmp_path: Path) -> None:
    result = call("download", tmp_path / "nothing.torrent")
    assert result.returncode == 3
    assert_one_line(result.stderr)
    assert "nothing.torrent" in result.stderr


def test_a_file_that_is_no_torrent_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "x.torrent").write_text("hello")
    result = call("download", tmp_path / "x.torrent")
    assert result.returncode == 4
    assert_one_line(result.stderr)


def test_a_peer_that_cannot_be_reached_is_a_network_error(call: Call, torrent_file: Path, tmp_path: Path) -> None:
    result = call("download", torrent_file, "-q", "-o", tmp_path / "out", "--peer", "127.0.0.1:1")
    assert result.returncode == 5
    assert_one_line(result.stderr)
    assert "no peer could be reached" in result.stderr


def test_no_peer_at_all_is_a_network_error(call: Call, torrent_file: Path, tmp_path: Path) -> None:
    result = call("download", torrent_file, "-q", "-o", tmp_path / "out")
    assert result.returncode == 5
    assert_one_line(result.stderr)


def test_data_that_is_not_there_is_not_found(call: Call, torrent_file: Path, tmp_path: Path) -> None:
    result = call("seed", torrent_file, tmp_path / "elsewhere")
    assert result.returncode == 3
    assert_one_line(result.stderr)


def test_data_that_differs_is_corrupt(call: Call, torrent_file: Path, origin: Path) -> None:
    (origin / "one.bin").write_bytes(bytes(300_001))
    result = call("seed", torrent_file, origin)
    assert result.returncode == 4
    assert_one_line(result.stderr)
    assert "pieces of 'shared' are missing or differ" in result.stderr


def test_a_taken_port_is_a_network_error(call: Call, seeder: str, torrent_file: Path, origin: Path) -> None:
    result = call("seed", torrent_file, origin, "--host", "127.0.0.1", "--port", seeder.partition(":")[2])
    assert result.returncode == 5
    assert_one_line(result.stderr)


def test_a_folder_that_cannot_be_written_is_a_disk_error(
    call: Call, seeder: str, torrent_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    result = call("download", torrent_file, "-q", "-o", tmp_path / "file", "--peer", seeder)
    assert result.returncode in (3, 6)
    assert_one_line(result.stderr)


def test_a_file_that_cannot_grow_is_a_disk_error(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    with seeding_process(torrent_file, origin) as (_, peer):
        download = f"download {torrent_file} -q -o {tmp_path / 'out'} --peer {peer}"
        limited = f"ulimit -f 100; exec {' '.join(COMMAND)} {download}"
        result = subprocess.run(["bash", "-c", f"trap '' XFSZ; {limited}"], capture_output=True, text=True, timeout=50)
    assert result.returncode == 6
    assert_one_line(result.stderr)


def test_no_space_left_is_said_plainly() -> None:
    code, text = code_and_text(geventbt.StorageError(errno.ENOSPC, "No space left on device", "/data/x")) or (0, "")
    assert code == 6
    assert "full" in text
    assert "/data/x" in text


def test_a_magnet_is_printed_and_leads_back_to_the_torrent(
    call: Call, seeder: str, torrent_file: Path, origin: Path, tmp_path: Path
) -> None:
    magnet = call("magnet", torrent_file).stdout.strip()
    assert magnet.startswith("magnet:?xt=urn:btih:")
    kept = tmp_path / "kept.torrent"
    result = call("download", magnet, "-q", "-o", tmp_path / "out", "--peer", seeder, "--save-torrent", kept)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "shared" / "one.bin").read_bytes() == (origin / "one.bin").read_bytes()
    assert geventbt.Torrent.from_file(kept).info_hash == geventbt.Torrent.from_file(torrent_file).info_hash


def test_a_magnet_that_nobody_knows_is_a_network_error(call: Call, seeder: str) -> None:
    result = call("download", "magnet:?xt=urn:btih:" + "a" * 40, "--peer", seeder)
    assert result.returncode == 5
    assert_one_line(result.stderr)


def test_a_peer_is_shown_to_people_and_to_programs(call: Call, seeder: str, torrent_file: Path) -> None:
    info_hash = geventbt.Torrent.from_file(torrent_file).info_hash.hex()
    shown = call("peer", seeder, info_hash, "--wait", "0.3")
    assert shown.returncode == 0, shown.stderr
    assert "client           geventbt 0.1" in shown.stdout
    assert "reserved bits    dht, fast, extended" in shown.stdout
    facts = json.loads(call("peer", seeder, info_hash, "--wait", "0.3", "--json").stdout)
    assert facts["extensions"]["ut_metadata"] == 1
    assert facts["metadata_size"] > 0
    assert facts["has_all"] is True
    assert facts["closed_by"] == "us"
    assert facts["round_trip_ms"] > 0


def test_a_peer_that_lacks_the_torrent_is_told_in_a_line(call: Call, seeder: str) -> None:
    result = call("peer", seeder, "a" * 40, "--json")
    assert result.returncode == 5
    assert_one_line(result.stderr)
    assert "it closed the connection" in result.stderr
    assert "does not have the torrent" in result.stderr
    error = json.loads(result.stdout)
    assert (error["event"], error["code"]) == ("error", 5)


def test_a_peer_that_cannot_be_connected_to_is_told_in_a_line(call: Call) -> None:
    result = call("peer", "127.0.0.1:1", "a" * 40)
    assert result.returncode == 5
    assert_one_line(result.stderr)
    assert "refused" in result.stderr
    assert result.stdout == ""


def test_an_interrupted_seeder_ends_with_130(torrent_file: Path, origin: Path) -> None:
    with seeding_process(torrent_file, origin) as (process, _):
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "interrupted: run the same command to seed again\n"


def test_an_interrupted_download_ends_with_130_and_goes_on_later(
    torrent_file: Path, origin: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with seeding_process(torrent_file, origin) as (stuck, peer):
        stuck.send_signal(signal.SIGSTOP)
        arguments = ["download", torrent_file, "-q", "-o", out, "--peer", peer]
        with process_of(*arguments) as process:
            deadline = time.monotonic() + 20
            while not (out / "shared" / "sub" / "two.bin").exists():
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=20) == 130
            assert process.stderr is not None
            # The files are made while the torrent is still being checked.
            kept = ("what is there is kept", "0 B of 361.4 KiB are kept")
            told = [f"interrupted: {what}; run the same command again to resume\n" for what in kept]
            assert process.stderr.read() in told
        stuck.send_signal(signal.SIGCONT)
        assert run_here(*arguments) == 0


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["download"], ["download", "x", "--peer", "nowhere"], ["demo", "--size", "many"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(arguments)
    assert caught.value.code == 2
    assert_one_line(capsys.readouterr().err)


def test_untrusted_text_cannot_steer_the_terminal() -> None:
    assert (
        printable("evil\x1b[2Jname\n\u202e")
        == "evil\N{REPLACEMENT CHARACTER}[2Jname\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    )


def test_sizes_and_times_are_for_people() -> None:
    assert [human_size(n) for n in (0, 1023, 1024, 5 << 30, 5 << 50)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "5.0 GiB",
        "5120.0 TiB",
    ]
    assert [human_time(n) for n in (0, 24.9, 60, 61, 3661, 3601, 86400, 90061)] == [
        "0 s",
        "24 s",
        "1 min 0 s",
        "1 min 1 s",
        "1 h 1 min",
        "1 h",
        "1 d",
        "1 d 1 h",
    ]
