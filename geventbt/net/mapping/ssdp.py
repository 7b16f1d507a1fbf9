"""SSDP as bytes: finds the routers of UPnP in the local network (UPnP Device Architecture 1.1, 1.3). Pure."""

from __future__ import annotations

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.addresses import Scope, scope_of
from geventbt.net.http.head import parse_head
from geventbt.net.http.url import URL, parse_url

GROUP = ("239.255.255.250", 1900)
MX = 2
"""Seconds within which devices answer."""
_TARGETS = (
    "urn:schemas-upnp-org:device:InternetGatewayDevice:1",
    "urn:schemas-upnp-org:device:InternetGatewayDevice:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)


def pack_searches() -> list[bytes]:
    """The datagrams that ask routers to answer."""
    return [
        (
            f'M-SEARCH * HTTP/1.1\r\nHOST: {GROUP[0]}:{GROUP[1]}\r\nMAN: "ssdp:discover"\r\nMX: {MX}\r\n'
            f"ST: {target}\r\n\r\n"
        ).encode("ascii")
        for target in _TARGETS
    ]


def parse_answer(data: bytes, sender: str, gateway: str | None) -> URL | None:
    """Where the description of a router is; None for anything else.

    An answer is untrusted: it leads nowhere but to the host that it came from, which is the gateway or is near.

    Args:
        data: the datagram.
        sender: the IP address that it came from.
        gateway: the IP address of our gateway, if it is known.
    """
    if len(data) > limits.UPNP_DATAGRAM or (sender != gateway and scope_of(sender) is Scope.GLOBAL):
        return None
    try:
        head = parse_head(data)
        url = parse_url(head.headers.get("location", "").strip())
    except FetchError:
        return None
    is_router = any(head.headers.get("st", "").strip().startswith(target[:-2]) for target in _TARGETS)
    if head.status != 200 or not is_router or url.origin.scheme != "http" or url.origin.host != sender:
        return None
    return url
