"""SSDP as bytes: finds the routers of UPnP in the local network (UPnP Device Architecture 1.1, 1.3 and A.3). Pure."""

from __future__ import annotations

from typing import NamedTuple

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.addresses import Address, Scope, network_of, scope_of
from geventbt.net.http.head import parse_head
from geventbt.net.http.url import URL, Origin, parse_url

MX = 2
"""Seconds within which devices answer."""
_SCHEMA = "urn:schemas-upnp-org:"


class Search(NamedTuple):
    """What is looked for.

    Attributes:
        group: where.
        targets: the devices and services, one of which a router says that it has.
    """

    group: Address
    targets: tuple[str, ...]

    def pack(self) -> list[bytes]:
        """The datagrams that ask routers to answer."""
        host = Origin("http", *self.group).authority
        return [
            (
                f'M-SEARCH * HTTP/1.1\r\nHOST: {host}\r\nMAN: "ssdp:discover"\r\nMX: {MX}\r\n'
                f"ST: {_SCHEMA}{target}\r\n\r\n"
            ).encode("ascii")
            for target in self.targets
        ]

    def parse_answer(self, data: bytes, sender: str, near: str) -> URL | None:
        """Where the description of a router is; None for anything else.

        An answer is untrusted: it leads nowhere but to the host that it came from, which is not of the internet, or is
        in the same network as we are.

        Args:
            data: the datagram.
            sender: the IP address that it came from.
            near: an IP address of that network: of our gateway over IPv4, our own over IPv6; "" if none is known.
        """
        is_near = scope_of(sender) is not Scope.GLOBAL or (near and network_of(sender) == network_of(near))
        if len(data) > limits.UPNP_DATAGRAM or not is_near:
            return None
        try:
            head = parse_head(data)
            url = parse_url(head.headers.get("location", "").strip())
        except FetchError:
            return None
        target = head.headers.get("st", "").strip()
        # Any version.
        is_router = any(target.startswith(f"{_SCHEMA}{wanted[:-1]}") for wanted in self.targets)
        if head.status != 200 or not is_router or url.origin.scheme != "http" or url.origin.host != sender:
            return None
        return url


PORTS = Search(
    ("239.255.255.250", 1900),
    (
        "device:InternetGatewayDevice:1",
        "device:InternetGatewayDevice:2",
        "service:WANIPConnection:1",
        "service:WANPPPConnection:1",
    ),
)
"""Routers that map ports, over IPv4."""

PINHOLES = Search(("ff02::c", 1900), ("device:InternetGatewayDevice:2", "service:WANIPv6FirewallControl:1"))
"""Routers that open their firewall for us, over IPv6."""
