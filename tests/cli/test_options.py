"""What can be written for options, their environment variables, the help, the completion of shells, and the start."""

from __future__ import annotations

import argparse
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import geventbt
from geventbt.cli import values
from geventbt.cli.errors import CommandError
from geventbt.cli.main import make_parser, run
from geventbt.cli.parsing import actions_of, subparsers_of
from geventbt.cli.running import discovery_options
from geventbt.cli.selection import select_files
from geventbt.cli.suggestions import option_hint
from geventbt.cli.text import counted, human_address, human_ratio
from tests.cli_harness import COMMAND, assert_one_line, json_lines

COMMANDS = list(subparsers_of(make_parser()))


def parse(*arguments: str) -> argparse.Namespace:
    return make_parser().parse_args(arguments)


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (values.size, "1", 1),
        (values.size, "256K", 256 << 10),
        (values.size, "1.5m", 3 << 19),
        (values.size, "999999999999999", 999999999999999),
        *((values.size, f"2{unit}", 2 << 10) for unit in ("K", "k", "KB", "kB", "KiB", "kib", " KiB", " K")),
        *((values.size, f"1.5{unit}", 3 << 19) for unit in ("M", "MB", "MiB", " MB")),
        *((values.size, f"3{unit}", 3 << 30) for unit in ("G", "GB", "GiB")),
        *((values.size, f"1{unit}", 1 << 40) for unit in ("T", "TB", "TiB")),
        (values.size, "7B", 7),
        (values.rate, "0", None),
        (values.rate, "1MB/s", 1 << 20),
        (values.rate, "500 KiB/s", 500 << 10),
        (values.web_seed, "http://a/b c", "http://a/b%20c"),
        (values.http_url, "HTTPS://a/b c", "https://a/b%20c"),
        (values.rate, "500K", 500 << 10),
        (values.duration, "0", 0),
        (values.duration, "90", 90),
        (values.duration, "1.5h", 5400),
        (values.duration, "2d", 172800),
        (values.duration, "forever", math.inf),
        (values.positive_duration, "0.5", 0.5),
        (values.ratio, "1.5", 1.5),
        (values.peer_address, "host:1", ("host", 1)),
        (values.peer_address, "[::1]:6881", ("::1", 6881)),
        (values.port, "0", 0),
        (values.at_least_one, "7", 7),
        (values.piece_length, "48K", 48 << 10),
        (values.url, "wss://a/", "wss://a/"),
        (values.tracker, "udp://a:1", "udp://a:1"),
    ],
)
def test_a_value_is_read_as_it_is_meant(read: Any, text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *(
            (values.size, text)
            for text in (
                "",
                "K",
                "KiB",
                "1KiBB",
                "1iB",
                "1 ",
                "1P",
                "1  K",
                "K1",
                "1Mbit",
                "0",
                "-1",
                "1e9",
                "1..5",
                "many",
                "١",
                "0.5",
                "9" * 99,
            )
        ),
        *((values.rate, text) for text in ("", "fast", "-5")),
        *((values.duration, text) for text in ("", "s", "1w", "-1", "inf", "nan", "9" * 15)),
        *((values.positive_duration, text) for text in ("0", "forever")),
        *((values.ratio, text) for text in ("", "inf", "nan", "-1", "1:1")),
        *((values.peer_address, text) for text in ("", "a", "a:", ":1", "a:0", "a:65536", "::1:6881", "[a]:1", "a:١")),
        *((values.port, text) for text in ("", "65536", "-1", "x", "١")),
        *((values.at_least_one, text) for text in ("", "0", "-1", "1.5", "9" * 99)),
        *((values.piece_length, text) for text in ("16385", "1G", "")),
        *((values.http_url, text) for text in ("", "ftp://x/", "a/b")),
        *((values.tracker, text) for text in ("", "ftp://x/", "wss://x/", "http://a b")),
        *((values.url, text) for text in ("", "a", "http://a b", "http://ä", "http://a\n")),
    ],
)
def test_a_value_that_makes_no_sense_is_a_usage_error(read: Any, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        read(text)


def test_a_piece_that_is_too_long_is_called_so() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="'1G' is too large: a piece has at most 512"):
        values.piece_length("1G")


def test_numbers_are_for_people() -> None:
    assert [counted(1, "peer"), counted(2, "peer")] == ["1 peer", "2 peers"]
    assert [human_address(("::1", 1)), human_address(("a", 2))] == ["[::1]:1", "a:2"]
    assert [human_ratio(1.5), human_ratio(math.inf)] == ["1.50", "-"]


# ------------------------------------------------------------------ --select


@pytest.fixture
def torrent(tmp_path: Path) -> geventbt.Torrent:
    """Files 0 to 4: a, b; "2024" in a folder; one with a comma; one with brackets."""
    folder = tmp_path / "set"
    for name in ("a.mkv", "b.txt", "c/2024", "d, e.txt", "[f].mkv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"data")
    made = geventbt.create_torrent(folder)
    order = ["/".join(file.path[1:]) for file in made.files]
    assert sorted(order) == order == ["[f].mkv", "a.mkv", "b.txt", "c/2024", "d, e.txt"]
    return made


@pytest.mark.parametrize(
    ("wanted", "indices"),
    [
        (["0"], [0]),
        (["1-3"], [1, 2, 3]),
        (["3-"], [3, 4]),
        (["4,0", "2"], [0, 2, 4]),
        (["*.mkv"], [0, 1]),
        (["*.mkv,2"], [0, 1, 2]),
        (["set/a.mkv"], [1]),
        (["a.mkv"], [1]),
        (["c"], [3]),
        (["c/"], [3]),
        (["*2024"], [3]),
        (["d, e.txt"], [4]),
        (["[f].mkv"], [0]),
        (["set"], [0, 1, 2, 3, 4]),
    ],
)
def test_files_are_selected_by_index_range_glob_and_path(
    torrent: geventbt.Torrent, wanted: list[str], indices: list[int]
) -> None:
    assert select_files(torrent, wanted) == indices


@pytest.mark.parametrize("wanted", ["5", "2-9", "3-2", "2024", "nothing", "*.iso", "", "/", "1,,2", "-1", "A.MKV"])
def test_what_selects_no_file_is_not_found_and_shows_the_files(torrent: geventbt.Torrent, wanted: str) -> None:
    with pytest.raises(CommandError, match="is not a file of the torrent; its files are:") as caught:
        select_files(torrent, [wanted])
    assert caught.value.code == 3
    assert [line.split(maxsplit=3)[::3] for line in caught.value.details][1:3] == [
        ["1", "set/a.mkv"],
        ["2", "set/b.txt"],
    ]


def test_of_many_files_some_are_shown_where_none_is_selected(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"{number:02}.bin").write_bytes(b"data")
    with pytest.raises(CommandError) as caught:
        select_files(geventbt.create_torrent(tmp_path), ["nothing"])
    assert len(caught.value.details) == 21
    assert caught.value.details[-1] == "and 30 more: geventbt download --list shows them"


# ------------------------------------------------------------------ the environment


def test_an_option_has_a_variable_that_is_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {
        "OUTPUT": "/downloads",
        "PEER": "a:1 [::1]:2",
        "MAX_PEERS": "7",
        "LIMIT_UP": "1M",
        "ENCRYPTION": "require",
        "QUIET": "1",
        "VERBOSE": "no",
    }.items():
        monkeypatch.setenv(f"GEVENTBT_{name}", text)
    arguments = parse("download", "x", "--max-peers", "8", "--peer", "b:3")
    assert arguments.output == "/downloads"
    assert arguments.peer == [("a", 1), ("::1", 2), ("b", 3)]
    assert (arguments.max_peers, arguments.limit_up, arguments.encryption) == (8, 1 << 20, "require")
    assert (arguments.quiet, arguments.verbose) == (True, False)


def test_the_folder_for_downloads_is_not_where_a_torrent_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEVENTBT_OUTPUT", "/downloads")
    assert parse("create", "x").output is None
    assert parse("cat", "x").output is None


@pytest.mark.parametrize("command", ["cat", "stream"])
def test_an_argument_that_may_be_left_out_can_stand_behind_options(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = parse(command, "x", "--peer", "a:1", "docs/*.pdf", "--no-dht")
    assert (arguments.source, arguments.file, arguments.peer) == ("x", "docs/*.pdf", [("a", 1)])
    assert parse(command, "x", "--peer", "a:1").file is None
    for words in (["x", "y", "--no-dht", "z"], ["x", "--no-dht", "y", "z"]):
        with pytest.raises(SystemExit):
            parse(command, *words)
        assert "one argument too many: z" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "text"), [("PORT", "x"), ("ENCRYPTION", "maybe"), ("JSON", "2"), ("PEER", "a:1 b")])
def test_a_variable_that_makes_no_sense_is_a_usage_error_that_names_it(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"GEVENTBT_{name}", text)
    with pytest.raises(SystemExit) as caught:
        run(["download", "x"])
    assert caught.value.code == 2
    assert f"environment variable GEVENTBT_{name}: " in capsys.readouterr().err


def test_a_variable_that_is_empty_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "OUTPUT", "PEER", "QUIET", "ENCRYPTION"):
        monkeypatch.setenv(f"GEVENTBT_{name}", "")
    arguments = parse("download", "x")
    assert (arguments.port, arguments.output, arguments.peer) == (0, ".", [])
    assert (arguments.quiet, arguments.encryption) == (False, "prefer")


def test_a_variable_of_another_command_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEVENTBT_PORT", "x")
    assert parse("create", "x").path == "x"


def test_debug_may_stand_before_and_behind_the_command() -> None:
    assert parse("--debug", "magnet", "x").debug
    assert parse("magnet", "x", "--debug").debug
    assert not parse("magnet", "x").debug


# ------------------------------------------------------------------ help and usage


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_says_what_each_option_does(command: str) -> None:
    assert [action.dest for action in actions_of(subparsers_of(make_parser())[command]) if not action.help] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_shows_an_example_that_can_be_parsed(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run([command, "--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    examples = re.split(r"\nexamples?:\n", shown)[1]
    found = re.findall(rf"geventbt {command}\b[^\n|>)]*", examples)
    assert found
    for example in found:
        parse(*shlex.split(example)[1:])


def test_the_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    from geventbt.cli import errors

    with pytest.raises(SystemExit):
        run(["--help"])
    told = {int(code) for code in re.findall(r"\b\d+\b(?= [a-z])", capsys.readouterr().out.partition("exit codes:")[2])}
    assert told == {value for name, value in vars(errors).items() if name.isupper()}


def usage_error(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that wrong usage is told in."""
    with pytest.raises(SystemExit) as caught:
        run(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert_one_line(error)
    return error


def test_wrong_usage_is_told_in_one_line_that_leads_to_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    error = usage_error("download", "x", "--limit-down", "fast", capsys=capsys)
    assert "argument --limit-down: 'fast' is not a rate" in error
    assert error.endswith("; see geventbt download --help\n")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ("download x --limit-d 1M", "there is no option --limit-d; did you mean --limit-down?"),
        ("download x --max-peer 5", "did you mean --max-peers?"),
        ("download x --dir y", "did you mean -o, --output?"),
        ("download --dir y x", "did you mean -o, --output?"),
        ("download -d y x", "did you mean -o, --output or --limit-down?"),
        ("download -O y x", "did you mean -o, --output?"),
        ("download --max-download-limit=1M x", "did you mean --limit-down?"),
        ("download x --max-overall-upload-limit 1M", "did you mean --limit-up?"),
        ("download x --bt-stop-timeout 60", "did you mean --stall-timeout?"),
        ("download x --select-file=1", "did you mean --select?"),
        ("download x -S", "did you mean --list?"),
        ("download x --output-folder y", "did you mean -o, --output?"),
        ("download x --only-files-matching-regex y", "did you mean --select?"),
        ("download x --ratelimit-download 5", "did you mean --limit-down?"),
        ("download x --initial-peers 1.2.3.4:5", "did you mean --peer?"),
        ("download x -w y", "did you mean -o, --output?"),
        ("download x --download-dir y", "did you mean -o, --output?"),
        ("download x --downlimit 500", "did you mean --limit-down?"),
        ("download x -u500", "did you mean --limit-up?"),
        ("download x -er", "did you mean --encryption?"),
        ("download x -f true", "did you mean --on-complete?"),
        ("create x --piecesize 1M", "did you mean --piece-length?"),
        ("create x --announce http://a/", "did you mean --tracker?"),
        ("seed x --uplimit 5", "did you mean --limit-up?"),
        ("download x --zzzzzzzz", "there is no option --zzzzzzzz; see geventbt download --help"),
        ("info x y", "one argument too many: y"),
        ("dwonload x", "there is no command 'dwonload'; did you mean download?"),
        ("get x", "did you mean download?"),
        ("share x", "did you mean seed?"),
        ("show x", "did you mean info?"),
        ("check x", "did you mean verify?"),
        ("mktorrent x", "did you mean create?"),
        ("ubuntu.torrent", "did you mean download SOURCE?"),
        ("magnet:?xt=urn:btih:x", "did you mean download SOURCE?"),
        ("--debug zzzz", "the commands are download, seed,"),
    ],
)
def test_an_unknown_option_or_command_leads_to_ours(
    arguments: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hint in usage_error(*arguments.split(), capsys=capsys)


def test_an_unknown_word_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["\x1b[2J"], ["download", "x", "--\x1b[2J"], ["info", "x", "\x1b[2J"]):
        assert "\x1b" not in usage_error(*arguments, capsys=capsys)


def test_an_option_that_the_command_does_not_have_is_not_suggested() -> None:
    assert option_hint("--dir", [["-x", "--zzz"]]) == ""
    assert option_hint("--dir", [["-x", "--zzz"], ["-o", "--output"]]) == "did you mean -o, --output?"


def test_sources_may_stand_behind_options() -> None:
    assert parse("download", "a", "-q", "b", "-o", "c", "d").source == ["a", "b", "d"]


@pytest.mark.parametrize("arguments", ["dance --json", "download x --json --port y", "download --json x --nothing"])
def test_wrong_usage_is_told_to_programs_as_well(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(arguments.split())
    assert caught.value.code == 2
    (error,) = json_lines(capsys.readouterr().out)
    assert (error["event"], error["code"]) == ("error", 2)


# ------------------------------------------------------------------ completion


def complete_in_bash(words: list[str], folder: Path) -> set[str]:
    """What bash would offer for the last of the words."""
    script = f"""eval "$({sys.executable} -m geventbt completion bash)"
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
        _geventbt; printf '%s\\n' "${{COMPREPLY[@]}}" """
    environment = {**os.environ, "PYTHONPATH": str(Path(geventbt.__file__).parent.parent)}
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=folder, env=environment)
    assert result.returncode == 0, result.stderr
    return set(result.stdout.split())


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash")
def test_bash_completes_commands_options_values_and_files(tmp_path: Path) -> None:
    (tmp_path / "ubuntu.torrent").touch()
    (tmp_path / "ubuntus").mkdir()
    seeding = {"--seed-time", "--seed-ratio"}
    assert complete_in_bash(["geventbt", "d"], tmp_path) == {"daemon", "download", "demo", "dht"}
    assert complete_in_bash(["geventbt", "--v"], tmp_path) == {"--version"}
    assert complete_in_bash(["geventbt", "download", "--se"], tmp_path) == {"--select", "--sequential", *seeding}
    assert complete_in_bash(["geventbt", "seed", "--encryption", "re"], tmp_path) == {"require"}
    assert complete_in_bash(["geventbt", "download", "ub"], tmp_path) == {"ubuntu.torrent", "ubuntus"}
    assert complete_in_bash(["geventbt", "download", "-o", "ub"], tmp_path) == {"ubuntu.torrent", "ubuntus"}
    assert complete_in_bash(["geventbt", "download", "--port", ""], tmp_path) == set()
    assert complete_in_bash(["geventbt", "completion", ""], tmp_path) == {"bash", "zsh", "fish"}
    assert complete_in_bash(["geventbt", "completion", "z"], tmp_path) == {"zsh"}
    assert complete_in_bash(["geventbt", "--debug", "verify", "--js"], tmp_path) == {"--json"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_knows_every_command_and_option(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    script = capsys.readouterr().out
    for name, command in subparsers_of(make_parser()).items():
        assert name in script
        for option in re.findall(r"--[a-z-]+", command.format_help().partition("example")[0]):
            assert (f"-l {option[2:]}" if shell == "fish" else option) in script
    assert script.count("'") % 2 == 0


@pytest.mark.parametrize(("shell", "check"), [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")])
def test_the_script_of_a_shell_is_well_formed(shell: str, check: str, capsys: pytest.CaptureFixture[str]) -> None:
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    run(["completion", shell])
    script = capsys.readouterr().out
    assert subprocess.run([shell, check, "/dev/stdin"], input=script, text=True, capture_output=True).stderr == ""


def test_a_shell_that_is_unknown_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        run(["completion", "cmd"])
    assert caught.value.code == 2


# ------------------------------------------------------------------ the start


def test_version_and_help_import_nothing_heavy() -> None:
    heavy = "gevent rich bitarray blinker cryptography ssl json socket subprocess tempfile logging random http.client"
    heavy += " dataclasses inspect difflib"
    code = (
        "import sys, geventbt.cli\n"
        "try: geventbt.cli.run(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        f"sys.exit(' '.join(name for name in '{heavy}'.split() if name in sys.modules) or 0)"
    )
    for arguments in (["--version"], ["--help"], ["download", "--help"]):
        result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert "geventbt" in result.stdout


def test_a_client_imports_nothing_that_few_downloads_need() -> None:
    code = (
        "import sys, geventbt\n"
        "geventbt.Client(None, dht=False, lsd=False).close()\n"
        "sys.exit(' '.join(name for name in 'statistics datetime email ssl'.split() if name in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("arguments", ["completion fish", f"magnet {'a' * 40}"])
def test_output_that_nobody_reads_is_no_error(arguments: str) -> None:
    command = f"{' '.join(COMMAND)} {arguments} | true; exit ${{PIPESTATUS[0]}}"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (result.stderr, result.returncode) == ("", 0)


@pytest.mark.parametrize("command", ["download", "seed", "cat"])
def test_the_transport_can_be_chosen(command):
    assert discovery_options(parse(command, "x.torrent", "--transport", "utp"))["transport"] == "utp"
    assert discovery_options(parse(command, "x.torrent"))["transport"] == "both"
