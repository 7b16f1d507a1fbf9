"""A connected peer of a torrent: what is requested from it, and what it is given."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Container
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Protocol

import gevent
from bitarray import bitarray

from geventbt import limits
from geventbt.client.peers.eviction import Place
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.picker import Run
from geventbt.client.status import PeerStatus
from geventbt.client.swarm.choker import PeerView
from geventbt.client.swarm.dropped_requests import DroppedRequests
from geventbt.client.swarm.request_window import RequestWindow
from geventbt.client.swarm.scheduler import SourceOwner
from geventbt.client.swarm.uploads import UploadPeer, Uploads
from geventbt.concurrency.greenlets import spawn
from geventbt.errors import GeventBTError, LocalProtocolError, PeerChoking, RequestFailed, RequestRejected, WireClosed
from geventbt.extensions.upload_only import UploadOnly
from geventbt.net.addresses import Address
from geventbt.peer_id import client_name
from geventbt.protocol import constants as c
from geventbt.protocol.connection import Event, RequestKey
from geventbt.wire.requests import WireDelegate
from geventbt.wire.wire import Wire

_log = logging.getLogger("geventbt")

_NEVER = float("inf")
_BITFIELDS = (c.BITFIELD, c.HAVE_ALL, c.HAVE_NONE)
_WHOLE_PIECE_TIME = 10.0
"""A peer that delivers a piece in this time is asked for whole ones, a slower one for its share."""
FIRST_BACKOFF, MAX_BACKOFF_STEPS = 0.5, 7
"""Seconds in which nothing is requested from a peer that rejects everything, doubled each time it does so again: to
about a minute."""


_SNUB_PAUSE = 0.5
"""Seconds in which other peers can take over what one has left unanswered."""


class PeerOwner(SourceOwner, Protocol):
    """The swarm, as its peers see it."""

    @property
    def have(self) -> bitarray:
        """The pieces that we have."""

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
        snubbed: whether it leaves requests unanswered.
        trust: credit for good pieces that it had a part in, less what wrong ones have cost it.
    """

    def __init__(self, owner: PeerOwner, wire: Wire, address: Address | None) -> None:
        self.wire = wire
        self.address = address
        self.received = 0
        self.snubbed = False
        self.trust = 0
        self._owner = owner
        self._picker = owner.picker
        self._assembly = owner.assembly
        self._scheduler = owner.scheduler
        self._dealer = owner.uploads.dealer
        self._geometry = owner.geometry
        self._window = RequestWindow()
        self._dropped = None
        if not wire.has_fast:
            self._dropped = DroppedRequests(self, self._picker, self._window, self._scheduler)
        self._has_news = False
        self._has_bitfield = False
        self._is_refused = False
        self._has_delivered = False
        self._was_interested = False
        self._backoffs = 0
        self._backs_off_until = 0.0
        self._idle_since = _NEVER
        self._takes_over_at = 0.0
        self._asked_since = math.inf
        self._server: gevent.Greenlet | None = None
        self._exchanged = 0
        self._exchanged_at = monotonic()

    def __repr__(self) -> str:
        return "{}:{}".format(*self.wire.remote_address)

    # ------------------------------------------------------------------ start and end

    def start(self) -> None:
        """Follow the wire, and send what we have; what the peer has sent already is taken into account."""
        wire, have = self.wire, self._owner.have
        self._picker.add_peer(self, wire.peer_pieces)
        wire.attach(self)
        is_hidden = not wire.extended_handshake.get("upload_only") and self._dealer.hides_from(
            self, self._owner.upload_peers
        )
        if is_hidden and wire.has_fast:
            wire.have_none()
        elif is_hidden:
            pass
        elif wire.has_fast and have.all():
            wire.have_all()
        elif wire.has_fast and not have.any():
            wire.have_none()
        elif have.any():
            wire.bitfield(have)
        if is_hidden:
            self._dealer.greet(self)
        if wire.peer_extended_handshake:
            self._owner.on_extended_handshake(self)
        if wire.has_unanswered_requests:
            self._serve_soon()
        self._take_news()
        self.fill()

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
        if self._dropped is not None:
            self._dropped.note_blocks(blocks)
        for other, (_, piece, offset, block, _) in self._assembly.receive(self, blocks):
            other.cancel(piece, offset, len(block))

    def on_late_block(self, event: Event) -> None:
        _, piece, offset, block = event
        self._window.on_late_block()
        if self._dropped is not None:
            self._dropped.note_late((piece, offset, len(block)))
        for other, _ in self._assembly.receive_late(self, piece, offset, block):
            other.cancel(piece, offset, len(block))

    def on_bytes(self, now: float) -> None:
        self._window.on_bytes(now)
        self.snubbed = False

    def on_request_failed(self, key: RequestKey, error: Exception) -> None:
        if isinstance(error, RequestRejected) and not self.wire.peer_choking:
            self._is_refused = True
        if self._dropped is not None and isinstance(error, PeerChoking):
            self._dropped.note_choked(key)
            return
        if key is not None:
            if self._dropped is not None:
                self._dropped.forget(key)
            self._picker.give_back(self, key[0], key[1] // limits.BLOCK)
            self._scheduler.wake_idle()

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
        if count:
            self.received += count
            if self._dropped is not None:
                self._dropped.settle()
            pending = self._picker.claimed_by(self)
            self._window.on_blocks(-(-count // limits.BLOCK), pending, now)
            self.snubbed = False
            self._backoffs = 0
            self._has_delivered = True
        if self._has_news:
            self._take_news()
            if not self._picker.claimed_by(self):
                self._window.on_idle(now)
        elif not count and not self._is_refused:
            return
        if self._is_refused:
            self._on_refused(now)
        self.fill(now or None)

    def _on_refused(self, now: float) -> None:
        """Ask a peer that rejects requests for fewer; one that has not delivered either since the last time, later."""
        self._is_refused = False
        pending = self._picker.claimed_by(self)
        self._window.on_rejects(pending)
        if pending:
            return
        self._window.on_idle(now)
        if not self._has_delivered:
            self._back_off(now)
        self._has_delivered = False

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
        self._take_bitfield()
        if self.wire.peer_interested != self._was_interested:
            self._was_interested = self.wire.peer_interested
            if self._was_interested:
                self._owner.uploads.on_interest(self)
            else:
                self._owner.uploads.on_uninterest(self)
        if not self.wire.am_interested:
            self.update_interest()

    def _back_off(self, now: float) -> None:
        """Request nothing from the peer for a while, the longer the more often it has only rejected."""
        self._backs_off_until = now + FIRST_BACKOFF * 2.0**self._backoffs
        self._backoffs = min(self._backoffs + 1, MAX_BACKOFF_STEPS)

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
            self._note_idle()

    def fill(self, now: float | None = None) -> None:
        """Request as much as the peer should have to do."""
        wire = self.wire
        if wire.closed or wire.peer_choking:
            return
        now = monotonic() if now is None else now
        if self._scheduler.is_busy or now < self._backs_off_until:
            self._note_idle()
            return
        pending = self._picker.claimed_by(self)
        is_read = now < self._scheduler.read_until
        if is_read:
            pending += self._window.ghosts(wire.owed_answers, now)
        size = self._window.size(min(wire.request_limit, limits.REQUESTS), now, is_read=is_read)
        room = size - pending
        dropped = self._dropped
        if dropped is not None and dropped.wants_answer(pending, now):
            room = max(room, 1)
        # Three quarters keep the peer busy; a quarter at a time costs fewer picks and writes.
        elif room <= 0 or (room < size >> 2 and pending):
            return
        room = self._scheduler.take(self, room)
        # Most of what is late comes without our help in a moment.
        joins = self._picker.in_endgame and now - self._idle_since >= limits.ENDGAME_PATIENCE
        delivery = self._window.delivery(pending, now, self._scheduler.patience) if is_read else None
        runs = self._pick(room, pending, now, joins=joins, delivery=delivery) if room else []
        self._scheduler.give_back(self, room - sum(run.blocks for run in runs))
        if runs:
            self._request_runs(runs, now)
            if not joins:
                self._idle_since = _NEVER
        elif not self._picker.claimed_by(self):
            self._idle_since = min(self._idle_since, now)
            self._note_idle()

    def _pick(self, room: int, pending: int, now: float, *, joins: bool, delivery: Delivery | None) -> list[Run]:
        """What to request: what is free, what it may have dropped, or what slower peers were asked for."""
        runs = self._picker.pick(self, room, share=self._share(), may_join=joins, delivery=delivery)
        if not runs and self._dropped is not None:
            runs = self._dropped.repeat(now)
        if not runs and not pending and now >= self._takes_over_at:
            runs = self._take_over(room, now)
        return runs

    def _take_over(self, room: int, now: float) -> list[Run]:
        runs = self._picker.take_over(self, room, lambda source: source.expected_rate(now))
        if not runs:
            self._takes_over_at = now + limits.ENDGAME_PATIENCE
        return runs

    def expected_rate(self, now: float) -> float:
        """Bytes a second that are to be expected of it; infinite while it cannot be known."""
        if now - self._asked_since < limits.TAKE_OVER_SAMPLE:
            return math.inf
        silence = self._window.silence(now)
        return self.wire.download_speed() or (limits.BLOCK / silence if silence else 0.0)

    def note_new_blocks(self) -> None:
        """There are blocks to fetch that were not to be fetched just now: however long the peer has been idle, the one
        that takes them first is given time before they are asked of others as well."""
        self._idle_since = _NEVER

    def _note_idle(self) -> None:
        self._scheduler.add_idle(self)
        if self._picker.done and (self.has_all or self._is_upload_only) and not self.closed:
            self._owner.on_useless(self)

    @property
    def _is_upload_only(self) -> bool:
        """Whether it wants nothing although it has not all (BEP 21)."""
        extension = self.wire.ext.get("upload_only")
        return isinstance(extension, UploadOnly) and extension.peer_upload_only

    def _request_runs(self, runs: list[Run], now: float) -> None:
        try:
            for run in runs:
                offset = run.first * limits.BLOCK
                end = min(offset + run.blocks * limits.BLOCK, self._geometry.piece_size(run.piece))
                self.wire.request_run(run.piece, offset, end - offset)
        except RequestFailed as error:
            # It has lost the piece, say, and its message is not here yet.
            _log.debug("%s: %s", self, error)
            self._picker.give_back_all(self)
            self._note_idle()
        self._window.on_requests(now)
        self._asked_since = min(self._asked_since, now)
        if self._dropped is not None:
            self._dropped.note_sent()

    def _share(self) -> int:
        """How many blocks of one piece to take: all of it, for a peer that is fast enough."""
        speed = self.wire.download_speed()
        blocks = self._geometry.blocks_per_piece
        share = int(speed * _WHOLE_PIECE_TIME) // limits.BLOCK
        return 0 if share >= blocks else max(share, 1)

    # ------------------------------------------------------------------ what readers wait for: see `UrgentSource`

    def delivery(self, spared: Container[int], now: float) -> Delivery | None:
        """When it would deliver what it is asked for out of turn; None if it cannot be asked."""
        if self.closed or self.wire.peer_choking or now < self._backs_off_until or self._window.snubbed(now):
            return None
        requests = self.wire.requests
        others = sum(request.piece not in spared for request in requests)
        in_front = len(requests) - max(0, others - self._window.under_way)
        in_front += self._window.ghosts(self.wire.owed_answers, now)
        room = self._window.urgent_size(min(self.wire.request_limit, limits.REQUESTS), now) - in_front
        return replace(self._window.delivery(in_front, now), room=room)

    def expected(self, piece: int, now: float) -> dict[int, float]:
        """When it will have delivered each block of a piece that it was asked for."""
        first = self._window.ghosts(self.wire.owed_answers, now)
        return {
            request.offset // limits.BLOCK: self._window.expected(place, now)
            for place, request in enumerate(self.wire.requests, first)
            if request.piece == piece
        }

    def request_urgently(self, runs: list[Run], spared: Container[int], now: float) -> None:
        """Request blocks that were claimed for it, and cancel what is in front of them."""
        others = [request for request in self.wire.requests if request.piece not in spared]
        cancelled = others[self._window.under_way :]
        if cancelled:
            self._window.on_cancel(now)
        for request in cancelled:
            if self._dropped is not None:
                self._dropped.forget(request)
            self.wire.cancel(*request)
        self._request_runs(runs, now)

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Cancel a request: another source was quicker."""
        if not self.wire.closed:
            if self._dropped is not None:
                self._dropped.forget((piece, offset, length))
            self.wire.cancel(piece, offset, length)
            if not self._picker.claimed_by(self):
                self._window.on_idle(monotonic())
            self.fill()

    def withdraw(self) -> None:
        """Count on no request any more: what is missing is for others to fetch.

        At first nothing is cancelled, as what comes late is used. A peer that stays silent has perhaps lost our
        requests, and would take another one for a repetition.
        """
        self._picker.give_back_all(self)
        if self._dropped is not None:
            self._dropped.forget_all()
        if not self.wire.closed:
            (self.wire.cancel_all if self.snubbed else self.wire.give_up_all)()

    def check_timeouts(self, now: float) -> None:
        """Withdraw the requests that are unanswered for too long. One at a time is sent from then on."""
        exchanged = self.received + self.wire.uploaded
        if exchanged != self._exchanged:
            self._exchanged, self._exchanged_at = exchanged, now
        if self._dropped is not None:
            self._dropped.look(now)
        if self.wire.closed or not self._picker.claimed_by(self) or not self._window.is_overdue(now):
            return
        _log.info("%s leaves our requests unanswered", self)
        self._window.on_timeout(now)
        self.withdraw()
        self.snubbed = True
        # The others come first.
        self._backs_off_until = now + _SNUB_PAUSE
        self._note_idle()
        self._scheduler.wake_idle()

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
    def up_rate(self) -> float:
        """Bytes a second that we send to it."""
        return self.wire.upload_speed()

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
        return PeerView(
            self, wire.peer_interested, self.snubbed, wire.download_speed(), wire.upload_speed(), wire.uploaded
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
            requests=self._picker.claimed_by(self),
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
