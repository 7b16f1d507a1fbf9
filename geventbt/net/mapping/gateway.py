"""The router that this machine sends to the internet by."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

GATEWAY_VARIABLE = "GEVENTBT_GATEWAY"
"""The environment variable that names the router to ask for ports, by its IPv4 address; none is asked when it is
empty."""

_ROUTES, _ROUTES_IPV6 = "/proc/net/route", "/proc/net/ipv6_route"
_USABLE, _IS_GATEWAY = 1, 2


class GatewayIPv6(NamedTuple):
    """A gateway of IPv6.

    Attributes:
        host: its IP address, with its device where it is one of the link, as in "fe80::1%eth0".
        device: by which it is reached.
    """

    host: str
    device: str


def named_gateway() -> str | None:
    """The router that the environment names: "" for none at all, None where it names nothing.

    Raises:
        ValueError: it is not an IPv4 address.
    """
    named = os.environ.get(GATEWAY_VARIABLE)
    if not named:
        return named
    try:
        return str(IPv4Address(named))
    except ValueError:
        raise ValueError(f"environment variable {GATEWAY_VARIABLE}: {named!r} is not an IPv4 address") from None


def default_gateway(device: str | None = None) -> str | None:
    """The IPv4 address of the default gateway.

    Args:
        device: only of this device; None for any.

    Returns:
        None where there is none, or where the system does not say: only Linux does.
    """
    try:
        with open(_ROUTES) as file:
            return parse_routes(file.read(), device)
    except OSError:
        return None


def default_gateway_ipv6(device: str | None = None) -> GatewayIPv6 | None:
    """The default gateway of IPv6; see `default_gateway`."""
    try:
        with open(_ROUTES_IPV6) as file:
            return parse_routes_ipv6(file.read(), device)
    except OSError:
        return None


def parse_routes_ipv6(table: str, device: str | None = None) -> GatewayIPv6 | None:
    """The gateway of the default route with the lowest metric in a table of IPv6 routes of Linux."""
    found: list[tuple[int, GatewayIPv6]] = []
    for line in table.splitlines():
        fields = line.split()
        try:
            prefix, gateway = int(fields[0] + fields[1], 16), IPv6Address(bytes.fromhex(fields[4]))
            metric, flags, name = int(fields[5], 16), int(fields[8], 16), fields[9]
        except (IndexError, ValueError):
            continue
        if not prefix and flags & _USABLE and flags & _IS_GATEWAY and device in (None, name):
            host = f"{gateway}%{name}" if gateway.is_link_local else str(gateway)
            found.append((metric, GatewayIPv6(host, name)))
    return min(found)[1] if found else None


def parse_routes(table: str, device: str | None = None) -> str | None:
    """The gateway of the default route with the lowest metric in a table of routes of Linux (proc(5))."""
    found: list[tuple[int, str]] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        try:
            name, destination, gateway, flags = fields[0], int(fields[1], 16), int(fields[2], 16), int(fields[3], 16)
            metric, mask = int(fields[6]), int(fields[7], 16)
        except (IndexError, ValueError):
            continue
        is_default = not destination and not mask and flags & _USABLE and flags & _IS_GATEWAY
        if is_default and device in (None, name):
            # In the byte order of the machine.
            found.append((metric, socket.inet_ntoa(struct.pack("=I", gateway))))
    return min(found)[1] if found else None
