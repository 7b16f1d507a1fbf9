"""The router that this machine sends to the internet by."""

from __future__ import annotations

import os
import socket
import struct
from ipaddress import IPv4Address

GATEWAY_VARIABLE = "GEVENTBT_GATEWAY"
"""The environment variable that names the router to ask for ports, by its IPv4 address; none is asked when it is
empty."""

_ROUTES = "/proc/net/route"
_USABLE, _IS_GATEWAY = 1, 2


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
