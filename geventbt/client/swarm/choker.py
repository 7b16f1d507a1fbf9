"""Which peers are unchoked: tit for tat while we download, fair turns while we seed, one optimistic slot (BEP 3). Pure.

There are a number of slots, and only interested peers take one.

- All slots but one go to the best: those that sent us most lately, while we download. When we seed, or where none gave
  anything, the slots go round as in libtorrent's `round_robin` (`choker.cpp`): a peer that has a slot keeps it, the
  fastest first, until it had its quota and its minute; then the one that has waited longest comes before it.
- The last slot is optimistic: for 30 seconds it goes to the first of a list of all peers that has none and would get
  none otherwise, snubbed ones included. The list is then turned until that one is the last, so everyone comes to its
  front in the end. As in the first client, a new peer is put at its front three times as often as at any other place.
- A round every ten seconds keeps peers from being choked and unchoked all the time (BEP 3: "fibrillation"). Between two
  rounds nobody is choked for another; free slots are given away at once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from geventbt import limits

_NEW_AT_FRONT = 3
"""How much likelier a new peer starts at the front of the rotation than at any other place (BEP 3)."""


K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class PeerView(Generic[K]):
    """What the choker knows of a peer.

    Attributes:
        key: stands for the peer.
        interested: whether it wants anything of us.
        snubbed: whether it leaves our requests unanswered.
        down_rate: bytes a second that we received from it lately.
        up_rate: bytes a second that it received from us lately.
        uploaded: all bytes that it received from us.
    """

    key: K
    interested: bool
    snubbed: bool = False
    down_rate: float = 0.0
    up_rate: float = 0.0
    uploaded: int = 0


@dataclass(slots=True)
class _Turn:
    """Since when a peer has its slot, or had its last one, and what it had taken before."""

    since: float = -math.inf
    uploaded: int = 0


class Choker(Generic[K]):
    """Decides which peers are unchoked. It remembers what it decided, so there is one for each set of slots.

    Args:
        slots: peers that may be unchoked at one time, the optimistic one included; None for no bound.
        quota: bytes after which a peer that gives us nothing makes room for those that wait.
        rng: where new peers start in the optimistic rotation.

    Raises:
        ValueError: for a negative number of slots.
    """

    def __init__(
        self,
        slots: int | None = limits.UPLOAD_SLOTS,
        *,
        quota: int = limits.UPLOAD_QUOTA,
        rng: random.Random | None = None,
    ) -> None:
        self.slots = slots
        self._quota = quota
        self._rng = rng or random.Random()
        self._turns: dict[K, _Turn] = {}
        self._unchoked: set[K] = set()
        self._rotation: list[K] = []
        self._optimistic: K | None = None
        self._optimistic_since = -math.inf

    @property
    def slots(self) -> int | None:
        """How many may be unchoked at one time, or None for no bound. A change holds from the next round on."""
        return self._slots

    @slots.setter
    def slots(self, slots: int | None) -> None:
        if slots is not None and slots < 0:
            raise ValueError(f"{slots} upload slots: must be 0 or more, or None for no bound")
        self._slots = slots

    @property
    def unchoked_count(self) -> int:
        """The number of peers that have a slot now."""
        return len(self._unchoked)

    def rechoke(self, peers: Sequence[PeerView[K]], now: float, *, seeding: bool) -> set[K]:
        """Decide anew; to be called every `limits.CHOKE_INTERVAL` seconds.

        Args:
            peers: all that are connected; whoever is not among them is forgotten.
            now: seconds of a monotonic clock.
            seeding: whether we have all that we want, so that what peers give no longer counts.

        Returns:
            The keys of those that are to be unchoked now; all others are to be choked.
        """
        views = {peer.key: peer for peer in peers}
        self._sync_peers(views)
        wanting = [views[key] for key in self._rotation if views[key].interested]
        slots = len(wanting) if self._slots is None else min(self._slots, len(wanting))
        best = [peer.key for peer in self._best(wanting, slots, now, seeding)]
        if self._optimistic not in views or not views[self._optimistic].interested:
            self._optimistic = None
        if self._optimistic is None or now - self._optimistic_since >= limits.OPTIMISTIC_INTERVAL:
            self._rotate([peer.key for peer in wanting], set(best[: max(0, slots - 1)]), now)
        chosen = set() if self._optimistic is None or not slots else {self._optimistic}
        chosen.update([key for key in best if key not in chosen][: slots - len(chosen)])
        self._unchoked &= chosen
        for key in chosen:
            self._unchoke(views[key], now)
        return chosen

    def fill(self, peers: Iterable[PeerView[K]], now: float, *, seeding: bool) -> set[K]:
        """Give free slots to the best of those that wait, and take none from anyone; for the time between two rounds.

        Returns:
            The keys of those that are to be unchoked now, beside those that are unchoked already.
        """
        waiting = []
        for peer in peers:
            self._turns.setdefault(peer.key, _Turn())
            if peer.interested and peer.key not in self._unchoked:
                waiting.append(peer)
        free = len(waiting) if self._slots is None else max(0, self._slots - self.unchoked_count)
        chosen = self._best(waiting, free, now, seeding)
        for peer in chosen:
            self._unchoke(peer, now)
        return {peer.key for peer in chosen}

    def on_interest(self, peer: PeerView[K], now: float, *, seeding: bool) -> bool:
        """Note that a peer has become interested: whether it is to be unchoked at once, as there is a free slot."""
        self.fill([peer], now, seeding=seeding)
        return peer.key in self._unchoked

    def release(self, key: K) -> bool:
        """Note that a peer is not interested any more, or has left: it is to be choked.

        Returns:
            Whether a slot became free, which `fill` may give to another.
        """
        if key not in self._unchoked:
            return False
        self._unchoked.remove(key)
        return True

    def _best(self, waiting: Iterable[PeerView[K]], count: int, now: float, seeding: bool) -> list[PeerView[K]]:
        """Those that have earned a slot; who snubs us has not, but a seed has no requests to be snubbed with."""
        contenders = [peer for peer in waiting if seeding or not peer.snubbed]
        return sorted(contenders, key=lambda peer: self._rank(peer, now, seeding))[:count]

    def _rank(self, peer: PeerView[K], now: float, seeding: bool) -> tuple[float, bool, float, float]:
        """The lower the better: what it gave, whether its turn is over, what it takes, when its last turn began."""
        turn = self._turns[peer.key]
        given = 0.0 if seeding else peer.down_rate
        if peer.key not in self._unchoked:
            # What it takes is the rest of an earlier turn.
            return -given, False, 0.0, turn.since
        had_enough = peer.uploaded - turn.uploaded >= self._quota and now - turn.since >= limits.UPLOAD_TURN
        return -given, had_enough, -peer.up_rate, turn.since

    def _unchoke(self, peer: PeerView[K], now: float) -> None:
        if peer.key not in self._unchoked:
            self._unchoked.add(peer.key)
            self._turns[peer.key] = _Turn(now, peer.uploaded)

    def _sync_peers(self, views: dict[K, PeerView[K]]) -> None:
        """Forget who has left, and put who is new somewhere into the rotation."""
        self._turns = {key: self._turns.get(key) or _Turn() for key in views}
        self._rotation = [key for key in self._rotation if key in views]
        known = set(self._rotation)
        for key in [key for key in views if key not in known]:
            place = self._rng.randrange(1 - _NEW_AT_FRONT, len(self._rotation) + 1)
            self._rotation.insert(max(0, place), key)

    def _rotate(self, wanting: list[K], best: set[K], now: float) -> None:
        """Give the optimistic slot to the first that has none and would get none, and put it at the rotation's end.

        If there is no such peer, whoever has it keeps it.
        """
        for key in wanting:
            if key not in best and key not in self._unchoked:
                place = self._rotation.index(key)
                self._rotation = self._rotation[place + 1 :] + self._rotation[: place + 1]
                self._optimistic, self._optimistic_since = key, now
                return
