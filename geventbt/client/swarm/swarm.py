"""The peers of one torrent, while it runs: who is connected to, who is unchoked, who is banned, and what they get."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Hashable
from time import monotonic
from typing import TYPE_CHECKING

import gevent
from bitarray import bitarray
from gevent.event import Event

from geventbt import limits
from geventbt.client.peers.finder import Finder
from geventbt.client.peers.known_peers import Candidates, Source
from geventbt.client.pieces.assembly import Assembly
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.block_cache import BlockReader
from geventbt.client.swarm.choker import Choker
from geventbt.client.swarm.uploads import Uploads
from geventbt.client.swarm.wire_peer import Peer
from geventbt.errors import GeventBTError, StorageError
from geventbt.extensions.lt_donthave import LtDonthave
from geventbt.extensions.upload_only import UploadOnly
from geventbt.extensions.ut_metadata import UtMetadata
from geventbt.extensions.ut_pex import UtPex
from geventbt.net.addresses import Address
from geventbt.protocol.ut_pex import SEED
from geventbt.rates.throttle import Throttle
from geventbt.rates.token_bucket import RateLimit
from geventbt.storage import Storage
from geventbt.wire.connect import connect
from geventbt.wire.wire import Wire

if TYPE_CHECKING:
    from geventbt.client.context import Session

_log = logging.getLogger("geventbt")

_MOST_TRUST, _LOST_TRUST = 8, 2
"""What good pieces can earn a peer, one each, and what a wrong one costs it (as in libtorrent)."""
_PARTING = 1.0
"""Seconds for a peer to read what we have sent it, when we leave."""
TICK = 1.0
"""Seconds between two looks at what is due."""
_THROTTLED_TICK = 0.05


class Swarm:
    """The peers of a torrent.

    Args:
        session: what all torrents of the client share.
        storage: the torrent's data, checked.
        picker: what is missing.
        candidates: whom to connect to.
        finder: is told of those that peers tell of.
        max_peers: connections at one time.
        up, down: the torrent's own rates.
        served, banned: see below; they outlive the swarm.
        on_verified: called with each piece that has come.
        on_failed: called with each piece whose hash was wrong.
        on_error: called when the disk fails.
        on_peer: called with a wire that was added (True) or has left (False).

    Attributes:
        peers: those that are connected.
        uploads: what they are given.
        downloaded, uploaded: bytes of blocks, in all.
        served: the bytes of verified pieces from each peer that we connected to, by its address.
        last_failure: why the last peer could not be had, or left.
        banned: the addresses of those that sent wrong data.
    """

    def __init__(
        self,
        session: Session,
        storage: Storage,
        picker: BlockPicker,
        candidates: Candidates,
        finder: Finder,
        *,
        max_peers: int,
        up: Throttle,
        down: RateLimit,
        served: dict[Address, int],
        banned: set[Address],
        on_verified: Callable[[int], None],
        on_failed: Callable[[int], None],
        on_error: Callable[[StorageError], None],
        on_peer: Callable[[Wire, bool], None],
    ) -> None:
        self._session = session
        self._storage = storage
        self._torrent = storage.torrent
        self._candidates = candidates
        self._finder = finder
        self._max_peers = max_peers
        self._on_verified = on_verified
        self._on_error = on_error
        self._on_peer = on_peer
        self.picker = picker
        self.geometry = self._torrent.geometry
        self.blocks_per_piece = self.geometry.blocks_per_piece
        self.assembly = Assembly(
            storage,
            picker,
            on_verified=self._note_verified,
            on_failed=on_failed,
            on_guilty=self._ban,
            spares=self._spares,
            on_forgiven=self._forgive,
            on_error=on_error,
            on_room=self.wake_idle,
        )
        self.peers: set[Peer] = set()
        self.served = served
        self.banned = banned
        self._finished_downloaded = self._finished_uploaded = self._finished_wasted = 0
        self.uploads = Uploads(
            self.peers, BlockReader(storage), Choker(session.upload_slots), up, lambda: self.seeding, on_error
        )
        self._pex_at = 0.0
        self._by_identity: dict[tuple[bytes | None, str], Peer] = {}
        self._by_address: dict[Address, Peer] = {}
        self._idle: set[Peer] = set()
        self._wake_due = False
        self._opening: dict[gevent.Greenlet, Address] = {}
        self._has_left_seeds = False
        self._news = Event()
        self._throttled = False
        self._greenlets: list[gevent.Greenlet] = []
        self._running = False
        self.down = down
        self.last_failure: Exception | None = None

    # ------------------------------------------------------------------ running

    def start(self) -> None:
        """Connect to peers, and take those that come."""
        self._running = True
        self._greenlets = [gevent.spawn(self._connect_to_candidates), gevent.spawn(self._run_ticks)]

    def stop(self, timeout: float) -> None:
        """Leave all peers; pieces that are complete are still verified and written, `timeout` seconds at the most."""
        self._running = False
        opening = dict(self._opening)
        gevent.killall([*self._greenlets, *opening])
        for address in opening.values():
            self._candidates.released(address, monotonic())
        gevent.joinall([gevent.spawn(peer.wire.close, min(timeout, _PARTING)) for peer in list(self.peers)])
        self.assembly.finish(timeout)

    @property
    def seeding(self) -> bool:
        """Whether there is nothing that we want."""
        return self.picker.done

    @property
    def have(self) -> bitarray:
        """The pieces that we have."""
        return self._storage.have

    @property
    def downloaded(self) -> int:
        return self._finished_downloaded + sum(peer.wire.downloaded for peer in self.peers)

    @property
    def uploaded(self) -> int:
        return self._finished_uploaded + sum(peer.wire.uploaded for peer in self.peers)

    @property
    def wasted(self) -> int:
        """Bytes that came twice, unasked or wrong."""
        return self.assembly.wasted + self._finished_wasted + sum(peer.wire.wasted for peer in self.peers)

    @property
    def connections(self) -> int:
        """How many peers are connected, or being connected to."""
        return len(self.peers) + len(self._opening)

    @property
    def broken(self) -> set[int]:
        """The pieces that are wanted and were wrong whoever sent them: nobody who is here is left to ask for them."""
        picker = self.picker
        return {piece for piece in self.assembly.failed if picker.priority(piece) and not picker.availability(piece)}

    @property
    def is_stuck(self) -> bool:
        """Whether all that is missing is broken, although there are peers, and there is nobody else to try now."""
        if not self.peers or self._opening or self.picker.missing > len(self.broken):
            return False
        now = monotonic()
        due = self._candidates.next_due(now)
        return due is None or due > now

    def is_alone(self, failures: int) -> bool:
        """Whether nobody is connected, and nobody is left to connect to."""
        return not self.peers and not self._opening and self._candidates.is_exhausted(failures)

    # ------------------------------------------------------------------ connecting

    def on_candidates(self) -> None:
        """There may be somebody to connect to."""
        self._news.set()

    def _connect_to_candidates(self) -> None:
        while True:
            self._news.clear()
            now = monotonic()
            address = self._candidates.next(now) if self._has_room() else None
            if address is not None:
                self._opening[gevent.spawn(self._open, address)] = address
                continue
            # Room may also be made by another torrent of the client, of which we hear nothing.
            due = self._candidates.next_due(now) if self._has_room() else now + TICK
            self._news.wait(None if due is None else max(TICK / 20, due - now))

    def _has_room(self) -> bool:
        return self.connections < self._max_peers and len(self._opening) < limits.HALF_OPEN and self._session.has_room()

    def _open(self, address: Address) -> None:
        """Connect to a candidate."""
        try:
            with self._session.gate.opening():
                wire = connect(address, info_hash=self._torrent.info_hash, encryption=self._session.encryption)
                try:
                    self._shake_hands(wire)
                except BaseException:
                    wire.close(0)
                    raise
        except (GeventBTError, OSError) as error:
            _log.info("no connection to %s:%s: %s", *address, error)
            self.last_failure = error
            if self._running:
                self._candidates.failed(address, monotonic())
            return
        finally:
            self._opening.pop(gevent.getcurrent(), None)
            self._news.set()
        self._candidates.connected(address)
        if not self._add(wire, address):
            self._note_parted(address, worked=False)

    def accept(self, wire: Wire) -> None:
        """Take a peer that has connected to us; its handshake is here."""
        if not self._running or self.connections >= self._max_peers or not self._session.has_room():
            wire.close(0)
            return
        try:
            self._shake_hands(wire)
        except BaseException:
            wire.close(0)
            raise
        self._add(wire, None)

    def _shake_hands(self, wire: Wire) -> None:
        torrent = self._torrent
        wire.use(lambda wire: UtMetadata(wire, torrent.info_bytes))
        wire.use(LtDonthave)
        wire.use(UploadOnly).announce(self.picker.done)
        if not torrent.private:
            wire.use(lambda wire: UtPex(wire, on_peers=self._on_pex))
        if self._session.port:
            wire.extended_handshake["p"] = self._session.port
        wire.handshake(torrent.info_hash, self._session.peer_id, geometry=torrent.geometry)

    def _add(self, wire: Wire, address: Address | None) -> bool:
        """Make a peer of a wire, unless we have it already, or want nothing to do with it."""
        assert wire.peer_id is not None
        if wire.closed or not self._running or self._candidates.is_banned(wire.remote_address, wire.peer_id):
            wire.close(0)
            return False
        twin = self._by_identity.get(_identity(wire))
        if twin is not None and not self._gives_way(twin, wire):
            wire.close(0)
            return False
        if twin is not None:
            twin.wire.close(0)
        peer = Peer(self, wire, address)
        self.peers.add(peer)
        self._by_identity[_identity(wire)] = peer
        if address is not None:
            self._by_address[address] = peer
            self.served.setdefault(address, 0)
        self._on_peer(wire, True)
        peer.start()
        return True

    def _gives_way(self, twin: Peer, wire: Wire) -> bool:
        """Whether a connection gives way to a second one with the same peer.

        When both sides have connected to each other at the same time, both must keep the same connection: the one that
        was opened by the lower peer id.
        """
        if twin.wire.type == wire.type:
            return False
        assert wire.peer_id is not None
        we_are_lower = self._session.peer_id < wire.peer_id
        return (wire.type == "outgoing") == we_are_lower

    def on_peer_closed(self, peer: Peer) -> None:
        """A peer has left."""
        if peer not in self.peers:
            return
        self.peers.discard(peer)
        self._idle.discard(peer)
        if self._by_identity.get(_identity(peer.wire)) is peer:
            del self._by_identity[_identity(peer.wire)]
        if peer.address is not None and self._by_address.get(peer.address) is peer:
            del self._by_address[peer.address]
        self._finished_downloaded += peer.wire.downloaded
        self._finished_uploaded += peer.wire.uploaded
        self._finished_wasted += peer.wire.wasted
        self.last_failure = peer.wire.close_reason or self.last_failure
        peer.stop_serving()
        self.uploads.on_closed(peer)
        if peer.address is not None:
            self._note_parted(peer.address, worked=peer.received > 0)
        self.wake_idle()
        self._news.set()
        self._on_peer(peer.wire, False)

    def _note_parted(self, address: Address, *, worked: bool) -> None:
        """A connection that we have opened is over: by the peer, unless we are about to stop."""
        if self._running:
            self._candidates.closed(address, monotonic(), worked=worked)
        else:
            self._candidates.released(address, monotonic())

    def on_extended_handshake(self, peer: Peer) -> None:
        """A peer has told of itself: also where it listens (BEP 10)."""
        port = peer.wire.peer_extended_handshake.get("p")
        host = peer.wire.remote_address[0]
        if peer.address is None and port:
            address = (host, port)
            if address in self._by_address:
                return
            if self._candidates.add(address, Source.INBOUND, monotonic(), told_by=host):
                peer.address = address
                self._by_address[address] = peer
                self._candidates.connected(address)

    def _on_pex(self, pex: UtPex, added: dict[Address, int], dropped: list[Address]) -> None:
        self._finder.add(added, Source.PEX, pex.wire.remote_address[0])

    def _tell_of_peers(self) -> None:
        """Tell each peer of the others that one can connect to (BEP 11)."""
        addresses = list(self._by_address)
        chosen = random.sample(addresses, min(len(addresses), limits.PEX_KNOWN))
        known = {address: SEED if self._by_address[address].wire.peer_has_all else 0 for address in chosen}
        for peer in self.peers:
            pex = peer.wire.ext.get("ut_pex")
            if isinstance(pex, UtPex) and pex.supported:
                pex.update(known)

    # ------------------------------------------------------------------ what peers are asked for

    def on_idle(self, peer: Peer) -> None:
        """There is nothing to ask a peer for at the moment."""
        self._idle.add(peer)
        if self.seeding and peer.wire.peer_has_all and not peer.wire.closed:
            # Two seeds have nothing to give to each other.
            self._has_left_seeds = True
            gevent.spawn(peer.wire.close, 0)

    @property
    def is_busy(self) -> bool:
        """Whether nobody is to be asked for anything: what has been asked for must come, or be verified, first."""
        return self.assembly.is_behind or self.picker.is_full

    def wake_idle(self) -> None:
        """Something may be there for idle peers to fetch."""
        if self._idle and not self._wake_due:
            self._wake_due = True
            gevent.get_hub().loop.run_callback(self._fill_idle)

    def _fill_idle(self) -> None:
        self._wake_due = False
        idle, self._idle = self._idle, set()
        while idle and not self.is_busy:
            idle.pop().fill()
        self._idle |= idle

    def on_wants(self) -> None:
        """What we want has changed."""
        for peer in list(self.peers):
            peer.update_interest()
        if self._has_left_seeds and not self.seeding:
            self._has_left_seeds = False
            self._candidates.retry_all(monotonic())
            self._news.set()
        self.wake_idle()

    def take_room(self, blocks: int) -> int:
        """How many of so many blocks the rate limits allow to ask for now."""
        self._throttled = any(limit.rate is not None for limit in (self.down, self._session.down))
        return self._session.take_down(self, self.down, blocks, monotonic()) if self._throttled else blocks

    def give_room_back(self, blocks: int) -> None:
        """Return what was not used of it."""
        if self._throttled and blocks:
            for limit in (self.down, self._session.down):
                limit.give_back(blocks * limits.BLOCK)

    def _note_verified(self, piece: int, senders: list[Hashable]) -> None:
        missing_at_end = len(senders) * limits.BLOCK - self.geometry.piece_size(piece)
        for sender in set(senders):
            assert isinstance(sender, Peer)
            share = senders.count(sender) * limits.BLOCK - (missing_at_end if sender is senders[-1] else 0)
            sender.trust = min(sender.trust + 1, _MOST_TRUST)
            if sender.address is not None:
                self.served[sender.address] = self.served.get(sender.address, 0) + share
        for peer in list(self.peers):
            wire = peer.wire
            if wire.closed:
                continue
            if not wire.peer_has(piece):
                wire.have(piece)
            if wire.am_interested:
                peer.update_interest()
        self._on_verified(piece)

    # ------------------------------------------------------------------ wrong data

    def _ban(self, guilty: set[Hashable]) -> None:
        for peer in guilty:
            assert isinstance(peer, Peer)
            # Where an inbound peer says that it listens, somebody else may: it is not banned for it.
            self._candidates.ban(peer.wire.remote_address, peer.wire.peer_id)
            self.banned.add(peer.wire.remote_address)
        for peer in list(self.peers):
            # It may be back already, on another connection than the one that it lied on.
            if self._candidates.is_banned(peer.wire.remote_address, peer.wire.peer_id):
                peer.wire.close(0)

    def _spares(self, sender: Hashable) -> bool:
        """Whether a peer that sent a wrong piece gets the benefit of the doubt, for the good ones that it gave before.

        It may be the torrent that is wrong, and the only seed that is left. When somebody else sends the piece right,
        there is no doubt.
        """
        assert isinstance(sender, Peer)
        sender.trust -= _LOST_TRUST
        return sender.trust >= 0

    def _forgive(self, forgiven: set[Hashable]) -> None:
        for peer in forgiven:
            assert isinstance(peer, Peer)
            self._candidates.unban(peer.wire.remote_address, peer.wire.peer_id)
            self.banned.discard(peer.wire.remote_address)
            if peer.address is not None:
                # Whoever told of it at first: we had connected to it.
                self._candidates.add(peer.address, Source.USER, monotonic())
        self._news.set()

    # ------------------------------------------------------------------ what is due

    def _run_ticks(self) -> None:
        next_tick = 0.0
        while True:
            now = monotonic()
            if self._throttled:
                self._fill_idle()
            if now >= next_tick:
                next_tick = now + TICK
                self._tick(now)
            gevent.sleep(_THROTTLED_TICK if self._throttled else TICK)

    def _tick(self, now: float) -> None:
        for peer in list(self.peers):
            peer.check_patience(now)
        self.uploads.tick(now)
        if now >= self._pex_at and not self._torrent.private:
            self._pex_at = now + limits.PEX_INTERVAL / 4
            self._tell_of_peers()
        self.wake_idle()


def _identity(wire: Wire) -> tuple[bytes | None, str]:
    """What two connections to the same peer have in common. An id alone says nothing: whoever knows a peer can use its
    id, and would, from anywhere, take its place."""
    return wire.peer_id, wire.remote_address[0]
