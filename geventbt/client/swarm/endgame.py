"""What an idle peer is asked for near the end of a download, when every missing block was asked of another."""

from __future__ import annotations

from geventbt import limits
from geventbt.client.pieces.open_pieces import Run
from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.source import BlockSource

_NEVER = float("inf")


class Endgame:
    """The endgame of one peer.

    First it takes over what slower peers have left to send, see `OpenPieces.take_over`. Later it is asked for what any
    others were asked for: most of what is late comes without its help in a moment.

    Args:
        peer: the peer.
        picker: knows who was asked for what.
    """

    __slots__ = ("_idle_since", "_peer", "_picker", "_takes_over_at")

    def __init__(self, peer: BlockSource, picker: BlockPicker[BlockSource]) -> None:
        self._peer = peer
        self._picker = picker
        self._idle_since = _NEVER
        self._takes_over_at = 0.0

    def joins(self, now: float) -> bool:
        """Whether the peer has been idle for long enough to be asked for what any others were asked for."""
        return self._picker.in_endgame and now - self._idle_since >= limits.ENDGAME_PATIENCE

    def take_over(self, blocks: int, now: float) -> list[Run]:
        """Claim blocks that slower peers were asked for, at most this number."""
        if now < self._takes_over_at:
            return []
        runs = self._picker.take_over(self._peer, blocks, lambda source: source.expected_rate(now))
        if not runs:
            self._takes_over_at = now + limits.ENDGAME_PATIENCE
        return runs

    def on_idle(self, now: float) -> None:
        """Note that there is nothing to request from the peer."""
        self._idle_since = min(self._idle_since, now)

    def on_new_blocks(self) -> None:
        """Note that there are blocks that were not to be fetched just now: however long the peer has been idle, the one
        that takes them first is given time before they are asked of others as well."""
        self._idle_since = _NEVER
