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
_INTERVAL = 0.05
"""Seconds in which blocks are looked for once at the most, and by one peer: it may be thousands of blocks."""


class Endgame:
    """The endgame of one torrent.

    Args:
        picker: knows who was asked for what.
        sources: the peers. It is iterated each time.
    """

    def __init__(self, picker: BlockPicker[BlockSource], sources: Iterable[UrgentSource]) -> None:
        self._picker = picker
        self._sources = sources
        self._next = 0.0

    def take_over(self, source: BlockSource, delivery: Delivery, now: float) -> list[Run]:
        """Claim blocks for a peer that others will deliver later.

        Args:
            source: the peer, which is about to run dry.
            delivery: when it delivers what it is asked for now.
            now: the time.
        """
        if now < self._next or not self._picker.in_endgame:
            return []
        self._next = now + _INTERVAL
        chosen: dict[int, list[int]] = {}
        time, left = delivery.first, delivery.room
        for expected, piece, block in self._late_blocks(source, now + _GAIN * (time - now), now):
            if not left or now + _GAIN * (time - now) > expected:
                break
            chosen.setdefault(piece, []).append(block)
            time, left = time + delivery.interval, left - 1
        claim = self._picker.urgent.claim
        return [run for piece, blocks in chosen.items() for run in claim(source, piece, sorted(blocks))]

    def _late_blocks(self, source: BlockSource, after: float, now: float) -> list[tuple[float, int, int]]:
        """(expected, piece, block) of what others deliver later and the source may be asked for, the last first."""
        times: dict[tuple[int, int], list[float]] = {}
        for other in self._sources:
            if other is not source and other.out_of_turn.finishes(now) > after:
                for key, expected in other.out_of_turn.expected(now).items():
                    times.setdefault(key, []).append(expected)
        late = []
        for (piece, block), several in times.items():
            claimants = self._picker.shared_by(source, piece, block)
            # A source that delivers in time is not among those that were looked at.
            if len(claimants) == len(several) < limits.ENDGAME_CLAIMANTS and min(several) > after:
                late.append((min(several), piece, block))
        return sorted(late, reverse=True)
