"""What becomes of the senders of wrong data in one swarm: they are spared, banned or forgiven."""

from __future__ import annotations

from collections.abc import Set

from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.dialer import Dialer
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.client.swarm.reputation import Reputation
from geventbt.client.swarm.source import BlockSource


class SenderVerdicts:
    """Carries out what the `Verifier` finds; a `SenderJudge`.

    Args:
        reputation: of the peers.
        picker: knows who has what is missing.
        table: the peers that are connected.
        dialer: connects to peers that are forgiven.
    """

    __slots__ = ("_dialer", "_picker", "_reputation", "_table")

    def __init__(
        self, reputation: Reputation, picker: BlockPicker[BlockSource], table: PeerTable, dialer: Dialer
    ) -> None:
        self._reputation = reputation
        self._picker = picker
        self._table = table
        self._dialer = dialer

    def spares(self, sender: BlockSource, *, is_proven: bool = False) -> bool:
        """See `SenderJudge`. A web seed counts its own wrong pieces."""
        if sender.remote_address is None:
            return False
        others = (peer for peer in self._table if peer is not sender and not peer.closed)
        is_only_one = not any(map(self._picker.interesting, others))
        return self._reputation.spares(sender, is_only_one=is_only_one, is_proven=is_proven)

    def on_guilty(self, piece: int, guilty: Set[BlockSource]) -> None:
        """Ban sources, and close them; see `SenderJudge`."""
        self._reputation.ban(guilty)
        for source in guilty:
            source.convict(piece)
        # A peer may be back already, on another connection than the one on which it lied.
        banned = [peer for peer in self._table if self._reputation.refuses(peer.wire)]
        for peer in banned:
            peer.close()

    def on_forgiven(self, forgiven: Set[BlockSource]) -> None:
        """Take bans back; see `SenderJudge`."""
        self._reputation.forgive(forgiven)
        self._dialer.wake()
