"""From a magnet link to a torrent: the metadata, fetched from peers some of which may lie (BEP 9)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from time import monotonic
from typing import TypeAlias

import gevent
from gevent.event import AsyncResult
from gevent.pool import Pool

from geventbt import limits
from geventbt.client.candidates import Candidates
from geventbt.client.session import Session
from geventbt.errors import GeventBTError, MagnetError, NoPeersError, WireTimeout
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.metainfo import Magnet, Torrent
from geventbt.peer_id import new_peer_id
from geventbt.wire.connect import connect
from geventbt.wire.opening import PREFER

_log = logging.getLogger("geventbt")

Address: TypeAlias = tuple[str, int]

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


def fetch_metadata_from(
    info_hash: bytes,
    candidates: Candidates,
    session: Session,
    *,
    gives_up: Callable[[], bool],
    is_paused: Callable[[], bool],
) -> bytes:
    """Fetch the metadata for a torrent of a client, from whatever peers become known; blocks until it is here.

    Args:
        info_hash: of the torrent.
        candidates: whom to ask.
        session: of the client.
        gives_up: asked now and then whether to go on, when nobody is left to ask.
        is_paused: asked now and then whether to leave all peers for the time being.

    Raises:
        NoPeersError: it has given up.
    """
    answer: AsyncResult = AsyncResult()
    pool = Pool(limits.METADATA_SOURCES)
    failures: list[Exception] = []

    def ask(address: Address) -> None:
        try:
            with session.gate.opening():
                pass
            deadline = monotonic() + limits.REQUEST_TIMEOUT
            answer.set(_ask(address, info_hash, session.peer_id, deadline, session.encryption))
        except (GeventBTError, OSError) as error:
            _log.info("no metadata from %s:%s: %s", *address, error)
            failures.append(error)
            candidates.failed(address, monotonic())
        finally:
            # Who gave it, or was not waited for, is connected to again at once, for the data.
            candidates.released(address, monotonic())

    try:
        while not answer.ready():
            if is_paused():
                pool.kill()
                answer.wait(_LOOK_AGAIN)
                continue
            address = candidates.next(monotonic()) if pool.free_count() else None
            if address is not None:
                pool.spawn(ask, address)
            elif not answer.wait(_LOOK_AGAIN) and gives_up():
                raise NoPeersError(f"no peer gave the metadata: {failures[-1]}" if failures else "no peers to ask")
        metadata: bytes = answer.get()
        return metadata
    finally:
        pool.kill()


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
        try:
            wire.use(UtMetadata)
            wire.handshake(info_hash, peer_id)
            metadata: bytes = wire.ut_metadata.fetch(timeout=deadline - monotonic())
            return metadata
        finally:
            wire.close(0)
