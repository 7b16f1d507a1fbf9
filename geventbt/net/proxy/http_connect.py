"""CONNECT of an HTTP proxy as bytes (RFC 9110, 9.3.6). Pure. See `geventbt.net.proxy.socks` for what it yields."""

from __future__ import annotations

import errno
from base64 import b64encode

from geventbt import limits
from geventbt.errors import FetchError, ProxyError
from geventbt.net.addresses import Address, address_text
from geventbt.net.http.head import parse_head
from geventbt.net.proxy.socks import Steps
from geventbt.net.proxy.url import ProxyURL

_LOGIN_WANTED = 407
_BAD_GATEWAY, _GATEWAY_TIMEOUT = 502, 504
_UNAVAILABLE = 503


def tunnel(proxy: ProxyURL, target: Address) -> Steps:
    """Ask for a tunnel.

    Args:
        proxy: has the login.
        target: (IP address or name, port) to connect to.

    Returns:
        The target.

    Raises:
        ProxyError: the proxy refuses, or what it says is not HTTP.
        OSError: it cannot connect to the target.
    """
    authority = address_text(target)
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.user or proxy.password:
        login = b64encode(proxy.user + b":" + proxy.password).decode("ascii")
        lines.append(f"Proxy-Authorization: Basic {login}")
    yield "\r\n".join([*lines, "", ""]).encode("ascii", "replace")
    # Byte by byte: what comes behind the head is of the tunnel.
    head = bytearray()
    while not head.endswith((b"\r\n\r\n", b"\n\n")):
        if len(head) >= limits.HTTP_HEAD:
            raise ProxyError(f"the proxy {proxy}: the head of its answer is longer than {limits.HTTP_HEAD} bytes")
        head += yield 1
    try:
        status = parse_head(bytes(head)).status
    except FetchError as error:
        raise ProxyError(f"the proxy {proxy}: {error}") from None
    if 200 <= status < 300:
        return target
    if status == _LOGIN_WANTED:
        raise ProxyError(f"the proxy {proxy} wants a login, or another one")
    if status in (_BAD_GATEWAY, _UNAVAILABLE, _GATEWAY_TIMEOUT):
        raise OSError(errno.EHOSTUNREACH, f"the proxy could not connect: {status}")
    raise ProxyError(f"the proxy {proxy} refuses {authority}: {status}")
