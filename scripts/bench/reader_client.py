"""A seed or a reader, as a program for `scripts/bench_reader.py`.

    reader_client.py seed|geventbt|libtorrent TORRENT FOLDER HOST

It listens and prints a line of JSON. A reader then reads one: its session, with the peers to connect to as
(host, port), and prints how it went. It plays at a rate: for how long each byte that is late is late is counted, but
for the first half second behind the start and each seek; the clock of the player stands still meanwhile.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

PORT = 6881
CHUNK = 64 << 10
GRACE = 0.5


class File(Protocol):
    """What is read."""

    def missing(self, position: int, /) -> int:
        """The first position from there on that is not there yet."""

    def seek(self, position: int, /) -> object:
        """Read from another place."""

    def read(self, size: int, /) -> object:
        """Block until it is there."""


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def play(file: File, session: dict[str, Any], sleep: Callable[[float], object]) -> None:
    """Play for a while from the start and from each place, and print the waits."""
    firsts: list[float] = []
    stalled = 0.0
    for place in (0, *session["places"]):
        place = file.missing(place)
        began = time.monotonic()
        file.seek(place)
        file.read(CHUNK)
        firsts.append(time.monotonic() - began)
        due = time.monotonic()
        while (now := time.monotonic()) < began + session["plays"]:
            due += CHUNK / session["rate"]
            sleep(max(0.0, due - now))
            file.read(CHUNK)
            late = time.monotonic() - due
            if late > CHUNK / session["rate"]:
                stalled += late if due > began + GRACE else 0.0
                due += late
    say(first=firsts[0], seeks=firsts[1:], stalled=stalled)


def run_geventbt(role: str, torrent: str, folder: str, host: str) -> None:
    import gevent
    from gevent.fileobject import FileObject

    import geventbt

    lines = FileObject(sys.stdin, "rb", close=False)
    options: Any = {"upload_slots": None} if role == "seed" else {}
    with geventbt.Client(PORT, host=host, encryption="disable", dht=False, lsd=False, **options) as client:
        active = client.add(torrent, folder)
        while active.state == geventbt.TorrentState.CHECKING:
            active.wait(0.02)
        say(ready=True)
        session = json.loads(lines.readline())
        if session:
            active.add_peers([tuple(peer) for peer in session["peers"]])
            gevent.sleep(session["starts"])
            play(OurFile(active), session, gevent.sleep)


class OurFile:
    """Reads with `torrent.open`.

    Args:
        torrent: an `ActiveTorrent` of one file.
    """

    def __init__(self, torrent: Any) -> None:
        self._torrent = torrent
        self._file = torrent.open(0)

    def missing(self, position: int) -> int:
        piece_length: int = self._torrent.metainfo.geometry.piece_length
        first = position // piece_length
        return max(first, int(self._torrent.pieces.find(0, first))) * piece_length

    def seek(self, position: int) -> None:
        self._file.seek(position)

    def read(self, size: int) -> None:
        self._file.read(size)


class DeadlineFile:
    """Reads with the deadlines of pieces of libtorrent, as far ahead as we do.

    Args:
        handle: the torrent.
        piece_length: of its pieces.
        rate: bytes a second that are read.
    """

    def __init__(self, handle: Any, piece_length: int, rate: float) -> None:
        self._handle = handle
        self._piece_length = piece_length
        self._rate = rate
        self._position = 0
        self._asked = 0

    def missing(self, position: int) -> int:
        first = position // self._piece_length
        pieces = range(first, self._handle.torrent_file().num_pieces())
        return next((piece for piece in pieces if not self._handle.have_piece(piece)), first) * self._piece_length

    def seek(self, position: int) -> None:
        self._handle.clear_piece_deadlines()
        self._position = position
        self._asked = position // self._piece_length

    def read(self, size: int) -> None:
        pieces = self._handle.torrent_file().num_pieces()
        ahead = min(pieces, (self._position + (16 << 20)) // self._piece_length)
        for piece in range(self._asked, ahead):
            due = (piece * self._piece_length - self._position) / self._rate
            self._handle.set_piece_deadline(piece, max(0, int(due * 1000)))
        self._asked = max(self._asked, ahead)
        first, last = self._position // self._piece_length, (self._position + size - 1) // self._piece_length
        while not all(self._handle.have_piece(piece) for piece in range(first, min(last + 1, pieces))):
            time.sleep(0.005)
        self._position += size


def run_libtorrent(torrent: str, folder: str, host: str) -> None:
    import libtorrent as lt

    from bench.libtorrent_client import COMMON

    settings: Any = {
        **COMMON,
        "listen_interfaces": f"{host}:{PORT}",
        "in_enc_policy": int(lt.enc_policy.disabled),
        "out_enc_policy": int(lt.enc_policy.disabled),
    }
    session: Any = lt.session(settings)
    parameters = lt.add_torrent_params()
    parameters.ti = lt.torrent_info(torrent)
    parameters.save_path = folder
    parameters.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    handle = session.add_torrent(parameters)
    say(ready=True)
    wanted = json.loads(sys.stdin.readline())
    for peer_host, peer_port in wanted["peers"]:
        handle.connect_peer((peer_host, peer_port))
    time.sleep(wanted["starts"])
    play(DeadlineFile(handle, parameters.ti.piece_length(), wanted["rate"]), wanted, time.sleep)
    sys.stdin.readline()


if __name__ == "__main__":
    role, torrent, folder, host = sys.argv[1:]
    if role == "libtorrent":
        run_libtorrent(torrent, folder, host)
    else:
        run_geventbt(role, torrent, folder, host)
