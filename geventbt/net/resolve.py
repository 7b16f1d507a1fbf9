"""From names to addresses, within a deadline and over both address families, without holding up the hub.

Names are looked up in threads of our own. gevent has ten for all of the program, and even a connection to a bare IP
address takes its turn there: ten trackers whose name servers are dead would hold up every peer.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import gevent
from gevent import monkey
from gevent import socket as gevent_socket
from gevent.resolver.thread import Resolver
from gevent.threadpool import ThreadPool

from geventbt import limits
from geventbt.errors import TrackerError

T = TypeVar("T")

_getaddrinfo = monkey.get_original("socket", "getaddrinfo")
_resolvers: weakref.WeakKeyDictionary[Any, Resolver] = weakref.WeakKeyDictionary()

FAMILIES = (gevent_socket.AF_INET, gevent_socket.AF_INET6)


class Endpoint(NamedTuple):
    """Where to connect to: an address family and what `connect` of a socket of that family takes."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The IP address."""
        return str(self.sockaddr[0])


@contextmanager
def deadline(seconds: float, text: str) -> Iterator[None]:
    """Let the block take so many seconds, all that it waits for together.

    Raises:
        TrackerError: with this text, when it takes longer. A `gevent.Timeout` of anybody else passes through.
    """
    timer = gevent.Timeout.start_new(seconds)
    try:
        yield
    except gevent.Timeout as fired:
        if fired is not timer:
            raise
        raise TrackerError(text) from None
    finally:
        timer.close()


def resolve(host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
    """Look up a name, or an IP address: at least one address, and at most `limits.HTTP_ADDRESSES`.

    Args:
        host: the name.
        port: goes into the endpoints.
        family: only addresses of this family; 0 for both.
        datagram: whether they are for UDP.

    Raises:
        TrackerError: there is no such name.
    """
    kind = gevent_socket.SOCK_DGRAM if datagram else gevent_socket.SOCK_STREAM
    try:
        found = _look_up(host, port, family, kind)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name"
        raise TrackerError(f"{host}: {reason}") from None
    endpoints = dict.fromkeys(Endpoint(int(item[0]), item[4]) for item in found if item[0] in FAMILIES)
    if not endpoints:
        raise TrackerError(f"{host}: no address of that family")
    return list(endpoints)[: limits.HTTP_ADDRESSES]


def _look_up(host: str, port: int, family: int, kind: int) -> Any:
    # A name that cannot be one is found out here, for gevent prints what a thread raises.
    name = host.encode("idna")
    try:
        return _getaddrinfo(name, port, family, kind, 0, gevent_socket.AI_NUMERICHOST)
    except OSError:
        return _resolver().getaddrinfo(name, port, family, kind)


def _resolver() -> Any:
    """gevent's own way to look up names, with other threads; or the one that the program has chosen in its place."""
    hub = gevent.get_hub()
    if not isinstance(hub.resolver, Resolver):
        return hub.resolver
    resolver = _resolvers.get(hub)
    if resolver is None:
        resolver = _resolvers[hub] = Resolver(hub)
        resolver.pool = ThreadPool(limits.LOOKUPS, hub=hub)
    return resolver


def over_families(families: Sequence[int], ask: Callable[[int], T]) -> list[T]:
    """Ask the same over several address families, side by side, for a tracker counts us in each (BEP 7).

    The first answer is waited for; those over the other families then have `limits.SECOND_FAMILY` more.

    Args:
        families: at least one.
        ask: called with each family, on a greenlet of its own; returns the answer or raises TrackerError.

    Returns:
        The answers there are, at least one, in the order of the families.

    Raises:
        TrackerError: there is none; with the texts of all the errors.
    """
    if len(families) == 1:
        return [ask(families[0])]
    outcomes: dict[int, T | TrackerError] = {}
    asking = [gevent.spawn(_ask, ask, family, outcomes) for family in families]
    try:
        with gevent.iwait(asking) as finished:
            for _ in finished:
                if any(not isinstance(outcome, TrackerError) for outcome in outcomes.values()):
                    break
        gevent.joinall(asking, timeout=limits.SECOND_FAMILY)
    finally:
        gevent.killall(asking, block=False)
    ordered = [outcomes[family] for family in families if family in outcomes]
    answers = [outcome for outcome in ordered if not isinstance(outcome, TrackerError)]
    if not answers:
        raise _all_of([outcome for outcome in ordered if isinstance(outcome, TrackerError)])
    return answers


def _ask(ask: Callable[[int], T], family: int, outcomes: dict[int, T | TrackerError]) -> None:
    try:
        outcomes[family] = ask(family)
    except TrackerError as error:
        outcomes[family] = error


def _all_of(errors: Sequence[TrackerError]) -> TrackerError:
    waits = [error.retry_in for error in errors if error.retry_in is not None]
    text = "; ".join(dict.fromkeys(str(error) for error in errors))
    return TrackerError(text or "no answer", retry_in=max(waits) if waits else None)
