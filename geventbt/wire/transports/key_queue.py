"""The costly steps of encrypted openings, one at a time and in order: many untrusted peers at once must not hold the
hub up, nor keep others waiting behind those that have hung up or come from one address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gevent

from geventbt import limits
from geventbt.errors import HandshakeError
from geventbt.net.addresses import network_of

_PAUSE = 0.001
"""Seconds between two costly steps."""

_queues: WeakKeyDictionary[Any, KeyQueue] = WeakKeyDictionary()


class KeyQueue:
    """Connections that wait for the computation of their key; one for each hub, see `key_queue`.

    Each is known by an object of its own, which it leaves the queue with when it hangs up.
    """

    def __init__(self) -> None:
        self._waiting: dict[object, tuple[str, Callable[[], None]]] = {}
        self._of_network: Counter[str] = Counter()
        self._worker: gevent.Greenlet | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: object, host: str, compute: Callable[[], None]) -> None:
        """Have a step taken, soon.

        Args:
            key: the connection.
            host: the IP address that it comes from, or "".
            compute: the step; must not raise.

        Raises:
            HandshakeError: too many of this address, or altogether, are waiting.
        """
        network = network_of(host) if host else ""
        if len(self) >= limits.KEY_QUEUE or self._of_network[network] >= limits.KEYS_PER_ADDRESS:
            raise HandshakeError("too many encrypted openings at one time")
        self._waiting[key] = network, compute
        self._of_network[network] += 1
        if self._worker is None:
            self._worker = gevent.spawn(self._run)

    def discard(self, key: object) -> None:
        """Take no step for a connection that has ended."""
        network, _ = self._waiting.pop(key, (None, None))
        if network is not None:
            self._of_network[network] -= 1
            if not self._of_network[network]:
                del self._of_network[network]

    def _run(self) -> None:
        try:
            while self._waiting:
                # A timer, however short: sleep(0) returns up to ten times before the loop polls the sockets, and those
                # that have hung up are to leave first.
                gevent.sleep(_PAUSE)
                if self._waiting:
                    key, (_, compute) = next(iter(self._waiting.items()))
                    self.discard(key)
                    compute()
        finally:
            self._worker = None


def key_queue(hub: Any) -> KeyQueue:
    """The queue of a hub."""
    queue = _queues.get(hub)
    if queue is None:
        queue = _queues[hub] = KeyQueue()
    return queue
