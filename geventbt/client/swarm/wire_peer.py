"""One peer of a torrent: what it is asked for, what it is given, and whether it is of any use."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING

import gevent

from geventbt import limits
from geventbt.client.status import PeerStatus
from geventbt.client.swarm.choker import PeerView
from geventbt.client.swarm.request_window import RequestWindow
from geventbt.errors import GeventBTError, RequestFailed, RequestRejected
from geventbt.peer_id import client_name
from geventbt.protocol import constants as c
from geventbt.protocol.connection import Event, RequestKey

if TYPE_CHECKING:
    from geventbt.client.pieces.picker import Run
    from geventbt.client.swarm.swarm import Swarm
    from geventbt.net.addresses import Address
    from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

_NEVER = float("inf")
_PIECES_TOLD = (c.BITFIELD, c.HAVE_ALL, c.HAVE_NONE)
_WHOLE_PIECE_TIME = 10.0
"""A peer that delivers a piece in this time is asked for whole ones, a slower one for its share."""
_FIRST_REST, _MOST_DISAPPOINTMENTS = 0.5, 7
"""Seconds of rest for a peer that let us down, doubled each time it does so again: to about a minute."""


class Peer:
    """Drives the wire of a peer, from within the hub: no greenlet stands behind it, but one while it is being served.

    Args:
        swarm: of its torrent.
        wire: which has shaken hands.
        address: where it listens, if that is known.

    Attributes:
        wire: the connection.
        address: where it listens, or None.
        received: bytes of blocks that it sent when asked.
        snubbed: whether it leaves requests unanswered.
        trust: for good pieces that it had a part in, less what wrong ones have cost it.
    """

    def __init__(self, swarm: Swarm, wire: Wire, address: Address | None) -> None:
        self.wire = wire
        self.address = address
        self.received = 0
        self.snubbed = False
        self.trust = 0
        self._swarm = swarm
        self._picker = swarm.picker
        self._window = RequestWindow()
        self._has_news = False
        self._is_refused = False
        self._wants = False
        self._asked_at = 0.0
        self._disappointments = 0
        self._rests_until = 0.0
        self._idle_since = _NEVER
        self._server: gevent.Greenlet | None = None

    def __repr__(self) -> str:
        return "{}:{}".format(*self.wire.remote_address)

    # ------------------------------------------------------------------ the beginning and the end

    def start(self) -> None:
        """Follow the wire, and tell the peer what we have; whatever it has said already is taken into account."""
        wire, have = self.wire, self._swarm.have
        self._picker.add_peer(self, wire.peer_pieces)
        wire.attach(self)
        if wire.has_fast and have.all():
            wire.have_all()
        elif wire.has_fast and not have.any():
            wire.have_none()
        elif have.any():
            wire.bitfield(have)
        if wire.peer_extended_handshake:
            self._swarm.on_extended_handshake(self)
        if wire.has_unanswered_requests:
            self._serve_soon()
        self._take_news()
        self.fill()

    def on_closed(self) -> None:
        """The wire is closed."""
        self._picker.remove_peer(self)
        self._swarm.on_peer_closed(self)

    # ------------------------------------------------------------------ what the peer sends

    def on_blocks(self, blocks: list[Event]) -> None:
        for other, (_, piece, offset, block, _) in self._swarm.assembly.receive(self, blocks):
            assert isinstance(other, Peer)
            other.cancel(piece, offset, len(block))

    def on_request_failed(self, key: RequestKey, error: Exception) -> None:
        if isinstance(error, RequestRejected) and not self.wire.peer_choking:
            self._is_refused = True
        self._picker.give_back(self, key[0], key[1] // limits.BLOCK)
        self._swarm.wake_idle()

    def on_message(self, event: Event) -> None:
        kind = event[0]
        if kind == c.HAVE:
            self._picker.peer_has(self, event[1])
            self._has_news = True
        elif kind in _PIECES_TOLD:
            self._picker.set_peer_pieces(self, self.wire.peer_pieces)
            self._has_news = True
        elif kind == c.CHOKE:
            self._window.on_idle(monotonic())
        elif kind in (c.UNCHOKE, c.INTERESTED, c.UNINTERESTED):
            self._has_news = True
        elif kind == c.EXTENDED and event[1] == c.EXTENDED_HANDSHAKE:
            self._swarm.on_extended_handshake(self)

    def on_piece_lost(self, piece: int) -> None:
        self._picker.peer_lost(self, piece)
        self.update_interest()

    def on_batch(self, count: int, now: float) -> None:
        if self.wire.has_unanswered_requests:
            self._serve_soon()
        if count:
            self.received += count
            pending = self._picker.claimed_by(self)
            self._window.on_blocks(-(-count // limits.BLOCK), pending, now)
            self.snubbed = False
            self._disappointments = 0
        if self._has_news:
            self._take_news()
        elif not count and not self._is_refused:
            return
        if self._is_refused:
            self._is_refused = False
            if not self._picker.claimed_by(self):
                self._rest(now)
        self.fill(now or None)

    def _take_news(self) -> None:
        """Act on what the peer has told: once for all that came together, or who says one thing and its contrary all
        the time keeps us busy with nothing else."""
        self._has_news = False
        if self.wire.peer_interested != self._wants:
            self._wants = self.wire.peer_interested
            if self._wants:
                self._swarm.uploads.on_interest(self)
            else:
                self._swarm.uploads.on_uninterest(self)
        if not self.wire.am_interested:
            self.update_interest()

    def _rest(self, now: float) -> None:
        """Ask the peer for nothing for a while, the longer the more often it has given nothing."""
        self._rests_until = now + _FIRST_REST * 2.0**self._disappointments
        self._disappointments = min(self._disappointments + 1, _MOST_DISAPPOINTMENTS)

    # ------------------------------------------------------------------ what it is asked for

    def update_interest(self) -> None:
        """Tell the peer whether it has anything that we want."""
        wire = self.wire
        if wire.closed:
            return
        if self._picker.interesting(self):
            if not wire.am_interested:
                wire.interested()
        elif wire.am_interested and not self._picker.claimed_by(self):
            wire.uninterested()
        if self._swarm.seeding:
            self._swarm.on_idle(self)

    def fill(self, now: float | None = None) -> None:
        """Ask for as much as the peer should have to do."""
        wire = self.wire
        if wire.closed or wire.peer_choking:
            return
        now = monotonic() if now is None else now
        if self._swarm.is_busy or now < self._rests_until:
            self._swarm.on_idle(self)
            return
        pending = self._picker.claimed_by(self)
        size = self._window.size(min(wire.request_limit, limits.REQUESTS), now)
        room = size - pending
        # Three quarters keep the peer busy; a quarter at a time costs fewer picks and writes.
        if room <= 0 or (room < size >> 2 and pending):
            return
        room = self._swarm.take_room(room)
        # Most of what is late comes without our help in a moment.
        joins = self._picker.in_endgame and now - self._idle_since >= limits.ENDGAME_PATIENCE
        runs = self._picker.pick(self, room, share=self._share(), may_join=joins) if room else []
        self._swarm.give_room_back(room - sum(run.blocks for run in runs))
        try:
            for run in runs:
                self._request(run)
        except RequestFailed as error:
            # It has lost the piece, say, in a way that we have not been told of yet.
            _log.debug("%s: %s", self, error)
            self._picker.give_back_all(self)
        if runs:
            self._asked_at = now
            self._window.on_requests(now)
            if not joins:
                self._idle_since = _NEVER
        elif not pending:
            self._idle_since = min(self._idle_since, now)
            self._swarm.on_idle(self)

    def _request(self, run: Run) -> None:
        offset = run.first * limits.BLOCK
        end = min(offset + run.blocks * limits.BLOCK, self._swarm.geometry.piece_size(run.piece))
        self.wire.request_run(run.piece, offset, end - offset)

    def _share(self) -> int:
        """How many blocks of one piece to take: all of it, for a peer that is fast enough."""
        speed = self.wire.download_speed()
        blocks = self._swarm.blocks_per_piece
        share = int(speed * _WHOLE_PIECE_TIME) // limits.BLOCK
        return 0 if share >= blocks else max(share, 1)

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Another peer was quicker."""
        if not self.wire.closed:
            self.wire.cancel(piece, offset, length)
            if not self._picker.claimed_by(self):
                self._window.on_idle(monotonic())
            self.fill()

    def withdraw(self) -> None:
        """Cancel all that the peer was asked for, for others to fetch."""
        self._picker.give_back_all(self)
        if not self.wire.closed:
            self.wire.cancel_all()
            self._window.on_idle(monotonic())

    def check_patience(self, now: float) -> None:
        """Take its blocks away from a peer that lets us wait too long; it is asked for one at a time from then on, and
        that not at once."""
        if self.wire.closed or not self._picker.claimed_by(self):
            return
        if self._window.snubbed(now) and now - self._asked_at > self._window.timeout:
            self.snubbed = True
            _log.info("%s leaves our requests unanswered", self)
            self.withdraw()
            self._rest(now)
            self._swarm.on_idle(self)
            self._swarm.wake_idle()

    # ------------------------------------------------------------------ what it is given

    @property
    def view(self) -> PeerView:
        """What the choker needs to know."""
        wire = self.wire
        return PeerView(
            self, wire.peer_interested, self.snubbed, wire.download_speed(), wire.upload_speed(), wire.uploaded
        )

    @property
    def status(self) -> PeerStatus:
        """What a user wants to know."""
        wire = self.wire
        assert wire.peer_id is not None
        return PeerStatus(
            address=wire.remote_address,
            client=str(wire.peer_extended_handshake.get("v", "")) or client_name(wire.peer_id) or "",
            outgoing=wire.type == "outgoing",
            encryption=wire.encryption,
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
            requests=self._picker.claimed_by(self),
        )

    def _serve_soon(self) -> None:
        if self._server is None:
            self._server = gevent.spawn(self._serve)

    def _serve(self) -> None:
        try:
            self._swarm.uploads.serve(self.wire)
        except (GeventBTError, OSError) as error:
            _log.info("%s is not served any more: %s", self, error)
        finally:
            self._server = None

    def stop_serving(self) -> None:
        """Serve the peer no more."""
        if self._server is not None and self._server is not gevent.getcurrent():
            self._server.kill(block=False)
