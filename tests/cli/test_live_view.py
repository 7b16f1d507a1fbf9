"""The live view in a real terminal, tmux, at several sizes and after resizes."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

from geventbt.cli.columns import Column, fitting, joined
from tests.cli_harness import COMMAND, seeding_process

SIZES = [(80, 24), (120, 40), (40, 10)]


class Tmux:
    """A window of a tmux server of its own, in which a shell runs a command."""

    def __init__(self, folder: Path, command: list[str], columns: int, rows: int) -> None:
        self._socket = str(folder / "tmux")
        self.size = (columns, rows)
        script = f"trap : INT; echo BEFORE; {shlex.join(command)}; echo exit=$?; exec sleep 1000"
        size = ["-x", str(columns), "-y", str(rows)]
        self._run("-f", "/dev/null", "new-session", "-d", *size, f"sh -c {shlex.quote(script)}")

    def _run(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "TMUX")}
        environment |= {"LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    def resize(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def press(self, key: str) -> None:
        self._run("send-keys", key)

    def screen(self) -> list[str]:
        """The lines that are seen."""
        return self._run("capture-pane", "-p").rstrip("\n").split("\n")

    def history(self) -> str:
        """All lines, with those that have left the window."""
        return self._run("capture-pane", "-p", "-S", "-")

    def flag(self, name: str) -> str:
        """A variable of tmux, such as whether the cursor is shown."""
        return self._run("display-message", "-p", f"#{{{name}}}").strip()

    def wait_for(self, condition: Callable[[list[str]], object]) -> list[str]:
        """The lines once they are so."""
        deadline = time.monotonic() + 30
        while not condition(lines := self.screen()):
            assert time.monotonic() < deadline, "\n".join(lines)
            time.sleep(0.05)
        return lines

    def close(self) -> None:
        self._run("kill-server")


@pytest.fixture
def window(torrent_file: Path, seeder_process: str, tmp_path: Path) -> Iterator[Callable[..., Tmux]]:
    """Opens a window with a slow download."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux here")
    opened: list[Tmux] = []

    def open_window(columns: int, rows: int, *options: str) -> Tmux:
        slowly = ["--limit-down", "20K", "-o", str(tmp_path / "out"), "--peer", seeder_process, *options]
        opened.append(Tmux(tmp_path, [*COMMAND, "download", str(torrent_file), *slowly], columns, rows))
        return opened[-1]

    yield open_window
    for tmux in opened:
        tmux.close()


@pytest.fixture
def seeder_process(torrent_file: Path, origin: Path) -> Iterator[str]:
    """The address of a seeder in a process of its own."""
    with seeding_process(torrent_file, origin) as (_, address):
        yield address


def is_drawn(lines: list[str]) -> bool:
    """Whether a frame of a running download with its table of peers is seen."""
    return any("down/s" in line for line in lines) and any(" KiB/s" in line for line in lines)


def is_drawn_anew(size: tuple[int, int]) -> Callable[[list[str]], bool]:
    """Whether a frame is seen whose first line, with its bar, is as wide as a window of this size."""
    # A window of 20 columns has no room for a bar.
    return lambda lines: (
        lines[0].startswith("shared ")
        and (size[0] == 20) == ("━" not in lines[0])
        and (size[0] == 20 or cell_len(lines[0]) == size[0] - 1)
    )


def assert_good(lines: list[str], size: tuple[int, int]) -> None:
    """One frame, and in it nothing that is cut."""
    columns, rows = size
    text = "\n".join(lines)
    assert sum(line.startswith("shared ") for line in lines) == 1, text
    assert len(lines) <= rows
    assert max(map(cell_len, lines)) < columns, text
    assert "…" not in text
    assert re.search(r"^[0-9.]+ KiB of 361\.4 KiB, [0-9.]+ (K|)i?B/s", text, re.MULTILINE), text
    assert len([line for line in lines if line.startswith("[")]) >= 1
    assert "█ here, blank missing" in text, text
    (title,) = [line for line in lines if "down/s" in line]
    (row,) = [line for line in lines if "127.0.0.1:" in line]
    assert cell_len(title) == cell_len(row), text


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_fits_the_window(window: Callable[..., Tmux], size: tuple[int, int]) -> None:
    tmux = window(*size, "-v")
    lines = tmux.wait_for(is_drawn)
    assert_good(lines, size)
    titles = next(line for line in lines if "down/s" in line).split()
    expected = ["client", "address", "flags", "down/s", "up/s", "pieces"]
    if size == (40, 10):
        assert "client" not in titles
        expected = [title for title in expected if title in titles]
    assert titles == expected


def test_frames_survive_resizes_and_leave_nothing_behind(window: Callable[..., Tmux]) -> None:
    tmux = window(120, 40, "-v")
    tmux.wait_for(is_drawn)
    for size in ((40, 10), (80, 24), (20, 6), (120, 40), (40, 10), (81, 25)):
        tmux.resize(*size)
        tmux.wait_for(is_drawn_anew(size))
        if size[0] >= 40:
            assert_good(tmux.wait_for(is_drawn), size)
    tmux.press("C-c")
    tmux.wait_for(lambda lines: "exit=130" in "\n".join(lines))
    assert (tmux.flag("cursor_flag"), tmux.flag("alternate_on")) == ("1", "0")
    shown = tmux.history().split()
    assert "━" not in tmux.history()
    assert shown[0] == "BEFORE"
    assert "interrupted:" in shown


def test_the_result_stays_on_the_terminal_and_the_view_does_not(window: Callable[..., Tmux]) -> None:
    tmux = window(80, 24, "--limit-down", "400K")
    lines = tmux.wait_for(lambda lines: "exit=0" in "\n".join(lines))
    assert lines[0] == "BEFORE"
    assert lines[1].startswith("shared: 361.4 KiB verified; 361.4 KiB from 1 peer at ")
    assert lines[2] == "exit=0"
    assert tmux.flag("cursor_flag") == "1"


def test_a_suspended_view_gives_the_terminal_back(window: Callable[..., Tmux]) -> None:
    tmux = window(80, 24, "-v")
    tmux.wait_for(is_drawn)
    tmux.press("C-z")
    tmux.wait_for(lambda lines: tmux.flag("cursor_flag") == "1")
    assert tmux.flag("alternate_on") == "0"


# ------------------------------------------------------------------ what fits


def test_columns_of_the_lowest_rank_go_first_and_none_is_cut() -> None:
    columns = [
        Column("client", ["a client", "b"], rank=1),
        Column("down/s", ["1.0 KiB", "100.0 KiB"], rank=3, is_number=True),
        Column("flags", ["D", "dE"], rank=2),
    ]
    assert fitting(columns, 100) == ["client       down/s  flags", "a client    1.0 KiB  D", "b         100.0 KiB  dE"]
    assert fitting(columns, 20) == ["   down/s  flags", "  1.0 KiB  D", "100.0 KiB  dE"]
    assert fitting(columns, 12) == ["   down/s", "  1.0 KiB", "100.0 KiB"]
    assert fitting(columns, 1) == ["   down/s", "  1.0 KiB", "100.0 KiB"]


def test_wide_characters_count_as_two() -> None:
    columns = [Column("client", ["日本語クライアント"], rank=1), Column("up/s", ["5 B"], rank=2)]
    assert len(fitting(columns, 24)[0].split()) == 2
    assert len(fitting(columns, 23)[0].split()) == 1


def test_parts_that_do_not_fit_are_left_out_whole() -> None:
    assert joined(["1.0 KiB of 2.0 KiB", "512 B/s", "2 s left"], 30) == "1.0 KiB of 2.0 KiB, 512 B/s"
    assert joined(["1.0 KiB of 2.0 KiB", "512 B/s"], 5) == "1.0 KiB of 2.0 KiB"
    assert joined([], 5) == ""
