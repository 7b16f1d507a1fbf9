"""`DroppedRequests`: finds what a peer without the fast extension has dropped without a word, and has it sent again."""

from __future__ import annotations

from collections.abc import Iterable

from geventbt import limits
from geventbt.client.pieces.picker import BlockPicker, Run
from geventbt.client.swarm.request_window import RequestWindow
from geventbt.client.swarm.scheduler import RequestScheduler
from geventbt.client.swarm.skipped_requests import SkippedRequests
from geventbt.client.swarm.source import BlockSource, RequestedPeer
from geventbt.protocol.connection import Event, RequestKey


class DroppedRequests:
    """Follows the requests to one peer; see `SkippedRequests` for the rules.

    Args:
        peer: the peer.
        picker: is given back what was dropped.
        window: is to send less at a time to a peer with a short queue.
        scheduler: wakes the other peers for it.
    """

    def __init__(
        self,
        peer: RequestedPeer,
        picker: BlockPicker[BlockSource],
        window: RequestWindow,
        scheduler: RequestScheduler,
    ) -> None:
        self._peer = peer
        self._picker = picker
        self._window = window
        self._scheduler = scheduler
        self._skipped = SkippedRequests()
        self._is_choke_old = False
        # Whether what came last came behind a choke: the peer keeps its queue, and goes on with it.
        self._answers_choked = False

    def note_sent(self) -> None:
        """Note that requests were sent."""
        self._skipped.note_sent()

    def note_bytes(self) -> None:
        """Note that a part of a block has come."""
        self._skipped.note_bytes()

    def note_blocks(self, blocks: Iterable[Event]) -> None:
        """Note blocks that came for requests that are pending."""
        self._skipped.note((piece, offset, len(block)) for _, piece, offset, block, _ in blocks)

    def note_late(self, key: RequestKey) -> None:
        """Note a block that came after all."""
        self._answers_choked = self._peer.wire.peer_choking
        self._skipped.note_late(key)

    def note_choked(self, key: RequestKey) -> None:
        """Note a request that a choke has left in doubt."""
        self._skipped.note_choked(key)

    def forget(self, key: RequestKey) -> None:
        """Note that a request has ended in another way."""
        self._skipped.forget(key)

    def forget_all(self) -> None:
        """Note that all requests have been given up."""
        self._answers_choked = False
        self._skipped.forget_all(self._peer.wire.requests)

    def settle(self) -> None:
        """Blocks have come, which may tell what was dropped: ask for it, and for less at a time if it was over the
        length of the peer's queue."""
        self._give_back(self._skipped.take_dropped_by_choke())
        if self._skipped.is_due:
            self._give_up(self._skipped.take_dropped(self._peer.wire.requests))

    def wants_answer(self, pending: int, now: float) -> bool:
        """Whether all that is pending may be dropped, so that the answer to another request is to show it."""
        return self._skipped.is_in_doubt or self._skipped.may_have_all(pending, now)

    def repeat(self, now: float) -> list[Run]:
        """Ask once more for a block that a choke or a silence has left in doubt, if that is due: there is no other
        one."""
        key = self._skipped.take_repeated(now)
        pending = self._peer.wire.requests if key is None and self._skipped.wants_probe(now) else []
        if pending and (key := self._skipped.take_probe(pending)):
            self._peer.wire.give_up([key])
        if key is None:
            return []
        self._give_back([key])
        return self._picker.pick(self._peer, 1)

    def look(self, now: float) -> None:
        """Give up what a choke has left in doubt if that lasts. Else ask for more, even if nothing is answered: all
        that is pending may be dropped. To be called each second."""
        is_choking = self._peer.wire.peer_choking
        if not is_choking:
            self._give_up(self._skipped.take_passed_over(self._peer.wire.requests, now))
            self._peer.fill(now)
        elif self._is_choke_old and self._skipped.has_choked and not self._answers_choked:
            self._peer.withdraw()
            self._window.on_idle(now)
            self._scheduler.wake_idle()
        self._is_choke_old = is_choking

    def _give_up(self, dropped: list[RequestKey]) -> None:
        if dropped:
            self._peer.wire.give_up(dropped)
            self._give_back(dropped)
            self._window.on_dropped(self._picker.claimed_by(self._peer))

    def _give_back(self, requests: list[RequestKey]) -> None:
        for piece, offset, _ in requests:
            self._picker.give_back(self._peer, piece, offset // limits.BLOCK)
        if requests:
            self._scheduler.wake_idle()
