"""Which peers are unchoked: tit for tat while we download, fair turns while we seed, one optimistic slot (BEP 3). Pure.

There are a number of slots, and only interested peers take one.

- All slots except one go to the best peers: those that sent us most lately, while we download. When we seed, or where
  none sent anything, the slots go round as in libtorrent's `round_robin` (`choker.cpp`): a peer that has a slot keeps
  it, the fastest first, until it had its quota and its minute; then the one that has waited longest is preferred.
- While we download, two slots of five go by need, to those that have least. By tit for tat alone peers that are alike
  serve each other (Legout and others, "Clustering and sharing incentives in BitTorrent systems", 2007), and one with a
  slow uplink, which is nowhere among the best, is done long after all others. *Measured*, 24 uneven leechers: one of
  1 Mbit/s had a quarter of the pieces when most had everything; all were done at 1.74 times the bound, at 1.62 with it.
  What we have sent to a peer counts as had, so none is needy for long by telling of no piece.
- The last slot is optimistic: for 30 seconds it goes to the first peer of the rotation that has no slot and would get
  none otherwise, snubbed ones included. The rotation is then turned until that peer is the last, so each peer comes to
  the front in the end. As in the first client, a new peer is three times as likely to start at the front as elsewhere.
- A round every five seconds keeps peers from being choked and unchoked all the time (BEP 3: "fibrillation"). Between
  two rounds no peer is choked in favour of another; free slots are given away at once. A round comes early where
  nothing is left to send to those that have the slots: near the end they lack little, and others wait. *Measured*, 24
  uneven leechers, half of them libtorrent's: in the mean done after 28.8 s, and with rounds of ten seconds after 33.0;
  the others after 32.3 and 36.3.
"""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from geventbt import limits

_NEW_AT_FRONT = 3
"""How many times as likely a new peer starts at the front of the rotation as at another position (BEP 3)."""

_BY_NEED = 0.4
"""The part of the slots that go by need."""

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class PeerView(Generic[K]):
    """A peer as the choker sees it.

    Attributes:
        key: identifies the peer.
        interested: whether it is interested in our pieces.
        snubbed: whether it leaves our requests unanswered.
        down_rate: bytes a second that we received from it lately.
        up_rate: bytes a second that we sent to it lately.
        uploaded: all bytes that we sent to it.
        held: bytes of the torrent that it has, as far as we know.
    """

    key: K
    interested: bool
    snubbed: bool = False
    down_rate: float = 0.0
    up_rate: float = 0.0
    uploaded: int = 0
    held: int = 0


@dataclass(slots=True)
class _Turn:
    """A peer's present or last time in a slot: when it began, and the bytes that were sent to the peer before."""

    since: float = -math.inf
    uploaded: int = 0


class Choker(Generic[K]):
    """Decides which peers are unchoked. It remembers its decisions, so there is one for each set of slots.

    Args:
        slots: peers that may be unchoked at one time, the optimistic one included; None for no limit.
        quota: bytes after which a peer that sends us nothing makes room for waiting peers.
        rng: draws the position of a new peer in the optimistic rotation.

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
        """How many peers may be unchoked at one time, or None for no limit. A change applies from the next round on."""
        return self._slots

    @slots.setter
    def slots(self, slots: int | None) -> None:
        if slots is not None and slots < 0:
            raise ValueError(f"{slots} upload slots: must be 0 or more, or None for no limit")
        self._slots = slots

    @property
    def unchoked_count(self) -> int:
        """The number of peers that have a slot now."""
        return len(self._unchoked)

    def rechoke(self, peers: Sequence[PeerView[K]], now: float, *, seeding: bool) -> set[K]:
        """Decide anew; to be called every `limits.CHOKE_INTERVAL` seconds.

        Args:
            peers: all that are connected; any others are forgotten.
            now: seconds of a monotonic clock.
            seeding: whether we have all that we want, so that the rates at which peers send no longer count.

        Returns:
            The keys of those that are to be unchoked now; all others are to be choked.
        """
        views = {peer.key: peer for peer in peers}
        self._sync_peers(views)
        wanting = [views[key] for key in self._rotation if views[key].interested]
        slots = len(wanting) if self._slots is None else min(self._slots, len(wanting))
        best = [peer.key for peer in self._best(wanting, slots, now, seeding)]
        if not seeding:
            best = self._share_by_need(best, wanting, now)
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
        """Give free slots to the best waiting peers, and take none away; for the time between two rounds.

        Returns:
            The keys of those that are to be unchoked now, besides those that are unchoked already.
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
        """Note that a peer has become interested. Returns whether to unchoke it at once, as there is a free slot."""
        self.fill([peer], now, seeding=seeding)
        return peer.key in self._unchoked

    def release(self, key: K) -> bool:
        """Note that a peer is no longer interested, or has left: it is to be choked.

        Returns:
            Whether a slot became free, which `fill` may give to another.
        """
        if key not in self._unchoked:
            return False
        self._unchoked.remove(key)
        return True

    def _best(self, waiting: Iterable[PeerView[K]], count: int, now: float, seeding: bool) -> list[PeerView[K]]:
        """The best peers for `count` slots. A peer that snubs us gets none, except when we seed and request nothing."""
        contenders = [peer for peer in waiting if seeding or not peer.snubbed]
        return sorted(contenders, key=lambda peer: self._rank(peer, now, seeding))[:count]

    def _share_by_need(self, best: list[K], wanting: Sequence[PeerView[K]], now: float) -> list[K]:
        """Give a part of the slots to those that have least, behind the first of the best ones."""
        needy = int(_BY_NEED * len(best))
        kept = best[: len(best) - needy]
        others = [peer for peer in wanting if peer.key not in kept and not peer.snubbed]
        self._rng.shuffle(others)
        others.sort(key=lambda peer: (self._takes_nothing(peer, now), peer.held))
        return [*kept[:1], *(peer.key for peer in others[:needy]), *kept[1:]]

    def _takes_nothing(self, peer: PeerView[K], now: float) -> bool:
        """Whether it has a slot, and has been sent nothing since it was given it."""
        turn = self._turns[peer.key]
        return peer.key in self._unchoked and peer.uploaded == turn.uploaded and now > turn.since

    def _rank(self, peer: PeerView[K], now: float, seeding: bool) -> tuple[float, bool, float, float]:
        """The lower the better: bytes received, whether its turn is over, bytes sent, when its last turn began."""
        turn = self._turns[peer.key]
        received = 0.0 if seeding else peer.down_rate
        if peer.key not in self._unchoked:
            # Its upload rate is left over from an earlier turn.
            return -received, False, 0.0, turn.since
        had_enough = peer.uploaded - turn.uploaded >= self._quota and now - turn.since >= limits.UPLOAD_TURN
        return -received, had_enough, -peer.up_rate, turn.since

    def _unchoke(self, peer: PeerView[K], now: float) -> None:
        if peer.key not in self._unchoked:
            self._unchoked.add(peer.key)
            self._turns[peer.key] = _Turn(now, peer.uploaded)

    def _sync_peers(self, views: dict[K, PeerView[K]]) -> None:
        """Forget the peers that have left, and insert the new ones into the rotation."""
        self._turns = {key: self._turns.get(key) or _Turn() for key in views}
        self._rotation = [key for key in self._rotation if key in views]
        known = set(self._rotation)
        for key in [key for key in views if key not in known]:
            place = self._rng.randrange(1 - _NEW_AT_FRONT, len(self._rotation) + 1)
            self._rotation.insert(max(0, place), key)

    def _rotate(self, wanting: list[K], best: set[K], now: float) -> None:
        """Give the optimistic slot to the first peer that has none and would get none, and move that peer to the end.

        If there is no such peer, the slot stays where it is.
        """
        for key in wanting:
            if key not in best and key not in self._unchoked:
                place = self._rotation.index(key)
                self._rotation = self._rotation[place + 1 :] + self._rotation[: place + 1]
                self._optimistic, self._optimistic_since = key, now
                return
