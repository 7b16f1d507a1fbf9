"""A small world for the tests of the client: torrents with their data, seeds, downloaders, and peers that misbehave."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
from gevent.server import StreamServer

import geventbt
from geventbt import ActiveTorrent, Client, Torrent, Wire
from geventbt.errors import GeventBTError
from geventbt.wire.server import PeerServer
from geventbt.wire.transports.tcp import TcpTransport
from tests.loopback.harness import eventually, remains

PIECE = 32768
Address = tuple[str, int]


class OddWire(Wire):
    """A wire of a misbehaving peer: it can also send bytes that no wire would."""

    def __init__(self, sock: Any) -> None:
        self.carrier = TcpTransport(sock)
        super().__init__(self.carrier, incoming=True)

    def send_raw(self, data: bytes) -> None:
        """Send these bytes as they are."""
        self.carrier.write(data)


Read = Callable[[int, int, int], bytes]
Behave = Callable[[OddWire, Read], Any]


class World:
    """Makes what a test needs, and ends all of it.

    Args:
        folder: where the data is: that of the torrents in "origin", each downloader's in a folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.origin = folder / "origin"
        self.clients: list[Client] = []
        self.servers: list[StreamServer] = []
        self._greenlets: list[gevent.Greenlet] = []
        self._data: dict[bytes, bytes] = {}

    def torrent(self, name: str = "data", *, piece_length: int = PIECE, **files: int) -> Torrent:
        """A torrent of files of these sizes; by default 32 pieces in three files, with borders inside pieces."""
        sizes = files or {"a": 400_001, "b": 13, "c": 600_000}
        source = random.Random(name)
        for file, size in sizes.items():
            path = self.origin / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source.randbytes(size))
        return self.made(geventbt.create_torrent(self.origin / name, piece_length=piece_length))

    def made(self, torrent: Torrent) -> Torrent:
        """Take note of a torrent whose data is in the origin."""
        files = [self.origin.joinpath(*file.path).read_bytes() for file in torrent.files]
        self._data[torrent.info_hash] = b"".join(files)
        return torrent

    def data(self, torrent: Torrent) -> bytes:
        """All bytes of a torrent."""
        return self._data[torrent.info_hash]

    def reader(self, torrent: Torrent) -> Read:
        """Reads blocks of the good data."""
        data, length_of_piece = self.data(torrent), torrent.geometry.piece_length

        def read(piece: int, offset: int, length: int) -> bytes:
            start = piece * length_of_piece + offset
            return data[start : start + length]

        return read

    # ------------------------------------------------------------------ clients

    def client(self, **options: Any) -> Client:
        """A client on a free port of loopback."""
        options.setdefault("port", 0)
        self.clients.append(Client(host="127.0.0.1", **options))
        return self.clients[-1]

    def seed(self, torrent: Torrent, **options: Any) -> Client:
        """A client that has all of a torrent."""
        options.setdefault("upload_slots", None)
        client = self.client(**options)
        assert client.add(torrent, self.origin, seed_only=True).wait(10)
        return client

    def seeds(self, torrent: Torrent, count: int) -> list[Address]:
        """The addresses of `count` seeds."""
        return [address(self.seed(torrent)) for _ in range(count)]

    def download(
        self,
        torrent: Torrent,
        peers: list[Address],
        *,
        folder: str = "out",
        client: Client | None = None,
        **options: Any,
    ) -> ActiveTorrent:
        """A download that has just begun."""
        return (client or self.client(port=None)).add(torrent, self.folder / folder, peers=peers, **options)

    # ------------------------------------------------------------------ peers of our own making

    def odd(self, torrent: Torrent, behave: Behave) -> Address:
        """A peer that says it has everything, and then does as the function says."""

        def handle(sock: Any, address: Any) -> None:
            with suppress(GeventBTError, OSError), OddWire(sock) as wire:
                wire.use(geventbt.LtDonthave)
                wire.handshake(torrent.info_hash, geventbt.new_peer_id(), geometry=torrent.geometry)
                wire.have_all()
                behave(wire, self.reader(torrent))

        server = StreamServer(("127.0.0.1", 0), handle)
        server.start()
        self.servers.append(server)
        return "127.0.0.1", server.server_port

    def listen(self, handler: Callable[[Wire], Any], **options: Any) -> Address:
        """A peer that does all by itself."""
        server: PeerServer = geventbt.listen(("127.0.0.1", 0), handler, **options)
        self.servers.append(server)
        return "127.0.0.1", server.server_port

    def visit(self, client: Client, torrent: Torrent, *, peer_id: bytes | None = None) -> Wire:
        """A peer that has connected to a client and shaken hands."""
        wire = geventbt.connect(address(client), info_hash=torrent.info_hash)
        wire.use(geventbt.UtMetadata)
        wire.handshake(torrent.info_hash, peer_id or geventbt.new_peer_id(), geometry=torrent.geometry)
        return wire

    def spawn(self, function: Callable[..., Any], *arguments: Any) -> gevent.Greenlet:
        """A greenlet that ends with the test at the latest."""
        self._greenlets.append(gevent.spawn(function, *arguments))
        return self._greenlets[-1]

    # ------------------------------------------------------------------ the end

    def assert_complete(self, torrent: Torrent, folder: str = "out") -> None:
        """Fail unless every file of a torrent is as it should be."""
        for file in torrent.files:
            if file.stored:
                there = self.folder.joinpath(folder, *file.path).read_bytes()
                assert there == self.origin.joinpath(*file.path).read_bytes(), file.path

    def end(self) -> None:
        """Stop everything."""
        gevent.killall(self._greenlets)
        gevent.joinall([gevent.spawn(client.close, 1) for client in self.clients])
        for server in self.servers:
            server.stop(timeout=0)


def address(client: Client) -> Address:
    """Where a client listens."""
    assert client.port is not None
    return "127.0.0.1", client.port


def done_soon(job: ActiveTorrent, seconds: float = 30) -> bool:
    """Wait for a download; a hang is a failure of the test, not of the test run."""
    return job.wait(seconds)


def hear(job: ActiveTorrent, *names: str) -> list[tuple[str, Any]]:
    """All signals of these names from now on, as (name, index or None)."""
    heard: list[tuple[str, Any]] = []
    for name in names:
        job.on(name, lambda torrent, name=name, **fields: heard.append((name, fields.get("index"))))
    return heard


def serve_well(wire: Wire, read: Read) -> None:
    """As an honest seed does."""
    wire.unchoke()
    wire.serve(read)


def stay_silent(wire: Wire, read: Read) -> None:
    """Unchoke, and never answer."""
    wire.unchoke()
    list(wire.incoming_requests())


__all__ = ["PIECE", "World", "address", "done_soon", "eventually", "hear", "remains", "serve_well", "stay_silent"]
