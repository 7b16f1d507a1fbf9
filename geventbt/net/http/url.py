"""URLs that are fetched: taken apart, checked, and followed to where a redirect leads. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from geventbt import limits
from geventbt.errors import FetchError
from geventbt.net.text import clean_text

_PORTS = {"http": 80, "https": 443}
_TO_ESCAPE = re.compile("[ \x80-\xff]")
"""What servers write into the Location of a redirect although no URL may have it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A server as URLs name it: what one connection is for.

    Attributes:
        scheme: "http" or "https".
        host: a name in lower case, or an IP address without brackets.
        port: the port.
    """

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host, and the port where it is not the scheme's own, as they stand in a URL and in ``Host``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


@dataclass(frozen=True, slots=True)
class URL:
    """A URL that can be fetched. As a text it is without its login, and safe to show.

    Attributes:
        origin: the server.
        path: from the first slash on.
        query: without its question mark.
        authorization: the value of ``Authorization`` that stands for the login in the URL; "" without one.
    """

    origin: Origin
    path: str
    query: str = ""
    authorization: str = field(default="", repr=False)

    @property
    def target(self) -> str:
        """What the request line asks for: the path with the query."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def parse_url(text: str) -> URL:
    """Take a URL apart that is good for a request line: http or https, with a host, and no character that could end
    the line. Its fragment is left out.

    Raises:
        FetchError: it is not.
    """
    if len(text) > limits.URL:
        raise FetchError(f"a URL of {len(text)} characters: at most {limits.URL} are allowed")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise FetchError("not a URL: it has spaces, control characters or characters outside ASCII")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise FetchError(f"not a URL: {clean_text(str(error))}") from None
    if parts.scheme not in _PORTS:
        raise FetchError(f"cannot fetch a URL with the scheme {clean_text(parts.scheme)!r}: only http and https")
    if not parts.hostname or port == 0:
        raise FetchError("not a URL that can be fetched: it has no host, or port 0")
    origin = Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])
    return URL(origin, parts.path or "/", parts.query, _authorization(parts.netloc))


def redirected(url: URL, location: str) -> URL:
    """The URL that a redirect leads to, relative to the one it comes from. A login goes along to the same origin only.

    Args:
        url: the one that was asked for.
        location: the value of ``Location``, with each byte outside ASCII as one character.

    Raises:
        FetchError: it leads nowhere, or from HTTPS to HTTP.
    """
    if not location:
        raise FetchError("a redirect without a location")
    try:
        text = urljoin(str(url), _TO_ESCAPE.sub(lambda sign: f"%{ord(sign[0]):02X}", location))
    except ValueError:
        raise FetchError("a redirect to something that is not a URL") from None
    target = parse_url(text)
    if url.origin.scheme == "https" and target.origin.scheme != "https":
        raise FetchError("a redirect from HTTPS to HTTP")
    if target.origin == url.origin and not target.authorization:
        return replace(target, authorization=url.authorization)
    return target


def without_login(text: str) -> str:
    """A URL of any scheme as it may be shown: without the user name and password that may be in it."""
    scheme, separator, rest = text.partition("://")
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return scheme + separator + rest[authority.rfind("@") + 1 :] if separator else text


def _authorization(netloc: str) -> str:
    """Basic authentication (RFC 7617) by the login in front of a host."""
    login, _, _ = netloc.rpartition("@")
    if not login:
        return ""
    user, _, password = login.partition(":")
    return "Basic " + b64encode(unquote_to_bytes(user) + b":" + unquote_to_bytes(password)).decode("ascii")
