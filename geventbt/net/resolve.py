"""Name resolution that does not block the hub: the only place in the package that looks up names.

Names are looked up in threads of our own. gevent has ten for the whole program: ten slow tasks of the program's own
there, or ten trackers whose name servers are dead, would hold up every peer. An IP address never goes to a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import gevent
from gevent import monkey
from gevent import socket as gevent_socket
from gevent.resolver.thread import Resolver

from geventbt import limits
from geventbt.concurrency.threads import NativeThreads
from geventbt.errors import FetchError
from geventbt.net.addresses import Address, is_host_name
from geventbt.net.text import clean_text

_GEVENTS_OWN = gevent_socket.getaddrinfo
_getaddrinfo = monkey.get_original("socket", "getaddrinfo")
_threads = NativeThreads(limits.LOOKUPS)

FAMILIES = (gevent_socket.AF_INET, gevent_socket.AF_INET6)
NameLookup: TypeAlias = Callable[[str], list[str]]
"""Looks up the IP addresses of a name in another way than the system does; blocks. Raises: FetchError, it has none."""


class Endpoint(NamedTuple):
    """An address family, and the address that `connect` of a socket of that family takes; or AF_UNSPEC, and a name
    that a proxy looks up."""

    family: int
    sockaddr: tuple[Any, ...]

    @property
    def is_name(self) -> bool:
        """Whether it is a name that a proxy is to look up."""
        return self.family == gevent_socket.AF_UNSPEC

    @property
    def host(self) -> str:
        """The IP address, or the name."""
        return str(self.sockaddr[0])

    @property
    def address(self) -> Address:
        """The IP address, or the name, and port."""
        return self.host, int(self.sockaddr[1])


def resolve(
    host: str,
    port: int,
    *,
    family: int = 0,
    datagram: bool = False,
    by_proxy: bool = False,
    names: NameLookup | None = None,
) -> list[Endpoint]:
    """Look up a name, or take an IP address as it is.

    Args:
        host: the name or IP address.
        port: the port of the endpoints; 0 where only the addresses matter.
        family: only addresses of this family; 0 for both.
        datagram: whether they are for UDP.
        by_proxy: do not look a name up: a proxy will.
        names: looks it up; None for the resolver of the system.

    Returns:
        At least one endpoint, and at most `limits.HTTP_ADDRESSES`, in the order to try them in.

    Raises:
        FetchError: there is no such name, or it has no address of this family.
    """
    kind = gevent_socket.SOCK_DGRAM if datagram else gevent_socket.SOCK_STREAM
    try:
        found = _look_up(host, port, family, kind, names, by_proxy=by_proxy)
    except FetchError:
        raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not the name of a host"
        raise FetchError(f"{clean_text(host)}: {reason}") from None
    families = (*FAMILIES, gevent_socket.AF_UNSPEC)
    endpoints = dict.fromkeys(Endpoint(int(item[0]), item[4]) for item in found if item[0] in families)
    if not endpoints:
        raise FetchError(f"{clean_text(host)}: no address of this family")
    return list(endpoints)[: limits.HTTP_ADDRESSES]


def _look_up(host: str, port: int, family: int, kind: int, names: NameLookup | None, *, by_proxy: bool) -> Any:
    if not host.isprintable() or host == "*":
        # The system's resolver reads "localhost\0.example.org" up to the NUL, and "*" as this machine.
        raise UnicodeError("characters that no name has")
    name = host.encode("idna")
    try:
        return _getaddrinfo(name, port, family, kind, 0, gevent_socket.AI_NUMERICHOST)
    except OSError:
        pass
    if not is_host_name(name.decode("ascii")):
        # Neither a lookup nor a thread for what is not a name.
        raise UnicodeError("not a name")
    if by_proxy:
        return [(gevent_socket.AF_UNSPEC, kind, 0, "", (name.decode("ascii"), port))]
    if names is not None:
        found = names(name.decode("ascii"))
        every = [_getaddrinfo(address, port, 0, kind, 0, gevent_socket.AI_NUMERICHOST)[0] for address in found]
        return [item for item in every if family in (0, item[0])]
    look_up = gevent_socket.getaddrinfo
    if look_up is _GEVENTS_OWN and isinstance(gevent.get_hub().resolver, Resolver):
        return _threads.call(_getaddrinfo, name, port, family, kind)
    # The program has put another in the place of gevent's own resolver or function.
    return look_up(host, port, family, kind)
