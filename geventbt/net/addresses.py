"""Addresses that untrusted parties name: their kinds, and which of them we may connect to (promise 11). Pure.

A server on the internet that could redirect us to an address of this machine or its network would make us its proxy
behind the firewall (server-side request forgery). A redirect must therefore stay with the kind of address it came from,
and nobody names a peer that is nearer to us than they are.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, TypeAlias

Address: TypeAlias = tuple[str, int]
"""A host as an IP address in its shortest form, and a port."""

_NAT64 = IPv6Network("64:ff9b::/96")
_THIS_NETWORK = IPv4Network("0.0.0.0/8")
_MAX_LENGTH = 64
"""Characters of an IP address with a zone."""


class AddressKind(Enum):
    """How far away an address is."""

    LOOPBACK = "loopback"
    """This machine."""
    LINK_LOCAL = "link-local"
    """This network segment, such as 169.254.169.254, where clouds keep their secrets."""
    PRIVATE = "private"
    """This organisation's network, a carrier's, or one set aside for a purpose."""
    PUBLIC = "public"
    """The internet."""
    MULTICAST = "multicast"
    """Many at once."""


class Scope(IntEnum):
    """From how far away an address can be reached; the wider the greater."""

    LOOPBACK = 0
    LOCAL = 1
    GLOBAL = 2


_SCOPES = {AddressKind.LOOPBACK: Scope.LOOPBACK, AddressKind.PUBLIC: Scope.GLOBAL}


def normalise(address: Any) -> Address | None:
    """The one form of an address, or None for what no peer can have.

    IPv4 addresses mapped into IPv6 become what they are, IPv6 ones are written in their shortest form, and what
    sockets tell of flow and scope is left out. No peer has a name, port 0, or an address that is multicast,
    unspecified, broadcast or reserved.

    Args:
        address: (host, port), or the longer tuple of a socket; of any types, as strangers made it.
    """
    if not isinstance(address, (tuple, list)) or len(address) < 2:
        return None
    host, port = address[:2]
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        return None
    known = _known_host(host)
    return None if known is None else (known[0], port)


def scope_of(host: Any) -> Scope:
    """The scope of an IP address: loopback, private and the like, or the internet. What is no address of a host, such
    as a name, is taken for the last."""
    known = _known_host(host)
    return Scope.GLOBAL if known is None else known[1]


def may_connect(address: Any, told_by: str | None) -> bool:
    """Whether to connect to an address, given who told of it.

    Nobody sends us to a place that is nearer to us than they are: a peer or tracker of the internet names only
    addresses of the internet, one of our own network also those of such networks, and only the user and programs of
    this machine name this machine. Otherwise a list of peers could reach what a firewall keeps to itself.

    Args:
        address: (host, port).
        told_by: the IP address of whoever told of it; its name is as good as an address of the internet. None is the
            user, who may name any peer.
    """
    known = normalise(address)
    return known is not None and (told_by is None or scope_of(told_by) <= scope_of(known[0]))


def kind_of(address: str) -> AddressKind:
    """The kind of an IPv4 or IPv6 address; of one that carries an IPv4 address within it (mapped, 6to4, NAT64), that
    one's.

    Raises:
        ValueError: the text is no IP address.
    """
    ip = _inner(ip_address(address))
    if ip.is_loopback or ip.is_unspecified or (ip.version == 4 and ip in _THIS_NETWORK):
        # To connect to 0.0.0.0 is to connect to this machine.
        return AddressKind.LOOPBACK
    if ip.is_multicast:
        return AddressKind.MULTICAST
    if ip.is_link_local:
        return AddressKind.LINK_LOCAL
    return AddressKind.PUBLIC if ip.is_global else AddressKind.PRIVATE


def _inner(ip: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    if isinstance(ip, IPv4Address):
        return ip
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def _known_host(host: Any) -> tuple[str, Scope] | None:
    return _parse_host(host) if isinstance(host, str) and len(host) <= _MAX_LENGTH else None


@lru_cache(maxsize=1024)
def _parse_host(host: str) -> tuple[str, Scope] | None:
    """The one form of a host, and its scope. Kept for a while, as each address is looked at several times."""
    try:
        ip = ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip.scope_id is not None and not ip.is_link_local:
            # A zone means something for link-local addresses only; elsewhere it makes many addresses of one.
            ip = IPv6Address(int(ip))
    return (str(ip), _scope(ip)) if _is_host(ip) else None


def _scope(ip: IPv4Address | IPv6Address) -> Scope:
    if isinstance(ip, IPv6Address) and ip.is_site_local:
        # An outlived kind; Python's versions differ about it.
        return Scope.LOCAL
    return _SCOPES.get(kind_of(str(ip)), Scope.LOCAL)


def _is_host(ip: IPv4Address | IPv6Address) -> bool:
    if ip.is_loopback:
        # The IPv6 one lies in a range that is reserved.
        return True
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return False
    return not (isinstance(ip, IPv4Address) and ip in _THIS_NETWORK)
