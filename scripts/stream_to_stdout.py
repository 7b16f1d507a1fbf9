"""Write one file of a torrent to standard output while it is being fetched; no other file is.

    python scripts/stream_to_stdout.py film.torrent film.mkv --peer 127.0.0.1:6881 | mpv -

The file is named by its path in the torrent, or by its index. A magnet link works in place of the .torrent file. Data
is kept in a temporary folder, which is removed at the end.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from contextlib import suppress

import gevent

import geventbt


def address(text: str) -> tuple[str, int]:
    """The (host, port) of "host:port", where an IPv6 host has its brackets."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


parser = argparse.ArgumentParser(description="Write one file of a torrent to standard output.")
parser.add_argument("torrent", help="a .torrent file or a magnet link")
parser.add_argument("file", nargs="?", default="0", help="its path in the torrent, or its index; the first by default")
parser.add_argument("--peer", action="append", default=[], type=address, metavar="host:port")
arguments = parser.parse_args()
gevent.signal_handler(signal.SIGINT, sys.exit, "interrupted")

wanted = int(arguments.file) if arguments.file.isdigit() else arguments.file
with tempfile.TemporaryDirectory() as folder, geventbt.Client(port=None) as client:
    try:
        torrent = client.add(arguments.torrent, folder, peers=arguments.peer, files=[wanted], fail_without_peers=True)
        # The reader of our output may stop early.
        with torrent.open(wanted) as file, suppress(BrokenPipeError):
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
    except (geventbt.GeventBTError, LookupError, OSError) as error:
        sys.exit(f"{arguments.torrent}: {error}")
