"""What may still become of a download: whether peers are left, and whether they have what is missing."""

from __future__ import annotations

from geventbt.client.pieces.picker import BlockPicker
from geventbt.client.swarm.admission import Admission
from geventbt.client.swarm.peer_table import PeerTable
from geventbt.client.swarm.source import BlockSource
from geventbt.client.swarm.verifier import Verifier
from geventbt.client.swarm.web_seeds import WebSeeds


class SwarmProspects:
    """The prospects of one swarm; a `Prospects`.

    Args:
        picker: what is missing.
        verifier: knows the pieces that were wrong.
        table: the peers that are connected.
        admission: connects to others.
        web_seeds: of the torrent.
    """

    __slots__ = ("_admission", "_picker", "_table", "_verifier", "_web_seeds")

    def __init__(
        self,
        picker: BlockPicker[BlockSource],
        verifier: Verifier,
        table: PeerTable,
        admission: Admission,
        web_seeds: WebSeeds,
    ) -> None:
        self._picker = picker
        self._verifier = verifier
        self._table = table
        self._admission = admission
        self._web_seeds = web_seeds

    @property
    def seeding(self) -> bool:
        """Whether nothing is missing that we want."""
        return self._picker.done

    @property
    def broken(self) -> set[int]:
        """The wanted pieces that were wrong from every source: no peer that is connected is left to ask for them."""
        picker = self._picker
        return {piece for piece in self._verifier.failed if picker.priority(piece) and not picker.availability(piece)}

    @property
    def is_stuck(self) -> bool:
        """Whether all that is missing is broken, although there are peers, and no other peer can be tried, now or
        later."""
        if not len(self._table) or self._picker.missing > len(self.broken):
            return False
        return not self._admission.dialer.has_candidates()

    def is_alone(self, failures: int) -> bool:
        """Whether no peer is connected, none is left to connect to, see `KnownPeers.is_exhausted`, and no web seed can
        be counted on."""
        if len(self._table) or not self._web_seeds.is_hopeless:
            return False
        return self._admission.dialer.is_exhausted(failures)

    @property
    def last_failure(self) -> Exception | None:
        """Why the last connection was closed, or else could not be made."""
        return self._admission.last_failure
