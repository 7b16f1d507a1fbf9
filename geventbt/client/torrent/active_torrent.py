"""`ActiveTorrent`: a torrent of a client, from the link or file to the last piece and on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from math import inf
from typing import TYPE_CHECKING, Any

from bitarray import bitarray
from bitarray.util import zeros

import geventbt
from geventbt.arguments import check_counts, check_flags, check_rates, several_tiers
from geventbt.client.rate_group import RateGroup
from geventbt.client.status import FileStatus, PeerStatus, Progress, TorrentState, WebSeedStatus
from geventbt.client.torrent.file_map import FileRef
from geventbt.client.torrent.file_reader import TorrentReader
from geventbt.client.torrent.runner import TorrentRunner
from geventbt.client.torrent.snapshots import availability_of, dht_of, files_of, peers_of, progress_of
from geventbt.client.torrent.totals import Elsewhere
from geventbt.client.torrent.whole_pieces import WholePieces
from geventbt.concurrency.shield import shielded
from geventbt.concurrency.threads import in_thread
from geventbt.discovery.source import SourceStatus
from geventbt.discovery.trackers.tracker_state import TrackerStatus
from geventbt.errors import WireTimeout
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import Address, NamedAddress, named_addresses
from geventbt.overloads import TypedAs
from geventbt.storage import Storage

if TYPE_CHECKING:
    from geventbt.client.torrent.signal_types import TorrentOn


_typed_as_on: TypedAs[TorrentOn] = TypedAs()


class ActiveTorrent:
    """A torrent that a client downloads and serves. Made by `Client.add`.

    Signals, each also ``torrent.on("name", fn)``, called ``fn(torrent, **fields)`` on a greenlet of the torrent:
    `piece_verified` (index), `piece_failed` (index), `piece_lost` (index), `file_complete` (index),
    `complete`, `peer_added` (wire), `peer_removed` (wire), `error` (error).

    Args:
        runner: runs it.
        remove: removes it from its client.
    """

    def __init__(self, runner: TorrentRunner, remove: Callable[[ActiveTorrent, bool], None]) -> None:
        self._runner = runner
        self._remove = remove
        self._links: dict[Callable[[ActiveTorrent], object], Callable[[object], object]] = {}
        runner.events.sender = self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {self.info_hash.hex()} {self.state}>"

    # ------------------------------------------------------------------ what it is

    @property
    def metainfo(self) -> Torrent | None:
        """The torrent; None while a magnet link's metadata is being fetched."""
        return self._runner.identity.metainfo

    @property
    def source(self) -> Torrent | Magnet:
        """The torrent or magnet link that it was added as."""
        return self._runner.identity.source

    @property
    def info_hash(self) -> bytes:
        """Its 20 bytes."""
        return self._runner.identity.info_hash

    @property
    def name(self) -> str:
        """The name of the torrent, or of the link."""
        return self._runner.name

    @property
    def folder(self) -> str | os.PathLike[str]:
        """The folder that its file or folder is in."""
        return self._runner.data.folder

    @property
    def storage(self) -> Storage | None:
        """Its data; None before it is known."""
        return self._runner.data.storage

    @property
    def error(self) -> Exception | None:
        """Why it failed, or None."""
        return self._runner.life.error

    @property
    def retry_in(self) -> float | None:
        """Seconds until a torrent that the disk has failed tries again by itself; None where it does not."""
        return self._runner.retry_in

    # ------------------------------------------------------------------ waiting

    def wait(self, timeout: float | None = None) -> bool:
        """Block until every piece that is wanted is verified and on the disk.

        Returns:
            False if it is not after `timeout` seconds.

        Raises:
            NoPeersError: no peer is left, and the torrent was added with `fail_without_peers`.
            StorageError: the disk failed.
            DownloadError: the torrent was removed.
        """
        self._runner.check_thread()
        return self._runner.life.wait(self._runner.life.done, timeout)

    def wait_metadata(self, timeout: float | None = None) -> Torrent:
        """Block until the metadata of a magnet link is here, and return it.

        Raises:
            WireTimeout: it is not after `timeout` seconds. All else: see `wait`.
        """
        self._runner.check_thread()
        if not self._runner.life.wait(self._runner.life.known, timeout):
            raise WireTimeout(f"no metadata for {self.name!r} within {timeout:g} s")
        assert self.metainfo is not None
        return self.metainfo

    def ready(self) -> bool:
        """See `done`; for `gevent.wait`."""
        return self.done

    def rawlink(self, callback: Callable[[ActiveTorrent], object]) -> None:
        """Call a function with the torrent, in the hub, once it is `done`; for `gevent.wait` and `gevent.iwait`."""
        self._runner.check_thread()
        self._links[callback] = lambda event: callback(self)
        self._runner.life.done.rawlink(self._links[callback])

    def unlink(self, callback: Callable[[ActiveTorrent], object]) -> None:
        """Undo `rawlink`."""
        link = self._links.pop(callback, None)
        if link is not None:
            self._runner.life.done.unlink(link)

    # ------------------------------------------------------------------ how far it is

    @property
    def done(self) -> bool:
        """Whether every piece that is wanted is verified and on the disk, or the torrent has failed."""
        return self._runner.life.done.is_set()

    @property
    def state(self) -> TorrentState:
        """What it is doing; equal to "metadata", "checking", "downloading", "seeding", "paused", "failed" or
        "removed"."""
        return self._runner.life.state

    @property
    def downloaded(self) -> int:
        """Bytes of blocks received in this session; as `progress`, and cheaper."""
        return self._runner.peering.totals.downloaded

    @property
    def uploaded(self) -> int:
        """Bytes of blocks sent in this session."""
        return self._runner.peering.totals.uploaded

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return progress_of(self._runner)

    def count_elsewhere(self, *, uploaded: int, upload_speed: float = 0.0, peers: int = 0) -> None:
        """Count what other processes do for this torrent, such as workers that serve it on the same port: it is added
        to `progress`, and trackers get the sum. Each call replaces what the last one said.

        Args:
            uploaded: bytes of blocks that they have sent.
            upload_speed: bytes a second that they send.
            peers: peers that are connected to them.
        """
        self._runner.check_thread()
        self._runner.peering.totals.elsewhere = Elsewhere(uploaded, upload_speed, peers)

    @property
    def peers(self) -> list[PeerStatus]:
        """The peers that are connected."""
        return peers_of(self._runner)

    @property
    def files(self) -> list[FileStatus]:
        """The files; none before the data on disk has been checked."""
        return files_of(self._runner)

    @property
    def pieces(self) -> bitarray:
        """A copy of which pieces are verified, big-endian; empty while the metadata is unknown."""
        return self.storage.have.copy() if self.storage else zeros(0, "big")

    @property
    def availability(self) -> list[int]:
        """How many of the connected peers have each piece; empty without a swarm."""
        return availability_of(self._runner)

    @property
    def tracker_tiers(self) -> list[list[str]]:
        """The announce URLs in use, in tiers (BEP 12)."""
        return [list(tier) for tier in self._runner.sources.tiers]

    @property
    def trackers(self) -> Mapping[str, TrackerStatus]:
        """The status of each tracker, or its last one, by its URL."""
        return self._runner.sources.trackers.status

    @property
    def sources(self) -> Mapping[str, SourceStatus]:
        """The state of all that names peers, by its name: the URL of a tracker, "dht", "lsd" (the local network) and
        "pex" (the other peers)."""
        return self._runner.sources.finder.status

    @property
    def web_seeds(self) -> list[WebSeedStatus]:
        """Each web seed; none before the metadata is known."""
        return list(self._runner.peering.web_seeds.status)

    @property
    def dht(self) -> geventbt.DHTSourceStatus | None:
        """How it goes with the torrent in the DHT; None if that is not used."""
        return dht_of(self._runner)

    @property
    def served(self) -> dict[Address, int]:
        """The bytes of verified pieces from each peer that we connected to."""
        return dict(self._runner.peering.reputation.served)

    @property
    def banned(self) -> set[Address]:
        """The addresses of peers that sent wrong data."""
        return set(self._runner.peering.reputation.banned)

    @property
    def broken(self) -> set[int]:
        """The pieces that are missing because they were wrong from every peer: the torrent seems to be wrong there.
        Each peer is asked for them once."""
        swarm = self._runner.peering.swarm
        return swarm.prospects.broken if swarm is not None else set()

    @_typed_as_on
    def on(self, name: str, handler: Callable[..., object]) -> Any:
        """Call ``handler(torrent, **fields)`` at every signal of that name. Returns the handler.

        Raises:
            LookupError: there is no such signal.
            TypeError: the handler is a coroutine function.
        """
        return self._runner.events.on(name, handler)

    # ------------------------------------------------------------------ control

    def add_peers(self, peers: Iterable[NamedAddress]) -> None:
        """Connect to these peers, too.

        Args:
            peers: (host, port) or "host:port" of each; blocks until names are resolved.

        Raises:
            ValueError: one is not a (host, port).
        """
        self._runner.check_thread()
        self._runner.sources.finder.add_by_user(named_addresses(peers, "peers"))

    def announce(self) -> None:
        """Ask trackers and all other sources for more peers, as soon as they allow it."""
        self._runner.check_thread()
        self._runner.sources.finder.need_more()

    def set_trackers(self, tiers: Iterable[Iterable[str]]) -> None:
        """Announce to these trackers from now on, in place of the torrent's own and those that it was added with.
        Blocks until the others are informed that we leave, for `limits.ANNOUNCE_STOP_TIMEOUT` at most.

        Args:
            tiers: announce URLs in tiers (BEP 12).
        """
        self._runner.check_thread()
        shielded(self._runner.sources.set_trackers, several_tiers(tiers, "tiers"))

    def pause(self) -> None:
        """Leave all peers and trackers until `resume`; what is there stays, and can be read. Blocks until the peers are
        left; trackers may take longer."""
        self._runner.check_thread()
        self._runner.peering.pause()

    def resume(self) -> None:
        """Go on after `pause`, with the peers that are known, or after the disk has failed the torrent: that is also
        tried now and then, where the fault may pass by itself."""
        self._runner.check_thread()
        shielded(self._runner.resume)

    def check(self) -> bitarray:
        """Hash all data on the disk again, also what is recorded as right. Blocks; all peers are left meanwhile.

        What is wrong is no longer announced and, unless the torrent only seeds, fetched again.

        Returns:
            A copy of the pieces that are right, big-endian.

        Raises:
            See `wait`.
        """
        self._runner.check_thread()
        self._runner.check()
        self._runner.life.raise_error()
        return self.pieces

    def remove(self, *, delete: bool = False) -> None:
        """Stop, and leave the client. Greenlets that wait or read get a DownloadError.

        Args:
            delete: delete the torrent's files, too; see `Storage.delete`. By default they stay.

        Raises:
            StorageError: they cannot be deleted. The torrent has left the client nevertheless.
        """
        self._runner.check_thread()
        self._remove(self, delete)

    def set_limits(self, *, down: int | None = None, up: int | None = None) -> None:
        """Set both of this torrent's own rates.

        Args:
            down, up: bytes a second; None, or left out, for no limit, 0 for nothing at all.
        """
        self._runner.check_thread()
        check_rates(down=down, up=up)
        self._runner.peering.set_limits(down, up)

    @property
    def rate_group(self) -> RateGroup | None:
        """The rates that it shares with other torrents, of `Client.rate_group`; None for those of the client alone. May
        be set at any time."""
        return self._runner.peering.rate_group

    @rate_group.setter
    def rate_group(self, group: RateGroup | None) -> None:
        self._runner.check_thread()
        self._runner.peering.rate_group = group

    @property
    def rate_weight(self) -> float:
        """Its share of the rates of its group, or of the client, in proportion to those of other torrents that want
        more: 1 at first; may be set at any time, to a number above 0."""
        return self._runner.peering.rate_weight

    @rate_weight.setter
    def rate_weight(self, weight: float) -> None:
        self._runner.check_thread()
        if not 0 < weight < inf:
            raise ValueError(f"a weight of {weight}: must be above 0, and finite")
        self._runner.peering.rate_weight = weight

    @property
    def max_peers(self) -> int:
        """Connections at one time; may be set at any time. Those that are too many are not closed."""
        return self._runner.peering.max_peers

    @max_peers.setter
    def max_peers(self, value: int) -> None:
        self._runner.check_thread()
        check_counts(max_peers=value)
        self._runner.peering.max_peers = value

    # ------------------------------------------------------------------ files

    def select(self, files: Collection[FileRef]) -> None:
        """Fetch these files and no others.

        Args:
            files: each by index, by path in the torrent, or as `TorrentFile`.
        """
        file_map = self._runner.known_files()
        self._runner.life.raise_error()
        shielded(lambda: self._runner.set_priorities(in_thread(file_map.only, files)))

    def set_priorities(self, priorities: Mapping[FileRef, int]) -> None:
        """Give files priorities: 0 not wanted, 1 to 7; 4 is normal. The order is strict.

        Raises:
            LookupError, ValueError: there is no such file or priority.
            StorageError: a file cannot be made, or one that is not ours has been put in its place. All is then as
                before; if something that was there is gone, it fails the torrent.
        """
        self._runner.known_files()
        self._runner.life.raise_error()
        shielded(self._runner.set_priorities, priorities)

    @property
    def sequential(self) -> bool:
        """Whether pieces are fetched in their order; may be set at any time."""
        return self._runner.peering.sequential

    @sequential.setter
    def sequential(self, value: bool) -> None:
        self._runner.check_thread()
        check_flags(sequential=value)
        self._runner.peering.sequential = value

    # ------------------------------------------------------------------ reading

    def open(self, file: FileRef = 0) -> TorrentReader:
        """Open a file for reading while it is being fetched.

        Blocks until the metadata is known. What is read is fetched first, and verified before it is given.

        Args:
            file: its index, its path in the torrent, or a `TorrentFile`.

        Returns:
            A buffered binary file with a `size`.

        Raises:
            LookupError: there is no such file. All else: see `wait`.
        """
        metainfo = self.wait_metadata()
        file_map = self._runner.known_files()
        self._runner.life.raise_error()
        return TorrentReader(self._runner.reads, metainfo.geometry, file_map.files[file_map.index_of(file)])

    def read_piece(self, index: int) -> bytes:
        """Read a piece; blocks until it is verified. It is fetched before all that no reader waits for.

        Args:
            index: of the piece, also of one that is not wanted otherwise.

        Raises:
            IndexError: there is no such piece. All else: see `wait`.
        """
        pieces = self.wait_metadata().geometry.pieces
        if not 0 <= index < pieces:
            raise IndexError(f"read piece {index}: the torrent has {pieces}")
        return self._whole_pieces().read(index)

    def iter_pieces(self) -> Iterator[tuple[int, bytes]]:
        """Iterate over the pieces in the order in which they are verified, first over those that are there already.

        Blocks for each; ends when every piece that is wanted has been yielded. Each piece is yielded once.

        Yields:
            The index and the bytes of a piece.

        Raises:
            See `wait`.
        """
        yield from self._whole_pieces()

    def _whole_pieces(self) -> WholePieces:
        geometry = self.wait_metadata().geometry
        self._runner.known_files()
        return WholePieces(self._runner.life, self._runner.data, self._runner.reads, geometry)
