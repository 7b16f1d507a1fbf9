"""`RequestLine`: the requests that one peer has not answered, and what is learned from them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

from geventbt import limits
from geventbt.client.pieces.open_piece import Run
from geventbt.client.swarm.dropped_requests import DroppedRequests
from geventbt.client.swarm.request_window import RequestWindow
from geventbt.client.swarm.scheduler import SourceOwner
from geventbt.client.swarm.source import RequestedPeer
from geventbt.errors import RequestFailed
from geventbt.protocol.connection import RequestKey

_log = logging.getLogger("geventbt")


class RequestLine:
    """Sends requests, and cancels them; window and dropped requests follow.

    Args:
        peer: the peer.
        owner: the swarm.

    Attributes:
        window: how many requests are to be outstanding.
        dropped: finds those that a peer without the fast extension has dropped; None with it.
        since: when the first was sent; infinite before.
    """

    def __init__(self, peer: RequestedPeer, owner: SourceOwner) -> None:
        self._peer = peer
        self._picker = owner.picker
        self._geometry = owner.geometry
        self.window = RequestWindow(rejects=peer.wire.has_fast)
        self.since = math.inf
        self.dropped = None
        if not peer.wire.has_fast:
            self.dropped = DroppedRequests(peer, owner.picker, self.window, owner.scheduler)

    @property
    def pending(self) -> int:
        """How many requests are neither answered nor given up."""
        return self._picker.claimed_by(self._peer)

    def send(self, runs: Iterable[Run], now: float) -> None:
        """Request blocks that were claimed for the peer."""
        try:
            for run in runs:
                offset = run.first * limits.BLOCK
                end = min(offset + run.blocks * limits.BLOCK, self._geometry.piece_size(run.piece))
                self._peer.wire.request_run(run.piece, offset, end - offset)
        except RequestFailed as error:
            # It has lost the piece, say, and its message is not here yet.
            _log.debug("%s: %s", self._peer, error)
            self._picker.give_back_all(self._peer)
            self._peer.on_idle()
        self.window.on_requests(now, self._peer.wire.owed_answers)
        self.since = min(self.since, now)
        if self.dropped is not None:
            self.dropped.note_sent()

    def cancel(self, request: RequestKey) -> None:
        """Cancel a request."""
        if self.dropped is not None:
            self.dropped.forget(request)
        self._peer.wire.cancel(*request)
