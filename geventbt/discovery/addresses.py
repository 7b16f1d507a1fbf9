"""Kinds of IP addresses: what lies where, so that nobody outside makes us fetch from inside.

A server on the internet that could redirect us to an address of this machine or its network would make us its proxy
behind the firewall (server-side request forgery). A redirect must therefore stay with the kind of address it came from.
"""

from __future__ import annotations

import ipaddress
from enum import Enum

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")


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


def kind_of(address: str) -> AddressKind:
    """The kind of an IPv4 or IPv6 address; of one that carries an IPv4 address within it (mapped, 6to4, NAT64), that
    one's.

    Raises:
        ValueError: the text is no IP address.
    """
    ip = _inner(ipaddress.ip_address(address))
    if ip.is_loopback or ip.is_unspecified or (ip.version == 4 and ip in THIS_NETWORK):
        # To connect to 0.0.0.0 is to connect to this machine.
        return AddressKind.LOOPBACK
    if ip.is_multicast:
        return AddressKind.MULTICAST
    if ip.is_link_local:
        return AddressKind.LINK_LOCAL
    return AddressKind.PUBLIC if ip.is_global else AddressKind.PRIVATE


def _inner(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip
