"""``geventbt stream``: a file of a torrent over HTTP."""

from __future__ import annotations

import os
import re
import signal
import socket
import urllib.error
import urllib.request
from base64 import b64encode
from pathlib import Path

import pytest

import geventbt
from tests.cli_harness import Call, assert_one_line, json_lines, of_event, process_of, seeding_process

WAYS = ("--no-dht", "--no-lsd", "-q")


def get(url: str, **headers: str) -> tuple[int, bytes]:
    """Ask for a URL; the status and the body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): text for name, text in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("by_link", [False, True])
def test_a_file_is_served_until_the_command_is_interrupted(
    torrent_file: Path, origin: Path, tmp_path: Path, by_link: bool
) -> None:
    torrent = geventbt.Torrent.from_file(torrent_file)
    source = str(geventbt.Magnet.from_torrent(torrent)) if by_link else torrent_file
    with (
        seeding_process(torrent_file, origin) as (_, seeder),
        process_of("stream", source, *WAYS, "--peer", seeder, "-o", tmp_path / "out") as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(
            r"streaming one\.bin \(293\.0 KiB\) on (http://127\.0\.0\.1:\d+/stream/\S+/one\.bin)\n", line
        )
        assert found, line
        data = (origin / "one.bin").read_bytes()
        assert get(found[1]) == (200, data)
        assert get(found[1], Range="bytes=1000-1999") == (206, data[1000:2000])
        assert get(found[1].replace("/stream/", "/other/"))[0] == 404
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert (tmp_path / "out/shared/one.bin").read_bytes() == data
    assert not (tmp_path / "out/shared/sub/two.bin").exists()


def test_programs_are_told_the_url_and_players_give_the_login(torrent_file: Path, origin: Path, tmp_path: Path) -> None:
    (tmp_path / "login").write_text("me:secret\n")
    options = ("--http", "0.0.0.0:0", "--login-file", tmp_path / "login", "--json")
    with (
        seeding_process(torrent_file, origin) as (_, seeder),
        process_of("stream", torrent_file, "*two.bin", *WAYS, *options, "--peer", seeder) as process,
    ):
        assert process.stdout is not None
        (event,) = of_event(json_lines(process.stdout.readline()), "stream")
        assert (event["index"], event["path"]) == (2, "shared/sub/two.bin")
        assert get(event["url"])[0] == 401
        login = "Basic " + b64encode(b"me:secret").decode()
        assert get(event["url"], Authorization=login) == (200, (origin / "sub/two.bin").read_bytes())


def test_the_end_of_the_player_ends_the_command(torrent_file: Path, seeder: str, tmp_path: Path, call: Call) -> None:
    player = tmp_path / "mpv"
    player.write_text(f"#!/bin/sh\necho $1 > {tmp_path}/url\n")
    player.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        done = call("stream", torrent_file, *WAYS, "--peer", seeder, "--open")
    assert done.returncode == 0
    assert (tmp_path / "url").read_text() in done.stdout


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--http", "0.0.0.0:0"], 2, "others than this machine reach it; give --login-file FILE"),
        (["--http", "{taken}"], 5, "cannot be listened on"),
        (["--login-file", "{empty}"], 2, "a login is user:password"),
        (["--login-file", "/no/such/file"], 3, "No such file"),
        (["*"], 3, "matches 3 files"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    torrent_file: Path, tmp_path: Path, seeder: str, call: Call, options: list[str], code: int, text: str
) -> None:
    (tmp_path / "empty").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"taken": f"127.0.0.1:{taken.getsockname()[1]}", "empty": tmp_path / "empty"}
        done = call("stream", torrent_file, *(word.format(**names) for word in options), *WAYS, "--peer", seeder)
    assert done.returncode == code
    assert_one_line(done.stderr)
    assert text in done.stderr
