"""A small HTTP tracker in a thread, which is always to be had, and which remembers all that it was told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from geventbt import bencoding


class Announced(NamedTuple):
    """One announce, as it came."""

    peer_id: bytes
    port: int
    event: str
    left: int
    downloaded: int
    uploaded: int


class SmallTracker:
    """The peers of one torrent after another (BEP 3, 23, 48), all on 127.0.0.1.

    Attributes:
        url: for announces.
        announces: all of them, in their order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.announces: list[Announced] = []
        self._swarms: dict[bytes, dict[bytes, Announced]] = {}
        self._completed: dict[bytes, int] = {}

    def answer(self, path: str) -> dict[str, object]:
        """What to say to a request."""
        parts = urlsplit(path)
        query = {key: values[0] for key, values in parse_qs(parts.query, encoding="latin-1").items()}
        info_hash = query["info_hash"].encode("latin-1")
        swarm = self._swarms.setdefault(info_hash, {})
        if parts.path == "/scrape":
            seeders = sum(1 for peer in swarm.values() if not peer.left)
            completed = self._completed.get(info_hash, 0)
            counts = {"complete": seeders, "downloaded": completed, "incomplete": len(swarm) - seeders}
            return {"files": {info_hash: counts}}
        said = Announced(
            query["peer_id"].encode("latin-1"),
            int(query["port"]),
            query.get("event", ""),
            *(int(query[key]) for key in ("left", "downloaded", "uploaded")),
        )
        self.announces.append(said)
        others = [peer for peer in swarm.values() if peer.peer_id != said.peer_id]
        swarm[said.peer_id] = said
        if said.event == "stopped":
            del swarm[said.peer_id]
        if said.event == "completed":
            self._completed[info_hash] = self._completed.get(info_hash, 0) + 1
        home = socket.inet_aton("127.0.0.1")
        return {"interval": 1800, "peers": b"".join(home + peer.port.to_bytes(2, "big") for peer in others)}


@contextmanager
def running_small_tracker() -> Iterator[SmallTracker]:
    """A small tracker that listens until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = bencoding.encode(tracker.answer(self.path))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            # A peer that leaves does not always wait for the answer.
            with suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        tracker = SmallTracker(f"http://127.0.0.1:{server.server_port}/announce")
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield tracker
        finally:
            server.shutdown()
            thread.join()
