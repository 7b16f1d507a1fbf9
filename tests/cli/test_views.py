"""What a person sees while a torrent is on its way: on a terminal, elsewhere, and without rich."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from bitarray import bitarray

import geventbt
from geventbt import bencoding
from geventbt.cli import json_lines as documented
from geventbt.cli.piece_map import PLAIN_SHADES, SHADES, piece_map
from geventbt.cli.progress import peer_line, status
from geventbt.cli.views import FIRST_LINE, NEEDS_RICH, PlainView
from tests.cli_harness import COMMAND, OnTerminal, json_lines, of_event, seeding_process

TRACKER = "http://127.0.0.1:1/announce"
REFUSED = f"{TRACKER}: 127.0.0.1: Connection refused"
WITHOUT_RICH = [
    sys.executable,
    "-c",
    "import sys; sys.modules['rich'] = None; import geventbt.cli as c; sys.exit(c.run())",
]


@pytest.fixture
def seeder(torrent_file: Path, origin: Path) -> Iterator[str]:
    """The address of a seeder in a process of its own."""
    with seeding_process(torrent_file, origin) as (_, address):
        yield address


def without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


# ------------------------------------------------------------------ on a terminal


def test_a_terminal_shows_name_bar_bytes_speed_time_peers_and_pieces(
    torrent_file: Path, seeder: str, tmp_path: Path
) -> None:
    slowly = ["--limit-down", "200K", "-o", tmp_path / "out", "--peer", seeder]
    with OnTerminal("download", torrent_file, *slowly) as terminal:
        assert terminal.wait() == 0
    shown = without_colours(terminal.output)
    assert re.search(r"shared +[━╸╺]{20,} +\d+%\s+[0-9.]+ KiB of 361\.4 KiB, [0-9.]+ KiB/s, \d+ s left, 1 peer", shown)
    assert re.search(r"\[(?=[^\]]*█)(?=[^\]]* )[█ ]{23}\]", shown)
    assert "█ here, blank missing, 1 piece each" in shown
    assert "shared: 361.4 KiB verified" in shown
    assert "client" not in shown


def test_verbose_shows_a_table_of_the_peers(torrent_file: Path, seeder: str, tmp_path: Path) -> None:
    slowly = ["--limit-down", "200K", "-o", tmp_path / "out", "--peer", seeder]
    with OnTerminal("download", torrent_file, "-v", *slowly) as terminal:
        assert terminal.wait() == 0
    shown = without_colours(terminal.output)
    assert re.search(r"client +address +flags +down/s +up/s +pieces", shown)
    assert re.search(rf"geventbt 0\.1\S* +{re.escape(seeder)} +DE? +[0-9.]+ KiB +0 B +23", shown)


def test_a_seeder_shows_what_it_sends(torrent_file: Path, origin: Path) -> None:
    with OnTerminal("seed", torrent_file, origin, "--host", "127.0.0.1", "--port", "0") as terminal:
        terminal.read_until(
            lambda shown: "361.4 KiB complete, 0 B sent at 0 B/s, ratio 0.00, 0 peers" in without_colours(shown)
        )
        terminal.process.send_signal(2)
        assert terminal.wait() == 130
    assert "Traceback" not in terminal.output
    # The cursor, which the view hides, is there again.
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_hashing_has_a_bar(torrent_file: Path, origin: Path) -> None:
    with OnTerminal("verify", torrent_file, origin) as terminal:
        assert terminal.wait() == 0
    assert "23 of 23 pieces" in without_colours(terminal.output)
    assert "None" not in terminal.output


def test_a_narrow_terminal_is_no_error(torrent_file: Path, seeder: str, tmp_path: Path) -> None:
    with OnTerminal("download", torrent_file, "-v", "-o", tmp_path / "out", "--peer", seeder, columns=20) as terminal:
        assert terminal.wait() == 0
    assert "Traceback" not in terminal.output


def test_the_name_of_a_torrent_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "data" / "payload.bin"
    path.parent.mkdir()
    path.write_bytes(bytes(range(256)) * 400)
    info = bencoding.decode(geventbt.create_torrent(path).info_bytes)
    torrent = geventbt.Torrent.from_info(bencoding.encode({**info, b"name": "[red]evil\u202e\x9b2J".encode()}))
    (tmp_path / "x.torrent").write_bytes(torrent.to_bytes())
    path.rename(path.with_name(torrent.name))
    with (
        seeding_process(tmp_path / "x.torrent", path.parent) as (_, peer),
        OnTerminal("download", tmp_path / "x.torrent", "-o", tmp_path / "out", "--peer", peer) as terminal,
    ):
        assert terminal.wait() == 0
    assert "[red]evil" in terminal.output
    assert "\u202e" not in terminal.output
    assert "\x9b" not in terminal.output


def test_verbose_shows_the_warnings_of_the_library_above_the_view(torrent_file: Path, tmp_path: Path) -> None:
    arguments = ["-o", tmp_path / "out", "--peer", "no-such-host.invalid:1"]
    with OnTerminal("download", torrent_file, "-v", *arguments) as terminal:
        assert terminal.wait() == 5
    assert "geventbt: the peer no-such-host.invalid:1 cannot be resolved" in terminal.output
    assert "Errno" not in terminal.output.rpartition("no peer could be reached")[2]


# ------------------------------------------------------------------ without rich


def test_without_rich_a_terminal_gets_lines_and_is_told_what_to_install(
    torrent_file: Path, seeder: str, tmp_path: Path
) -> None:
    arguments = ["--limit-down", "200K", "-o", tmp_path / "out", "--peer", seeder]
    with OnTerminal("download", torrent_file, *arguments, command=WITHOUT_RICH) as terminal:
        assert terminal.wait() == 0
    assert terminal.output.count(NEEDS_RICH) == 1
    assert re.search(r"shared: [0-9.]+ KiB of 361\.4 KiB", terminal.output)


def test_without_rich_nothing_is_said_where_it_would_not_be_used(
    torrent_file: Path, seeder: str, tmp_path: Path
) -> None:
    for number, option in enumerate(["-q", "--json"]):
        arguments = [option, "-o", tmp_path / str(number), "--peer", seeder]
        with OnTerminal("download", torrent_file, *arguments, command=WITHOUT_RICH) as terminal:
            assert terminal.wait() == 0
        assert "pip install" not in terminal.output
    command = [*WITHOUT_RICH, "download", str(torrent_file), "-o", str(tmp_path / "2"), "--peer", seeder]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert (result.returncode, "pip install" in result.stderr) == (0, False)


# ------------------------------------------------------------------ elsewhere


def test_elsewhere_there_is_a_plain_line_now_and_then(torrent_file: Path, seeder: str, tmp_path: Path) -> None:
    slowly = ["--limit-down", "200K", "-v", "-o", str(tmp_path / "out"), "--peer", seeder]
    command = [*COMMAND, "download", str(torrent_file), *slowly]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 0
    first, peer = result.stderr.splitlines()[:2]
    assert re.fullmatch(
        r"shared: [0-9.]+ KiB of 361\.4 KiB, [0-9.]+ KiB/s, \d+ s left, 1 peer, 0 B sent at 0 B/s, ratio 0.00", first
    )
    assert re.fullmatch(rf"  {re.escape(seeder)} geventbt 0\.1\S* DE? down [0-9.]+ KiB/s up 0 B/s, 23 pieces", peer)
    assert "\x1b" not in result.stderr


def test_a_name_that_the_output_has_no_signs_for_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "größe").write_bytes(b"data")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [*COMMAND, "create", "größe", "-q"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=50)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("gr??e: 4 B")


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (geventbt.Progress("checking"), "checking"),
        (geventbt.Progress("checking", checked=3, pieces=9), "checking 3 of 9 pieces"),
        (geventbt.Progress("metadata"), "fetching the metadata"),
        (geventbt.Progress("downloading", wanted=2048, done=1024), "1.0 KiB of 2.0 KiB, looking for peers"),
        (
            geventbt.Progress("downloading", wanted=2048, done=1024, download_speed=512, peers=2),
            "1.0 KiB of 2.0 KiB, 512 B/s, 2 s left, 2 peers, 0 B sent at 0 B/s, ratio 0.00",
        ),
        (
            geventbt.Progress("seeding", wanted=1024, done=1024, uploaded=1536, upload_speed=1024, peers=1),
            "1.0 KiB complete, 1.5 KiB sent at 1.0 KiB/s, ratio 1.50, 1 peer",
        ),
    ],
)
def test_each_state_is_described(progress: geventbt.Progress, text: str) -> None:
    assert ", ".join(status(progress)) == text


def with_tracker(tmp_path: Path, *options: str) -> list[str]:
    """A download from a tracker that cannot be connected to."""
    (tmp_path / "file").write_bytes(b"data")
    torrent = geventbt.create_torrent(tmp_path / "file", trackers=[TRACKER])
    (tmp_path / "x.torrent").write_bytes(torrent.to_bytes())
    return ["download", str(tmp_path / "x.torrent"), "-o", str(tmp_path / "out"), *options]


def test_a_tracker_that_fails_is_shown_where_there_are_no_peers(tmp_path: Path) -> None:
    command = [*COMMAND, *with_tracker(tmp_path, "--stall-timeout", "2")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 8
    assert f"file: 0 B of 4 B, looking for peers (tracker {REFUSED})\n" in result.stderr
    assert f"nothing received for 2 seconds (0 peers; {REFUSED})" in result.stderr.splitlines()[-1]


def test_a_terminal_shows_a_tracker_that_fails(tmp_path: Path) -> None:
    with OnTerminal(*with_tracker(tmp_path), columns=150) as terminal:
        terminal.read_until(lambda shown: f"looking for peers (tracker {REFUSED})" in without_colours(shown))
    with OnTerminal(*with_tracker(tmp_path, "-v"), columns=150) as terminal:
        terminal.read_until(lambda shown: f"\n  {REFUSED}" in without_colours(shown).replace("\r", ""))


def test_verbose_shows_a_tracker_that_fails_although_there_are_peers(
    torrent_file: Path, seeder: str, tmp_path: Path
) -> None:
    slowly = ["--limit-down", "200K", "-v", "-o", str(tmp_path / "out"), "--peer", seeder, "--tracker", TRACKER]
    result = subprocess.run([*COMMAND, "download", torrent_file, *slowly], capture_output=True, text=True, timeout=50)
    assert result.returncode == 0
    logged = "geventbt: the tracker http://127.0.0.1:1: 127.0.0.1: Connection refused"
    lines = result.stderr.splitlines()
    assert lines.count(logged) == 1
    first, _, tracker = [line for line in lines if line != logged][:3]
    assert ", 1 peer, " in first
    assert tracker.startswith(f"  {REFUSED}, ")
    assert ", again in " in tracker


def test_a_tracker_that_fails_is_told_to_programs(tmp_path: Path) -> None:
    result = subprocess.run(
        [*COMMAND, *with_tracker(tmp_path, "--json", "--stall-timeout", "2")],
        capture_output=True,
        text=True,
        timeout=50,
    )
    last = of_event(json_lines(result.stdout), "progress")[-1]
    assert last["tracker_errors"] == {TRACKER: "127.0.0.1: Connection refused"}
    assert all(key in (documented.__doc__ or "") for key in last)


def test_the_client_of_a_peer_cannot_steer_the_terminal() -> None:
    peer = geventbt.PeerStatus(
        ("::1", 1), "evil\x1b[2J" * 99, True, None, 0, 0, 0, 0, 3, True, True, True, False, False, 0
    )
    line = peer_line(peer)
    assert "\x1b" not in line
    assert "\n" not in line
    assert line.startswith("  [::1]:1 evil")
    assert " d down " in line
    assert len(line) < 200


def test_the_peers_come_with_the_plain_line_only_if_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Torrent:
        name, state, peers, trackers, info_hash = "x", "downloading", [None], MappingProxyType({}), bytes(20)
        dht = error = None
        progress = geventbt.Progress("metadata")

    view = PlainView(verbose=False)
    times = iter([0.0, FIRST_LINE])
    monkeypatch.setattr("geventbt.cli.views.monotonic", lambda: next(times))
    view.update(Torrent())  # type: ignore[arg-type]
    view.update(Torrent())  # type: ignore[arg-type]
    assert capsys.readouterr().err == "x: fetching the metadata\n"


# ------------------------------------------------------------------ the map


def test_each_piece_has_a_character_where_there_is_room() -> None:
    assert piece_map(bitarray("11010"), 10, 3) == ["██ █ "]
    assert piece_map(bitarray("110100"), 3, 3) == ["██ ", "█  "]
    assert piece_map(bitarray(), 10, 3) == []


def test_a_character_of_several_pieces_is_as_full_as_they_are() -> None:
    assert piece_map(bitarray("0000 1000 1100 1110 1111".replace(" ", "")), 5, 1) == [" ░▒▓█"]
    assert piece_map(bitarray("0000 1000 1100 1110 1111".replace(" ", "")), 5, 1, PLAIN_SHADES) == [".-+*#"]


def test_nothing_and_all_are_never_shown_for_a_part() -> None:
    many = bitarray(10_000)
    many.setall(1)
    many[5000] = 0
    rows = piece_map(many, 40, 2)
    assert [len(row) for row in rows] == [40, 40]
    assert "".join(rows).count(SHADES[-1]) == 79
    many.setall(0)
    many[5000] = 1
    assert "".join(piece_map(many, 40, 2)).count(SHADES[0]) == 79
