"""``geventbt download``."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path
from time import monotonic

import geventbt
from geventbt.cli.errors import DONE
from geventbt.cli.interrupt import interruptible
from geventbt.cli.progress import make_view
from geventbt.cli.text import human_size, printable

_REFRESH = 0.1


def run(arguments: argparse.Namespace) -> int:
    """Fetch a torrent from the given peers, and from those that trackers and peers tell of."""
    started = monotonic()
    with geventbt.Client(encryption=arguments.encryption) as client:
        torrent = client.add(
            arguments.torrent,
            arguments.output,
            peers=arguments.peer,
            trackers=arguments.tracker,
            ends_alone=True,
        )
        follow(torrent, quiet=arguments.quiet)
        seconds = monotonic() - started
        if arguments.save_torrent:
            Path(arguments.save_torrent).write_bytes(torrent.wait_metadata().to_bytes())
        progress, served = torrent.progress, torrent.served
    fetched = sum(served.values())
    sources = sum(1 for count in served.values() if count)
    print(
        f"{printable(torrent.name)}: {human_size(progress.done)} verified; "
        f"{human_size(fetched)} from {sources} peers at {human_size(fetched / max(seconds, 1e-6))}/s"
    )
    return DONE


def follow(torrent: geventbt.ActiveTorrent, *, quiet: bool) -> None:
    """Show the progress of a torrent until it is complete. Raises as `ActiveTorrent.wait`."""
    with closing(make_view(quiet)) as view, interruptible():
        while not torrent.wait(_REFRESH):
            view.update(torrent)
        view.update(torrent)
