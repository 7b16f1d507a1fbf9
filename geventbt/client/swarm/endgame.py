"""The endgame: every missing block was asked of some peer, and peers that run dry take over what others are slow with.

Theory. What is missing is here first when all peers are done at the same time, each with a share by its rate. So a peer
that runs dry takes the blocks that are expected last, one after the other, as long as each comes sooner so: list
scheduling, see `delivery.py`. The slow peer is asked for them still, and when one of the two delivers, the request to
the other is cancelled; as each sends in order, and they are the slow one's last, few are received twice.
"""

from __future__ import annotations

from collections.abc import Iterable

from geventbt import limits
from geventbt.client.pieces.delivery import Delivery
from geventbt.client.pieces.open_piece import Run
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.urgent_requests import UrgentSource

_GAIN = 1.1
"""A block is taken over where that makes the wait for it shorter by this factor."""
_INTERVAL = 0.01
"""Seconds from one look at what was asked for to the next, at the least."""
_COST = 2e-5
"""Likewise for each block that was asked for, of perhaps thousands: so that looks take a tenth of the time at most."""


class Endgame:
    """The endgame of one torrent.

    Args:
        picker: knows who was asked for what.
        sources: the peers. It is iterated each time.
    """

    def __init__(self, picker: BlockPicker[BlockSource], sources: Iterable[UrgentSource]) -> None:
        self._picker = picker
        self._sources = sources
        self._looked = self._next = 0.0
        # When each block is expected, the number of peers that were asked for it, and its place; the last first.
        self._expected: list[tuple[float, int, int, int]] = []

    def take_over(self, source: BlockSource, delivery: Delivery, now: float) -> list[Run]:
        """Claim blocks for a peer that others will deliver later. Peers that ask at one time share a look.

        Args:
            source: the peer, which is about to run dry.
            delivery: when it delivers what it is asked for now.
            now: the time.
        """
        if not self._picker.in_endgame or (now < self._next and now != self._looked):
            return []
        if now != self._looked:
            self._look(now)
        chosen: dict[int, list[int]] = {}
        time, left = delivery.first, delivery.room
        for expected, count, piece, block in self._expected:
            if not left or now + _GAIN * (time - now) > expected:
                break
            # A source that is not known yet, or was asked meanwhile, is not among those that were counted.
            if len(self._picker.shared_by(source, piece, block)) == count < limits.ENDGAME_CLAIMANTS:
                chosen.setdefault(piece, []).append(block)
                time, left = time + delivery.interval, left - 1
        claim = self._picker.urgent.claim
        return [run for piece, blocks in chosen.items() for run in claim(source, piece, sorted(blocks))]

    def _look(self, now: float) -> None:
        """Look when what was asked for will come."""
        times: dict[tuple[int, int], list[float]] = {}
        for source in self._sources:
            if source.out_of_turn.finishes(now) > now:
                for key, expected in source.out_of_turn.expected(now).items():
                    times.setdefault(key, []).append(expected)
        self._expected = sorted(((min(several), len(several), *key) for key, several in times.items()), reverse=True)
        self._looked, self._next = now, now + max(_INTERVAL, _COST * len(times))
