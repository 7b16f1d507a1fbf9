"""`ProxyURL`: where a proxy is, and how to log in. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes, urlsplit

from geventbt import limits
from geventbt.net.addresses import is_port

SOCKS5, HTTP = "socks5", "http"
_SCHEMES = {"socks5": (SOCKS5, 1080), "socks5h": (SOCKS5, 1080), "http": (HTTP, 8080)}
"""The kind of proxy that a scheme means, and its usual port."""


@dataclass(frozen=True, slots=True)
class ProxyURL:
    """A proxy. As a text it is without its login, and safe to show.

    Attributes:
        kind: "socks5" or "http".
        host: a name, or an IP address without brackets.
        port: the port.
        user, password: the login; both empty without one.
    """

    kind: str
    host: str
    port: int
    user: bytes = field(default=b"", repr=False)
    password: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.kind}://{host}:{self.port}"


def parse_proxy(text: str) -> ProxyURL:
    """Take the URL of a proxy apart: ``socks5://user:password@host:port`` or ``http://...``; characters with a meaning
    in URLs are escaped in user and password.

    Raises:
        ValueError: it is not one. The text is not in the message, as it may hold a password.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("not the URL of a proxy: socks5://host:port or http://host:port") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError("not the URL of a proxy: it must begin with socks5:// or http://")
    if not parts.hostname or not parts.hostname.isprintable() or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("not the URL of a proxy: only a host and a port are wanted")
    kind, usual = _SCHEMES[parts.scheme]
    if port is None:
        port = usual
    if not is_port(port):
        raise ValueError("not the URL of a proxy: the port must be from 1 to 65535")
    user, password = unquote_to_bytes(parts.username or ""), unquote_to_bytes(parts.password or "")
    if max(len(user), len(password)) > limits.PROXY_LOGIN:
        raise ValueError(f"user and password of a proxy have at most {limits.PROXY_LOGIN} bytes")
    return ProxyURL(kind, parts.hostname, port, user, password)
