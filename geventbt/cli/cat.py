"""``geventbt cat``."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack

import geventbt
from geventbt.cli.errors import DONE
from geventbt.cli.interrupt import interruptible

_CHUNK = 1 << 20


def run(arguments: argparse.Namespace) -> int:
    """Write a file of a torrent to standard output while it is being fetched."""
    with ExitStack() as stack:
        folder = arguments.output or stack.enter_context(tempfile.TemporaryDirectory(prefix="geventbt-cat-"))
        client = stack.enter_context(geventbt.Client(encryption=arguments.encryption))
        torrent = client.add(
            arguments.torrent,
            folder,
            peers=arguments.peer,
            trackers=arguments.tracker,
            files=None if arguments.file is None else [arguments.file],
            ends_alone=True,
        )
        with interruptible():
            _copy(stack.enter_context(torrent.open(arguments.file or 0)))
    return DONE


def _copy(file: geventbt.TorrentReader) -> None:
    """Write all of it; whoever reads our output may stop at any time."""
    try:
        while chunk := file.read(_CHUNK):
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Or the interpreter would try to flush it again at its end, and complain.
        sys.stdout = None
