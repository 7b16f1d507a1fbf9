"""``geventbt cat``."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import ExitStack

import geventbt
from geventbt.cli import parsing
from geventbt.cli.errors import DONE, TIMED_OUT, USAGE, CommandError
from geventbt.cli.one_file import add_one_file, add_torrent, data_folder
from geventbt.cli.running import discovery_options, running_client
from geventbt.cli.sources import resolve_source
from geventbt.cli.views import NoView

_EXAMPLES = """
geventbt cat ubuntu.torrent docs/manual.pdf > manual.pdf
geventbt cat 'magnet:?xt=urn:btih:...' '*.mkv' --peer 127.0.0.1:6881 | mpv -
"""
_CHUNK = 1 << 20


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(
        commands,
        "cat",
        "write a file of a torrent to standard output while fetching it",
        _EXAMPLES,
        without_variables={"output"},
    )
    add_one_file(parser, "the first")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write a file of a torrent to standard output while it is being fetched."""
    _check_standard_output()
    source = resolve_source(arguments.source, arguments)
    with ExitStack() as stack:
        folder = stack.enter_context(data_folder(arguments))
        client = stack.enter_context(
            running_client(
                0, is_kept=bool(arguments.output), encryption=arguments.encryption, **discovery_options(arguments)
            )
        )
        torrent, index = add_torrent(client, source, folder, _first, NoView(), arguments)
        _copy(stack.enter_context(torrent.open(index)), arguments.stall_timeout)
    return DONE


def _check_standard_output() -> None:
    """Refuse a terminal, which would interpret control characters in an untrusted file."""
    if sys.stdout is None or sys.stdout.isatty():
        what = "closed" if sys.stdout is None else "a terminal"
        raise CommandError(USAGE, f"standard output is {what}; redirect it: geventbt cat ... > FILE, or | PROGRAM")


def _first(torrent: geventbt.Torrent) -> int:
    return next((index for index, file in enumerate(torrent.files) if file.stored), 0)


def _copy(file: geventbt.TorrentReader, timeout: float | None) -> None:
    """Write all of it, in a native thread, because the reader of the pipe may be slow."""
    import gevent

    target = sys.stdout.fileno()
    stalled = CommandError(TIMED_OUT, f"nothing received for {timeout or 0:g} seconds")
    while True:
        with gevent.Timeout(timeout, stalled):
            chunk = file.read1(_CHUNK)
        if not chunk:
            return
        error = gevent.get_hub().threadpool.apply(_write, (target, chunk))
        if error is not None:
            raise error


def _write(target: int, data: bytes) -> OSError | None:
    """Write all of it. The error is returned, because gevent would print one that a thread raises."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(target, view) :]
    except OSError as error:
        return error
    return None
