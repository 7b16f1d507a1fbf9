"""Requests to one peer out of turn, for what a reader waits for; see `UrgentRequests`."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace

from geventbt import limits
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.open_piece import Run
from geventbt.client.swarm.refusals import Refusals
from geventbt.client.swarm.request_line import RequestLine
from geventbt.wire.wire import Wire


class OutOfTurn:
    """The requests that go in front of all others of a peer.

    Args:
        wire: its connection.
        line: the requests to it.
        refusals: its rejects.
    """

    def __init__(self, wire: Wire, line: RequestLine, refusals: Refusals) -> None:
        self._refusals = refusals
        self._wire = wire
        self._line = line
        self._window = line.window
        self._pace = line.window.pace
        self._cancelled = line.window.cancelled

    def delivery(self, spared: Container[int], now: float) -> Delivery | None:
        """When the peer would deliver what it is asked for out of turn; None if it cannot be asked.

        Args:
            spared: pieces; what it was asked for of them stays in front.
            now: the time.
        """
        is_resting = self._refusals.is_backing_off(now) or self._window.patience.snubbed(now)
        if self._wire.closed or self._wire.peer_choking or is_resting:
            return None
        requests = self._wire.requests
        others = sum(request.piece not in spared for request in requests)
        in_front = len(requests) - max(0, others - self._cancelled.under_way)
        in_front += self._cancelled.ghosts(self._wire.owed_answers, now)
        room = self._window.urgent_size(min(self._wire.request_limit, limits.REQUESTS), now) - in_front
        return replace(self._pace.delivery(in_front, now), room=room)

    def expected(self, now: float, *, at_worst: bool = False) -> dict[tuple[int, int], float]:
        """When the peer will have delivered each block that it was asked for, by (piece, block); see `Pace`."""
        first = self._cancelled.ghosts(self._wire.owed_answers, now)
        return {
            (request.piece, request.offset // limits.BLOCK): self._pace.expected(place, now, at_worst=at_worst)
            for place, request in enumerate(self._wire.requests, first)
        }

    def finishes(self, now: float) -> float:
        """When the peer will have delivered all that it was asked for; now, while that cannot be known."""
        pending = self._line.pending
        if not pending or now - self._line.since < limits.TAKE_OVER_SAMPLE:
            return now
        return self._pace.expected(pending - 1, now)

    def request(self, runs: list[Run], spared: Container[int], now: float) -> None:
        """Request blocks that were claimed for the peer, and cancel what is in front of them: all that is not of the
        spared pieces, nor on its way already."""
        others = [request for request in self._wire.requests if request.piece not in spared]
        kept = self._cancelled.under_way
        cancelled = others[kept:]
        if cancelled:
            self._cancelled.on_cancel(kept, len(cancelled), now)
        for request in cancelled:
            self._line.cancel(request)
        self._line.send(runs, now)
