"""A connected peer of a torrent: what is requested from it, and what it is given."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Protocol

import gevent
from bitarray import bitarray

from geventbt.client.peers.eviction import Place
from geventbt.client.status import PeerStatus
from geventbt.client.swarm.choker import PeerView
from geventbt.client.swarm.endgame import Endgame
from geventbt.client.swarm.out_of_turn import OutOfTurn
from geventbt.client.swarm.peer_requests import PeerRequests
from geventbt.client.swarm.scheduler import SourceOwner
from geventbt.client.swarm.uploads import UploadPeer, Uploads
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import GeventBTError, LocalProtocolError, WireClosed
from geventbt.extensions.upload_only import UploadOnly
from geventbt.net.addresses import Address, address_text
from geventbt.net.tcp_path import TcpPath
from geventbt.peer_id import client_name
from geventbt.protocol import constants as c
from geventbt.protocol.connection import Event, RequestKey
from geventbt.wire.requests import WireDelegate
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

_BITFIELDS = (c.BITFIELD, c.HAVE_ALL, c.HAVE_NONE)


class PeerOwner(SourceOwner, Protocol):
    """The swarm, as its peers see it."""

    @property
    def have(self) -> bitarray:
        """The pieces that we have."""

    @property
    def endgame(self) -> Endgame:
        """Has peers that run dry take over from slow ones."""

    @property
    def uploads(self) -> Uploads:
        """Gives slots and blocks."""

    @property
    def upload_peers(self) -> Collection[WirePeer]:
        """The peers that are connected."""

    def on_extended_handshake(self, peer: WirePeer) -> None:
        """The extended handshake of a peer is here (BEP 10)."""

    def on_dht_port(self, peer: WirePeer, port: int) -> None:
        """A peer says the UDP port of its node of the DHT (BEP 5)."""

    def on_useless(self, peer: WirePeer) -> None:
        """Neither side has anything for the other: both have everything that they want."""

    def on_peer_closed(self, peer: WirePeer) -> None:
        """A peer has left."""


class WirePeer(WireDelegate):
    """A peer behind a wire: a `BlockSource` and an `UploadPeer`.

    It acts from within the hub: no greenlet stands behind it, but one while it is being served.

    Args:
        owner: the swarm that it belongs to.
        wire: its connection, after the handshake.
        address: where it listens, if that is known.

    Attributes:
        wire: its connection.
        address: where it listens, or None.
        received: bytes of blocks that it sent when asked.
        trust: credit for good pieces that it had a part in, less what wrong ones have cost it.
    """

    def __init__(self, owner: PeerOwner, wire: Wire, address: Address | None) -> None:
        self.wire = wire
        self.address = address
        self.received = 0
        self.trust = 0
        self._owner = owner
        self._picker = owner.picker
        self._scheduler = owner.scheduler
        self._dealer = owner.uploads.dealer
        self._requests = PeerRequests(self, owner, owner.endgame)
        self._has_news = False
        self._has_bitfield = False
        self._was_interested = False
        self._server: gevent.Greenlet | None = None
        self._exchanged = 0
        self._exchanged_at = monotonic()

    def __repr__(self) -> str:
        return address_text(self.wire.remote_address)

    # ------------------------------------------------------------------ start and end

    def start(self) -> None:
        """Follow the wire, and send what we have; what the peer has sent already is taken into account."""
        wire = self.wire
        self._picker.add_peer(self, wire.peer_pieces)
        wire.attach(self)
        self._send_pieces()
        if wire.peer_extended_handshake:
            self._owner.on_extended_handshake(self)
        if wire.has_unanswered_requests:
            self._serve_soon()
        self._note_interest()
        # Interest that was sent with the handshake stands until the peer has said what it has.
        if wire.peer_has_announced or not wire.am_interested:
            self.update_interest()
        self.fill()

    def _send_pieces(self) -> None:
        wire, have = self.wire, self._owner.have
        if wire.am_interested:
            # An empty bitfield was sent with the handshake.
            for piece in have.search(1):
                wire.have(piece)
            return
        if not wire.extended_handshake.get("upload_only") and self._dealer.hides_from(self, self._owner.upload_peers):
            if wire.has_fast:
                wire.have_none()
            self._dealer.greet(self)
        elif wire.has_fast and have.all():
            wire.have_all()
        elif wire.has_fast and not have.any():
            wire.have_none()
        elif have.any():
            wire.bitfield(have)

    def on_closed(self) -> None:
        """The wire is closed."""
        self._picker.remove_peer(self)
        self._owner.on_peer_closed(self)

    def convict(self, piece: int) -> None:
        """Leave the peer: it has sent wrong data."""
        self.close()

    def close(self) -> None:
        """Leave the peer at once."""
        self.wire.close(0)

    def announce_lost(self, piece: int) -> None:
        """Announce that we no longer have a piece, if the peer understands that; requests for it are rejected."""
        with suppress(LocalProtocolError, WireClosed):
            self.wire.lt_donthave.donthave(piece)

    # ------------------------------------------------------------------ state

    @property
    def remote_address(self) -> Address:
        """The (host, port) of its end of the connection."""
        return self.wire.remote_address

    @property
    def peer_id(self) -> bytes | None:
        """Its 20 bytes."""
        return self.wire.peer_id

    @property
    def closed(self) -> bool:
        """Whether it has left."""
        return self.wire.closed

    @property
    def has_all(self) -> bool:
        """Whether it has every piece."""
        return self.wire.peer_has_all

    def has(self, piece: int) -> bool:
        """Whether it has a piece."""
        return self.wire.peer_has(piece)

    # ------------------------------------------------------------------ messages

    def on_blocks(self, blocks: list[Event]) -> None:
        self._requests.on_blocks(blocks)

    def on_late_block(self, event: Event) -> None:
        self._requests.on_late_block(event)

    def on_bytes(self, now: float) -> None:
        self._requests.on_bytes(now)

    def on_request_failed(self, key: RequestKey, error: Exception) -> None:
        self._requests.on_failed(key, error)

    def on_message(self, event: Event) -> None:
        kind = event[0]
        if kind == c.HAVE:
            if not self._has_bitfield:
                self._picker.peer_has(self, event[1])
                self._dealer.on_have(self, event[1])
            self._has_news = True
        elif kind in _BITFIELDS:
            self._has_bitfield = self._has_news = True
        elif kind in (c.CHOKE, c.UNCHOKE, c.INTERESTED, c.UNINTERESTED):
            self._has_news = True
        elif kind == c.EXTENDED and event[1] == c.EXTENDED_HANDSHAKE:
            self._owner.on_extended_handshake(self)
        elif kind == c.PORT:
            self._owner.on_dht_port(self, event[1])

    def on_piece_lost(self, piece: int) -> None:
        self._take_bitfield()
        self._picker.peer_lost(self, piece)
        self.update_interest()
        self.fill()

    def on_batch(self, count: int, now: float) -> None:
        if self.wire.has_unanswered_requests:
            self._serve_soon()
        self.received += count
        has_news = self._has_news
        if has_news:
            self._take_news()
        self._requests.on_batch(count, now, has_news=has_news)

    def _take_bitfield(self) -> None:
        """Take over all that the peer says it has, once for all bitfields that were read together."""
        if self._has_bitfield:
            self._has_bitfield = False
            self._picker.set_peer_pieces(self, self.wire.peer_pieces)
            self._dealer.on_pieces(self)

    def _take_news(self) -> None:
        """Act on messages once for all that were read together: a peer that says one thing and its contrary all the
        time would keep us busy with nothing else."""
        self._has_news = False
        has_bitfield = self._has_bitfield
        self._take_bitfield()
        self._note_interest()
        if has_bitfield or self._picker.done or not self.wire.am_interested:
            self.update_interest()

    def _note_interest(self) -> None:
        if self.wire.peer_interested != self._was_interested:
            self._was_interested = self.wire.peer_interested
            if self._was_interested:
                self._owner.uploads.on_interest(self)
            else:
                self._owner.uploads.on_uninterest(self)

    # ------------------------------------------------------------------ requests

    def update_interest(self) -> None:
        """Send whether the peer has anything that we want, where that has changed."""
        wire = self.wire
        if wire.closed:
            return
        if self._picker.interesting(self):
            if not wire.am_interested:
                wire.interested()
        elif wire.am_interested and not self._picker.claimed_by(self):
            wire.uninterested()
        if self._picker.done:
            self.on_idle()

    def on_idle(self) -> None:
        """There is nothing to request from it; see `RequestedPeer`."""
        self._scheduler.add_idle(self)
        if self._picker.done and (self.has_all or self._is_upload_only) and not self.closed:
            self._owner.on_useless(self)

    @property
    def _is_upload_only(self) -> bool:
        """Whether it wants nothing although it has not all (BEP 21)."""
        extension = self.wire.ext.get("upload_only")
        return isinstance(extension, UploadOnly) and extension.peer_upload_only

    @property
    def snubbed(self) -> bool:
        """Whether it leaves requests unanswered."""
        return self._requests.snubbed

    @property
    def out_of_turn(self) -> OutOfTurn:
        """The requests that go in front of its others; see `UrgentSource`."""
        return self._requests.out_of_turn

    def fill(self, now: float | None = None) -> None:
        """Request as much as it should have to do."""
        self._requests.fill(now)

    def note_new_blocks(self) -> None:
        """There are blocks to fetch that were not to be fetched just now."""
        self._requests.note_new_blocks()

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Cancel a request: another source was quicker."""
        self._requests.cancel(piece, offset, length)

    def withdraw(self) -> None:
        """Count on no request any more."""
        self._requests.withdraw()

    def check_timeouts(self, now: float) -> None:
        """Withdraw the requests that are unanswered for too long; and note whether anything was exchanged."""
        exchanged = self.received + self.wire.uploaded
        if exchanged != self._exchanged:
            self._exchanged, self._exchanged_at = exchanged, now
        self._requests.check_timeouts(now)

    # ------------------------------------------------------------------ uploads

    @property
    def interested(self) -> bool:
        """Whether it wants anything of us."""
        return self.wire.peer_interested

    @property
    def choked(self) -> bool:
        """Whether we choke it."""
        return self.wire.am_choking

    @property
    def pieces(self) -> bitarray:
        """The pieces that it has."""
        return self.wire.peer_pieces

    @property
    def is_busy(self) -> bool:
        """Whether anything is left to send to it."""
        return self.wire.queued > 0 or self.wire.has_unanswered_requests

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent to it."""
        return self.wire.queued

    @property
    def queue_time(self) -> float | None:
        """Seconds that what is sent to it spends in queues of the network, where that is known."""
        return self.wire.queue_time

    @property
    def tcp_path(self) -> TcpPath | None:
        """What the system knows of the way of what is sent to it, where it is TCP and the system tells."""
        return self.wire.tcp_path

    @property
    def up_rate(self) -> float:
        """Bytes a second that we send to it."""
        return self.wire.upload_speed()

    @property
    def uploaded(self) -> int:
        """Bytes that we have sent to it."""
        return self.wire.uploaded

    def announce(self, piece: int) -> None:
        """Tell it that we have a piece, unless that was lost meanwhile."""
        if self._owner.have[piece]:
            self.wire.have(piece)

    def choke(self) -> None:
        """Take its slot."""
        self.wire.choke()

    def unchoke(self) -> None:
        """Give it a slot."""
        self.wire.unchoke()

    def view(self) -> PeerView[UploadPeer]:
        """What the choker needs to know of it."""
        wire = self.wire
        assert wire.geometry is not None
        # What it was sent it has, also where it tells of nothing.
        held = max(wire.peer_pieces.count() * wire.geometry.piece_length, wire.uploaded)
        return PeerView(
            self, wire.peer_interested, self.snubbed, wire.download_speed(), wire.upload_speed(), wire.uploaded, held
        )

    def status(self) -> PeerStatus:
        """Its state for the user."""
        wire = self.wire
        assert wire.peer_id is not None
        return PeerStatus(
            address=wire.remote_address,
            client=str(wire.peer_extended_handshake.get("v", "")) or client_name(wire.peer_id) or "",
            outgoing=wire.type == "outgoing",
            encryption=wire.encryption,
            transport=wire.transport,
            peer_id=wire.peer_id,
            download_speed=wire.download_speed(),
            upload_speed=wire.upload_speed(),
            downloaded=wire.downloaded,
            uploaded=wire.uploaded,
            pieces=wire.peer_pieces.count(),
            am_choking=wire.am_choking,
            am_interested=wire.am_interested,
            peer_choking=wire.peer_choking,
            peer_interested=wire.peer_interested,
            snubbed=self.snubbed,
            requests=self._requests.pending,
        )

    @property
    def place(self) -> Place[WirePeer]:
        """What is to be known of it where there are too many."""
        wire = self.wire
        return Place(self, self._exchanged_at, wire.am_interested, wire.peer_interested, wire.am_choking)

    def _serve_soon(self) -> None:
        if self._server is None:
            self._server = spawn(f"serving {self.wire}", self._serve)

    def _serve(self) -> None:
        try:
            self.wire.serve_pending(partial(self._owner.uploads.read_blocks, self))
        except (GeventBTError, OSError) as error:
            _log.info("%s is no longer served: %s", self, error)
        finally:
            self._server = None

    def stop_serving(self) -> None:
        """Send no more blocks."""
        if self._server is not None and self._server is not gevent.getcurrent():
            self._server.kill(block=False)
