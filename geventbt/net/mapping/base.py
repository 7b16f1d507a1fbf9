"""What every protocol of port mapping is asked for, and answers. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from geventbt.errors import GeventBTError

Transport: TypeAlias = Literal["tcp", "udp"]

OUTSIDE_IPV6 = "2001:db8::1"
"""An address of the internet, towards which we have the address that others know; nothing is sent there."""


class MappingFailed(GeventBTError):
    """The router did not map a port, or does not know the protocol."""


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A port of the router that leads to one of ours.

    Attributes:
        protocol: what it was asked by: "pcp", "nat-pmp" or "upnp".
        transport: "tcp" or "udp".
        port: ours.
        external_port: the router's; over IPv6 ours.
        external_host: the router's IP address on the other side, over IPv6 ours; None if it does not say.
        lifetime: seconds for which it holds, unless it is renewed; 0 for no end.
    """

    protocol: str
    transport: Transport
    port: int
    external_port: int
    external_host: str | None
    lifetime: float

    @property
    def is_ipv6(self) -> bool:
        """Whether it is of IPv6: a way through the router's firewall."""
        return ":" in (self.external_host or "")


class Router(Protocol):
    """One way to ask the router; its calls block for seconds at most."""

    @property
    def name(self) -> str:
        """The name of the protocol."""

    def map(self, transport: Transport, port: int, external_port: int) -> PortMapping:
        """Map a port, or renew its mapping.

        Args:
            transport: "tcp" or "udp".
            port: ours.
            external_port: the one of the router that is wanted; it may give another.

        Raises:
            MappingFailed: it does not.
        """

    def unmap(self, mapping: PortMapping) -> None:
        """Remove a mapping that `map` has returned. Raises: MappingFailed."""
