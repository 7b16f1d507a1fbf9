"""A worker of ``geventbt seed --workers N``: a process that serves a torrent on a port that others listen on, too.

It finds no peers and announces nothing. Its standard input is a line of JSON, see `geventbt.cli.workers.job_of`, and is
then kept open: its end is the order to stop, also where the process that has started the worker was killed. Once a
second, and a last time at the end, it writes a line of JSON: ``uploaded`` (bytes), ``upload_speed``, ``peers``.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from base64 import b64decode
from typing import TYPE_CHECKING

import geventbt
from geventbt.cli.errors import DONE
from geventbt.cli.json_lines import forget_output
from geventbt.cli.messages import code_and_text
from geventbt.cli.network import network_of
from geventbt.cli.seeding import add_to_seed, seed_options
from geventbt.cli.text import printable, say

if TYPE_CHECKING:
    from gevent.event import Event

_LOOK, _REPORT = 0.05, 1.0
"""Seconds between two looks whether the data is checked, and between two reports."""


def main() -> int:
    """Serve until standard input ends, or SIGTERM. Returns the exit code."""
    job = sys.stdin.buffer.readline()
    if not job.endswith(b"\n"):
        return DONE
    arguments = argparse.Namespace(**json.loads(job))
    # Without a handler Python would print every warning about a peer.
    logging.getLogger("geventbt").addHandler(logging.NullHandler())
    try:
        _serve(geventbt.Torrent.from_bytes(b64decode(arguments.torrent)), arguments)
    except Exception as error:
        known = code_and_text(error)
        if known is None:
            raise
        say(f"geventbt: a worker cannot serve: {printable(known[1])}")
        return known[0]
    return DONE


def _serve(torrent: geventbt.Torrent, arguments: argparse.Namespace) -> None:
    import gevent
    from gevent.event import Event

    ended = Event()
    gevent.signal_handler(signal.SIGTERM, ended.set)
    gevent.spawn(_wait_for_end, ended)
    options = seed_options(arguments)
    with geventbt.Client(
        arguments.port,
        reuse_port=True,
        dht=False,
        lsd=False,
        port_mapping=False,
        network=network_of(arguments),
        # The system could not tell which of them has a peer's uTP connection.
        transport="tcp",
        **options,
    ) as client:
        assert client.server is not None
        # Peers that the system gives to us meanwhile wait in its backlog; they would be refused.
        client.server.stop_accepting()
        active = add_to_seed(client, torrent, arguments.place, arguments)
        while not active.wait(_LOOK) and not ended.is_set():
            pass
        client.server.start_accepting()
        while not ended.wait(_REPORT):
            # Raises what has failed it.
            active.wait(0)
            _report(active)
    _report(active)


def _wait_for_end(ended: Event) -> None:
    """Set the event when standard input ends."""
    from gevent.os import make_nonblocking, nb_read

    descriptor = sys.stdin.fileno()
    make_nonblocking(descriptor)
    while nb_read(descriptor, 1):
        pass
    ended.set()


def _report(torrent: geventbt.ActiveTorrent) -> None:
    progress = torrent.progress
    speed = round(progress.upload_speed)
    figures = {"uploaded": progress.uploaded, "upload_speed": speed, "peers": progress.peers}
    try:
        print(json.dumps(figures), flush=True)
    except OSError:
        # Who has started this is gone.
        forget_output()
