"""From a magnet link to a torrent: the metadata, fetched from peers some of which may lie (BEP 9)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import monotonic

import gevent
from gevent.event import AsyncResult
from gevent.pool import Pool

from geventbt import limits
from geventbt.client.context import Session
from geventbt.client.peers.known_peers import Candidates, Source
from geventbt.errors import GeventBTError, MagnetError, NoPeersError, WireTimeout
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.addresses import Address
from geventbt.peer_id import new_peer_id
from geventbt.wire.connect import connect
from geventbt.wire.transports.encryption import PREFER
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")


_LOOK_AGAIN = 0.1


def fetch_metadata(
    magnet: Magnet | str,
    *,
    peers: Iterable[Address] = (),
    timeout: float = limits.REQUEST_TIMEOUT,
    encryption: str = PREFER,
) -> Torrent:
    """Make a torrent of a magnet link: blocks until one peer has given the metadata, verified by the info hash.

    Args:
        magnet: the link; its own peers (x.pe) are asked as well.
        peers: (host, port) of peers to ask, `limits.METADATA_SOURCES` of them at a time.
        timeout: seconds for all of it.
        encryption: "prefer", "require" or "disable"; see `geventbt.connect`.

    Returns:
        The torrent, with the trackers of the link.

    Raises:
        MagnetError: the link is none, or has no info hash of version 1.
        NoPeersError: no peer gave the metadata.
        MetainfoError: the metadata is the right one, but no usable torrent.
        WireTimeout: it took too long.
    """
    if isinstance(magnet, str):
        magnet = Magnet.from_string(magnet)
    if magnet.info_hash is None:
        raise MagnetError("a link of version 2 only, which is not supported")
    addresses = list(dict.fromkeys([*peers, *magnet.peers]))
    metadata = _first_answer(magnet.info_hash, addresses, monotonic() + timeout, encryption)
    return Torrent.from_info(metadata, trackers=[[tracker] for tracker in magnet.trackers])


class MetadataSearch:
    """Fetches the metadata for a torrent of a client: from whatever peers become known, and from those that come.

    Args:
        info_hash: of the torrent.
        candidates: whom to ask.
        session: of the client.
        gives_up: asked now and then whether to go on, when nobody is left to ask.
        is_paused: asked now and then whether to leave all peers for the time being.
    """

    def __init__(
        self,
        info_hash: bytes,
        candidates: Candidates,
        session: Session,
        *,
        gives_up: Callable[[], bool],
        is_paused: Callable[[], bool],
    ) -> None:
        self._info_hash = info_hash
        self._candidates = candidates
        self._session = session
        self._gives_up = gives_up
        self._is_paused = is_paused
        self._answer: AsyncResult = AsyncResult()
        self._asking = Pool(limits.METADATA_SOURCES)
        self._inbound: set[Wire] = set()
        self._failure: Exception | None = None

    def run(self) -> bytes:
        """Block until the metadata is here.

        Raises:
            NoPeersError: it has given up.
        """
        try:
            while not self._answer.ready():
                self._look_on()
            metadata: bytes = self._answer.get()
            return metadata
        finally:
            self._leave_all()

    def _look_on(self) -> None:
        if self._is_paused():
            self._leave_all()
            self._answer.wait(_LOOK_AGAIN)
            return
        address = self._candidates.next(monotonic()) if self._asking.free_count() else None
        if address is not None:
            self._asking.spawn(self._ask, address)
        elif not self._answer.wait(_LOOK_AGAIN) and self._gives_up():
            failure = self._failure
            raise NoPeersError(f"no peer gave the metadata: {failure}" if failure else "no peers to ask")

    def _leave_all(self) -> None:
        self._asking.kill()
        for wire in list(self._inbound):
            wire.close(0)

    def _ask(self, address: Address) -> None:
        try:
            with self._session.gate.opening():
                pass
            deadline = monotonic() + limits.REQUEST_TIMEOUT
            session = self._session
            self._answer.set(_ask(address, self._info_hash, session.peer_id, deadline, session.encryption))
        except (GeventBTError, OSError) as error:
            _log.info("no metadata from %s:%s: %s", *address, error)
            self._failure = error
            self._candidates.failed(address, monotonic())
        finally:
            # Who gave it, or was not waited for, is connected to again at once, for the data; it may refuse that, not
            # having noticed that the first connection is over.
            self._candidates.released(address, monotonic(), worked=self._answer.ready())

    def accept(self, wire: Wire) -> None:
        """Ask a peer that has connected to us; blocks until it has answered. It is connected to later, for the data, if
        it says where it listens. Raises as `Wire.handshake` and `UtMetadata.fetch`."""
        if self._answer.ready() or self._is_paused() or len(self._inbound) >= limits.METADATA_SOURCES:
            wire.close(0)
            return
        self._inbound.add(wire)
        try:
            deadline = monotonic() + limits.REQUEST_TIMEOUT
            self._answer.set(_fetch(wire, self._info_hash, self._session.peer_id, deadline))
        finally:
            self._inbound.discard(wire)
            host, port = wire.remote_address[0], wire.peer_extended_handshake.get("p")
            self._candidates.add((host, port), Source.INBOUND, monotonic(), told_by=host)


def _first_answer(info_hash: bytes, addresses: list[Address], deadline: float, encryption: str) -> bytes:
    pool = Pool(limits.METADATA_SOURCES)
    failures: list[Exception] = []
    peer_id = new_peer_id()

    def ask(address: Address) -> bytes | None:
        try:
            return _ask(address, info_hash, peer_id, deadline, encryption)
        except (GeventBTError, OSError) as error:
            _log.info("no metadata from %s:%s: %s", *address, error)
            failures.append(error)
            return None

    try:
        for metadata in pool.imap_unordered(ask, addresses):
            if metadata is not None:
                answer: bytes = metadata
                return answer
    finally:
        pool.kill()
    if monotonic() >= deadline:
        raise WireTimeout("no peer gave the metadata in time")
    raise NoPeersError(f"no peer gave the metadata: {failures[-1]}" if failures else "no peers to ask for the metadata")


def _ask(address: Address, info_hash: bytes, peer_id: bytes, deadline: float, encryption: str) -> bytes:
    with gevent.Timeout(max(0.0, deadline - monotonic()), WireTimeout("the time for the metadata is over")):
        wire = connect(address, info_hash=info_hash, encryption=encryption)
        return _fetch(wire, info_hash, peer_id, deadline)


def _fetch(wire: Wire, info_hash: bytes, peer_id: bytes, deadline: float) -> bytes:
    """Take the metadata from a peer, and leave it."""
    try:
        wire.use(UtMetadata)
        wire.handshake(info_hash, peer_id)
        metadata: bytes = wire.ut_metadata.fetch(deadline - monotonic(), patience=limits.METADATA_PATIENCE)
        return metadata
    finally:
        wire.close(0)
