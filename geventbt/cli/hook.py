"""``--on-complete COMMAND``: a command of the user's for each torrent that is complete."""

from __future__ import annotations

import os

import geventbt
from geventbt.cli.json_lines import emit
from geventbt.cli.text import printable, say


def run_on_complete(command: str, torrent: geventbt.ActiveTorrent, *, as_json: bool) -> None:
    """Run a command in a shell and wait for it; torrents go on meanwhile.

    The torrent's name is untrusted: it is in the environment, and not put into the command. What the command writes is
    shown on standard error when it has ended. A failure is reported, and does not make the download a failure.

    Args:
        command: as a shell reads it.
        torrent: the complete torrent.
        as_json: tell programs of the end.
    """
    from gevent import subprocess

    metainfo = torrent.wait_metadata()
    folder = os.path.abspath(torrent.folder)
    variables = {
        "TORRENT_NAME": metainfo.name,
        "TORRENT_FOLDER": folder,
        "TORRENT_PATH": os.path.join(folder, metainfo.name),
        "TORRENT_INFO_HASH": torrent.info_hash.hex(),
    }
    done = subprocess.run(
        command,
        shell=True,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    for line in done.stdout.decode(errors="replace").splitlines():
        say(printable(line))
    if as_json:
        emit("on_complete", info_hash=torrent.info_hash.hex(), code=done.returncode)
    elif done.returncode:
        say(f"geventbt: the command of --on-complete ended with exit code {done.returncode}")
