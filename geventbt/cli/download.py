"""``geventbt download``."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import monotonic

import geventbt
from geventbt.cli.errors import DONE
from geventbt.cli.interrupt import interruptible
from geventbt.cli.progress import make_view
from geventbt.cli.text import human_size, printable

_REFRESH = 0.1


def run(arguments: argparse.Namespace) -> int:
    """Fetch a torrent from the given peers."""
    torrent, peers = _find(arguments.torrent, arguments.peer, arguments.encryption)
    if arguments.save_torrent:
        Path(arguments.save_torrent).write_bytes(torrent.to_bytes())
    job, seconds = fetch(torrent, arguments.output, peers, arguments.encryption, quiet=arguments.quiet)
    fetched = sum(job.served.values())
    sources = sum(1 for count in job.served.values() if count)
    print(
        f"{printable(torrent.name)}: {human_size(torrent.geometry.length)} verified; "
        f"{human_size(fetched)} from {sources} peers at {human_size(fetched / max(seconds, 1e-6))}/s"
    )
    return DONE


def _find(source: str, peers: list[tuple[str, int]], encryption: str) -> tuple[geventbt.Torrent, list[tuple[str, int]]]:
    """The torrent that a file, or the peers behind a magnet link, describe; and the peers to fetch it from."""
    if not source.lower().startswith("magnet:"):
        return geventbt.Torrent.from_file(source), peers
    magnet = geventbt.Magnet.from_string(source)
    with interruptible():
        return geventbt.fetch_metadata(magnet, peers=peers, encryption=encryption), [*peers, *magnet.peers]


def fetch(
    torrent: geventbt.Torrent, folder: str, peers: list[tuple[str, int]], encryption: str, *, quiet: bool
) -> tuple[geventbt.Download, float]:
    """Download with a view on the progress.

    Returns the finished download and the seconds that it took. Raises as `geventbt.download`.
    """
    job = geventbt.Download(torrent, folder, peers, encryption=encryption)
    view = make_view(quiet)
    started = monotonic()
    job.start()
    try:
        with interruptible():
            while not job.wait(_REFRESH):
                view.update(job)
        seconds = monotonic() - started
        view.update(job)
    finally:
        view.close()
        job.close()
    return job, seconds
