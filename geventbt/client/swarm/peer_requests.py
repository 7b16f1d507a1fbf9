"""`PeerRequests`: what is requested from one peer, when, and what becomes of it."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from time import monotonic

from geventbt import limits
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.picker import Run
from geventbt.client.swarm.endgame import Endgame
from geventbt.client.swarm.out_of_turn import OutOfTurn
from geventbt.client.swarm.refusals import Refusals
from geventbt.client.swarm.request_line import RequestLine
from geventbt.client.swarm.scheduler import SourceOwner
from geventbt.client.swarm.source import RequestedPeer
from geventbt.errors import PeerChoking, RequestRejected
from geventbt.protocol.connection import Event, RequestKey

_log = logging.getLogger("geventbt")

_NEVER = float("inf")
_WHOLE_PIECE_TIME = 10.0
"""A peer that delivers a piece in this time is asked for whole ones, a slower one for its share."""
_SNUB_PAUSE = 0.5
"""Seconds in which other peers can take over what one has left unanswered."""


class PeerRequests:
    """The requests to one peer, and its answers.

    Args:
        peer: the peer.
        owner: the swarm.
        endgame: has peers that run dry take over from slow ones.

    Attributes:
        snubbed: whether it leaves requests unanswered.
        out_of_turn: for readers.
    """

    def __init__(self, peer: RequestedPeer, owner: SourceOwner, endgame: Endgame) -> None:
        self._peer = peer
        self._wire = peer.wire
        self._picker = owner.picker
        self._assembly = owner.assembly
        self._scheduler = owner.scheduler
        self._geometry = owner.geometry
        self._line = RequestLine(peer, owner)
        self._window = self._line.window
        self._pace = self._window.pace
        self._dropped = self._line.dropped
        self._endgame = endgame
        self._refusals = Refusals()
        self.out_of_turn = OutOfTurn(peer.wire, self._line, self._refusals)
        self._idle_since = _NEVER
        self.snubbed = False

    @property
    def pending(self) -> int:
        """How many are neither answered nor given up."""
        return self._line.pending

    # ------------------------------------------------------------------ answers

    def on_blocks(self, blocks: list[Event]) -> None:
        """Blocks have come; see `WireDelegate`."""
        if self._dropped is not None:
            self._dropped.note_blocks(blocks)
        for other, (_, piece, offset, block, _) in self._assembly.receive(self._peer, blocks):
            other.cancel(piece, offset, len(block))

    def on_late_block(self, event: Event) -> None:
        """A block that was given up has come; see `WireDelegate`."""
        _, piece, offset, block = event
        self._window.on_late_block()
        if self._dropped is not None:
            self._dropped.note_late((piece, offset, len(block)))
        for other, _ in self._assembly.receive_late(self._peer, piece, offset, block):
            other.cancel(piece, offset, len(block))

    def on_bytes(self, now: float) -> None:
        """A part of a block has come; see `WireDelegate`."""
        self._window.on_bytes(now)
        self.snubbed = False
        if self._dropped is not None:
            self._dropped.note_bytes()

    def on_failed(self, key: RequestKey, error: Exception) -> None:
        """A block will not come, or not soon; see `WireDelegate`."""
        if isinstance(error, RequestRejected) and not self._wire.peer_choking:
            self._refusals.on_reject(key[0], monotonic())
        if self._dropped is not None and isinstance(error, PeerChoking):
            self._dropped.note_choked(key)
            return
        if self._dropped is not None:
            self._dropped.forget(key)
        self._picker.give_back(self._peer, key[0], key[1] // limits.BLOCK)
        self._scheduler.wake_idle()

    def on_batch(self, count: int, now: float, *, has_news: bool) -> None:
        """All that was read at once has been processed: request more.

        Args:
            count: bytes of blocks in it.
            now: the time.
            has_news: whether there were messages that change what may be requested.
        """
        if count:
            if self._dropped is not None:
                self._dropped.settle()
            self._window.on_blocks(-(-count // limits.BLOCK), self.pending, now)
            self.snubbed = False
            self._refusals.on_delivery()
        if has_news and not self.pending:
            self._window.on_idle(now)
        if self._refusals.is_news:
            self._on_rejects(now)
        elif not (count or has_news):
            return
        self.fill(now or None)

    def _on_rejects(self, now: float) -> None:
        """Ask a peer that rejects requests for fewer."""
        pending = self.pending
        self._window.on_rejects(pending)
        if not pending:
            self._window.on_idle(now)
        self._refusals.settle(now, is_idle=not pending)

    # ------------------------------------------------------------------ requests

    def fill(self, now: float | None = None) -> None:
        """Request as much as the peer should have to do."""
        wire = self._wire
        if wire.closed or wire.peer_choking:
            return
        now = monotonic() if now is None else now
        if self._scheduler.is_busy or self._refusals.is_backing_off(now):
            self._peer.on_idle()
            return
        pending = self._picker.claimed_by(self._peer)
        is_read = now < self._scheduler.read_until
        if is_read:
            pending += self._window.cancelled.ghosts(wire.owed_answers, now)
        size = self._window.size(min(wire.request_limit, limits.REQUESTS), now, is_read=is_read)
        room = size - pending
        dropped = self._dropped
        if dropped is not None and dropped.wants_answer(pending, now):
            room = max(room, 1)
        # Three quarters keep the peer busy; a quarter at a time costs fewer picks and writes. Readers spare less.
        elif room <= 0 or (room < size >> (3 if is_read else 2) and pending):
            return
        room = self._scheduler.take(self._peer, room)
        # Most of what is late comes without our help in a moment.
        joins = self._picker.in_endgame and now - self._idle_since >= limits.ENDGAME_PATIENCE
        delivery = self._pace.delivery(pending, now, self._scheduler.patience) if is_read else None
        runs = self._pick(room, pending, now, joins=joins, delivery=delivery) if room else []
        self._scheduler.give_back(self._peer, room - sum(run.blocks for run in runs))
        if runs:
            self._line.send(runs, now)
            if not joins:
                self._idle_since = _NEVER
        elif not self.pending:
            self._idle_since = min(self._idle_since, now)
            self._peer.on_idle()

    def _pick(self, room: int, pending: int, now: float, *, joins: bool, delivery: Delivery | None) -> list[Run]:
        """What to request: what is free, what it may have dropped, or what slower peers were asked for."""
        share, refused = self._share(), self._refusals.pieces(now)
        pick = partial(self._picker.pick, self._peer, room, share=share, may_join=joins, delivery=delivery)
        runs = pick(leave=refused) or (pick() if refused else [])
        if not runs and self._dropped is not None:
            runs = self._dropped.repeat(now)
        if not runs and self._pace.runs_dry(pending) and now - self._line.since >= limits.TAKE_OVER_SAMPLE:
            runs = self._endgame.take_over(self._peer, replace(self._pace.delivery(pending, now), room=room), now)
        return runs

    def _share(self) -> int:
        """How many blocks of one piece to take: all of it, for a peer that is known to be fast enough."""
        speed = self._wire.download_speed()
        blocks = self._geometry.blocks_per_piece
        share = int(speed * _WHOLE_PIECE_TIME) // limits.BLOCK if speed else min(limits.FIRST_REQUESTS, blocks - 1)
        return 0 if share >= blocks else max(share, 1)

    def note_new_blocks(self) -> None:
        """Note that there are blocks to fetch that were not to be fetched just now: however long the peer has been
        idle, the one that takes them first is given time before they are asked of others as well."""
        self._idle_since = _NEVER

    # ------------------------------------------------------------------ giving up

    def cancel(self, piece: int, offset: int, length: int) -> None:
        """Cancel a request: another source was quicker."""
        if not self._wire.closed:
            self._line.cancel((piece, offset, length))
            if not self.pending:
                self._window.on_idle(monotonic())
            self.fill()

    def withdraw(self) -> None:
        """Count on no request any more: what is missing is for others to fetch.

        At first nothing is cancelled, as what comes late is used. A peer that stays silent has perhaps lost our
        requests, and would take another one for a repetition.
        """
        self._picker.give_back_all(self._peer)
        if self._dropped is not None:
            self._dropped.forget_all()
        if not self._wire.closed:
            (self._wire.cancel_all if self.snubbed else self._wire.give_up_all)()

    def check_timeouts(self, now: float) -> None:
        """Withdraw the requests that are unanswered for too long. One at a time is sent from then on."""
        if self._wire.closed or not self.pending or not self._window.patience.is_overdue(now):
            if self._dropped is not None:
                self._dropped.look(now)
            return
        _log.info("%s leaves our requests unanswered", self._peer)
        self._window.on_timeout(now)
        self.withdraw()
        self.snubbed = True
        # The others come first.
        self._refusals.pause(now + _SNUB_PAUSE)
        self._peer.on_idle()
        self._scheduler.wake_idle()
