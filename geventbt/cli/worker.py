"""A worker of ``geventbt seed --workers N``: a process that serves a torrent on a port that others listen on, too.

It finds no peers and announces nothing. Its standard input is a line of JSON, the job (see `job_of`), and is then kept
open: its end is the order to stop, also where the process that has started the worker was killed. Once a second, and a
last time at the end, it writes a line of JSON: ``uploaded`` (bytes), ``upload_speed``, ``peers``.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import sys
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import geventbt
from geventbt.cli.backends import backend_of
from geventbt.cli.errors import DONE
from geventbt.cli.json_lines import forget_output
from geventbt.cli.messages import code_and_text
from geventbt.cli.text import printable, say

if TYPE_CHECKING:
    from gevent.event import Event

_LOOK, _REPORT = 0.05, 1.0
"""Seconds between two looks whether the data is checked, and between two reports."""
_SHARED = ("max_peers", "limit_up", "limit_down")
"""Options for all workers together."""


def job_of(arguments: argparse.Namespace, torrent: geventbt.Torrent, place: str, port: int) -> bytes:
    """What a worker needs to know, as a line.

    Args:
        arguments: of the command, as they hold for one worker; see `share_of`.
        torrent: the torrent.
        place: the folder of its data, or the URL of a store.
        port: the port.
    """
    options = {name: getattr(arguments, name) for name in ("host", "encryption", "super_seed", *_SHARED)}
    # It tells no tracker of itself.
    metainfo = b64encode(replace(torrent, trackers=()).to_bytes()).decode()
    return json.dumps({"torrent": metainfo, "place": place, "port": port, **options}).encode() + b"\n"


def share_of(arguments: argparse.Namespace) -> argparse.Namespace:
    """The options as they hold for each of the workers: an equal share of what is for all together."""
    share = argparse.Namespace(**vars(arguments))
    for name in _SHARED:
        value = getattr(arguments, name)
        setattr(share, name, None if value is None else -(-value // arguments.workers))
    if arguments.workers > 1:
        # Each is a seed beside others, though it does not see them.
        share.super_seed = bool(arguments.super_seed)
    return share


def seed_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of the client that seeds."""
    return {
        "host": arguments.host,
        "encryption": arguments.encryption,
        "upload_slots": None,
        "max_connections": arguments.max_peers,
        # All peers may come through a tunnel or proxy of this machine.
        "exempt_loopback": True,
    }


def add_to_seed(
    client: geventbt.Client, torrent: geventbt.Torrent, place: str, arguments: argparse.Namespace, **options: Any
) -> geventbt.ActiveTorrent:
    """Add the torrent to the client that seeds; see `geventbt.Client.add`."""
    return client.add(
        torrent,
        place,
        max_peers=arguments.max_peers,
        limit_down=arguments.limit_down,
        limit_up=arguments.limit_up,
        super_seeding=arguments.super_seed,
        storage=backend_of(place),
        seed_only=True,
        **options,
    )


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
    # The system could not tell which of them has a peer's uTP connection.
    with geventbt.Client(arguments.port, reuse_port=True, dht=False, lsd=False, transport="tcp", **options) as client:
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
