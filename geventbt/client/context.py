"""What all torrents of a client share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from time import monotonic

import gevent
from gevent.lock import BoundedSemaphore

from geventbt import limits
from geventbt.client.peers.connect_limiter import ConnectGate
from geventbt.peer_id import new_peer_id
from geventbt.rates.throttle import Throttle
from geventbt.rates.token_bucket import RateLimit, take_units

_PATIENCE = 0.2
"""Seconds after which a torrent that has not asked again for its share does not want it any more."""


class Session:
    """Identity, limits and policy.

    Args:
        encryption: "prefer", "require" or "disable"; see `geventbt.connect`.
        upload_slots: peers of a torrent that are unchoked at one time, or None for no bound.
        max_connections: connections of all torrents together.
        limit_down, limit_up: bytes a second of all torrents together, or None.
        count_connections: how many there are now.

    Attributes:
        peer_id: ours, the same for all torrents.
        port: where we listen, or None.
        gate: lets connections be opened, not too many at once.
        down: the rate at which blocks are asked for.
        up: the rate at which blocks are sent.
        checking: held while the data of a torrent is checked: one at a time, or the checks of several would keep the
            native threads from those that are downloaded.
    """

    def __init__(
        self,
        *,
        encryption: str,
        upload_slots: int | None,
        max_connections: int,
        limit_down: int | None,
        limit_up: int | None,
        count_connections: Callable[[], int],
    ) -> None:
        self._hub = gevent.get_hub()
        self.peer_id = new_peer_id()
        self.port: int | None = None
        self.encryption = encryption
        self.upload_slots = upload_slots
        self.max_connections = max_connections
        self.gate = ConnectGate()
        self.down = RateLimit(limit_down, monotonic())
        self.up = Throttle(limit_up)
        self.checking = BoundedSemaphore(1)
        self._count_connections = count_connections
        self._waiting: dict[Hashable, float] = {}

    def check_thread(self) -> None:
        """Raise RuntimeError in any native thread but the one that made the client, whose hub runs its greenlets."""
        if gevent.get_hub() is not self._hub:
            raise RuntimeError("a client and its torrents can only be used in the native thread that made the client")

    def has_room(self) -> bool:
        """Whether there may be one more connection."""
        return self._count_connections() < self.max_connections

    def take_down(self, torrent: Hashable, own: RateLimit, blocks: int, now: float) -> int:
        """How many of so many blocks a torrent may ask for, by its own rate and by that of all.

        Torrents that wait for the rate of all take turns: else one whose blocks come in all the time takes each bit of
        it before another that asks now and then.
        """
        chain = (own, self.down)
        if self.down.rate is None:
            return take_units(chain, blocks, limits.BLOCK, now)
        taken = take_units(chain, blocks, limits.BLOCK, now) if self._is_turn_of(torrent, now) else 0
        there = own.available(now)
        if not taken and blocks and (there is None or there >= limits.BLOCK):
            self._waiting[torrent] = now
        else:
            self._waiting.pop(torrent, None)
        return taken

    def _is_turn_of(self, torrent: Hashable, now: float) -> bool:
        """Whether nobody has waited longer. Whoever asks no more has left the queue."""
        for first, asked in list(self._waiting.items()):
            if first is torrent or now - asked < _PATIENCE:
                return first is torrent
            del self._waiting[first]
        return True

    def set_limits(self, down: int | None, up: int | None) -> None:
        """Set the rates, in bytes a second; None for no limit."""
        self.down.set_rate(down, monotonic())
        self.up.rate = up
