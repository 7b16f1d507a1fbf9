"""Opens a TCP connection to whichever of the addresses of a server answers first (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

import gevent
from gevent.queue import Empty, Queue

from geventbt.net.network import Network
from geventbt.net.resolve import Endpoint


def connect_first(endpoints: Sequence[Endpoint], delay: float, network: Network) -> tuple[Any, Endpoint]:
    """Try endpoints one after another, the next one as soon as one fails or is silent for a while, until one accepts.

    Args:
        endpoints: at least one, in the order to try them in.
        delay: seconds without an answer after which the next one is tried as well.
        network: opens the sockets.

    Returns:
        The connected socket, and its endpoint.

    Raises:
        OSError: every one has failed; the first one's error.
    """
    if len(endpoints) == 1:
        return network.connect(endpoints[0]), endpoints[0]
    outcomes: Queue = Queue()
    attempts: list[gevent.Greenlet] = []
    failures: dict[Endpoint, OSError] = {}
    try:
        for endpoint in endpoints:
            attempts.append(gevent.spawn(_attempt, endpoint, network, outcomes))
            is_last = endpoint is endpoints[-1]
            while len(failures) < len(attempts):
                try:
                    answered, outcome = outcomes.get(timeout=None if is_last else delay)
                except Empty:
                    break
                if not isinstance(outcome, OSError):
                    return outcome, answered
                failures[answered] = outcome
        raise failures[endpoints[0]]
    finally:
        gevent.killall(attempts)
        _close_late(outcomes)


def interleaved(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """The endpoints with the families taking turns, the first one's first."""
    first = [endpoint for endpoint in endpoints if endpoint.family == endpoints[0].family]
    other = [endpoint for endpoint in endpoints if endpoint.family != endpoints[0].family]
    return [endpoint for endpoint in chain.from_iterable(zip_longest(first, other)) if endpoint is not None]


def _attempt(endpoint: Endpoint, network: Network, outcomes: Queue) -> None:
    try:
        outcomes.put((endpoint, network.connect(endpoint)))
    except OSError as error:
        outcomes.put((endpoint, error))


def _close_late(outcomes: Queue) -> None:
    """Close the connections that were opened behind the first one. (The first one was taken out.)"""
    while not outcomes.empty():
        outcome = outcomes.get_nowait()[1]
        if not isinstance(outcome, OSError):
            outcome.close()
