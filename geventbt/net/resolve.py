"""Name resolution that does not block the hub: the only place in the package that looks up names.

Names are looked up in threads of our own. gevent has ten for the whole program: ten slow tasks of the program's own
there, or ten trackers whose name servers are dead, would hold up every peer. An IP address never goes to a thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import gevent
from gevent import monkey
from gevent import socket as gevent_socket
from gevent.resolver.thread import Resolver

from geventbt import limits
from geventbt.concurrency.threads import NativeThreads
from geventbt.errors import FetchError
from geventbt.net.addresses import Address

_getaddrinfo = monkey.get_original("socket", "getaddrinfo")
_threads = NativeThreads(limits.LOOKUPS)

FAMILIES = (gevent_socket.AF_INET, gevent_socket.AF_INET6)


class Endpoint(NamedTuple):
    """An address family, and the address that `connect` of a socket of that family takes."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def host(self) -> str:
        """The IP address."""
        return str(self.sockaddr[0])

    @property
    def address(self) -> Address:
        """The IP address and port."""
        return self.host, int(self.sockaddr[1])


def resolve(host: str, port: int, *, family: int = 0, datagram: bool = False) -> list[Endpoint]:
    """Look up a name, or take an IP address as it is.

    Args:
        host: the name or IP address.
        port: the port of the endpoints; 0 where only the addresses matter.
        family: only addresses of this family; 0 for both.
        datagram: whether they are for UDP.

    Returns:
        At least one endpoint, and at most `limits.HTTP_ADDRESSES`, in the order to try them in.

    Raises:
        FetchError: there is no such name, or it has no address of this family.
    """
    kind = gevent_socket.SOCK_DGRAM if datagram else gevent_socket.SOCK_STREAM
    try:
        found = _look_up(host, port, family, kind)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not the name of a host"
        raise FetchError(f"{host}: {reason}") from None
    endpoints = dict.fromkeys(Endpoint(int(item[0]), item[4]) for item in found if item[0] in FAMILIES)
    if not endpoints:
        raise FetchError(f"{host}: no address of this family")
    return list(endpoints)[: limits.HTTP_ADDRESSES]


def _look_up(host: str, port: int, family: int, kind: int) -> Any:
    # What cannot be a name fails here, not in a thread.
    name = host.encode("idna")
    try:
        return _getaddrinfo(name, port, family, kind, 0, gevent_socket.AI_NUMERICHOST)
    except OSError:
        pass
    resolver = gevent.get_hub().resolver
    if isinstance(resolver, Resolver):
        return _threads.call(_getaddrinfo, name, port, family, kind)
    # The program has chosen another in place of gevent's own way.
    return resolver.getaddrinfo(name, port, family, kind)
