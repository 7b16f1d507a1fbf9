"""URLs as torrents and magnet links have them: which texts are URLs, and how one that is nearly a URL becomes one."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote, urlsplit, urlunsplit

_SAFE = "%/:?#[]@!$&'()*+,;=~"
"""The characters that have a meaning in a URL, and the sign that an escape begins with."""


def is_url(text: str) -> bool:
    """Whether a text could be a URL at all: a scheme, and printable ASCII without blanks, which can be taken apart."""
    if "://" not in text or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        urlsplit(text)
    except ValueError:
        # A bracket that is not that of an IPv6 address.
        return False
    return True


def escaped_url(text: str) -> str | None:
    """The same URL with blanks, and letters outside ASCII, escaped as a browser does (RFC 3987); None if the text is
    not a URL."""
    text = text.strip()
    if is_url(text):
        return text
    if "://" not in text or not text.isprintable():
        return None
    with suppress(ValueError):
        scheme, authority, path, query, fragment = urlsplit(text)
        # A UnicodeError is a ValueError: not a name that DNS could have.
        url = urlunsplit(
            (scheme, _escaped_authority(authority), *(quote(part, _SAFE) for part in (path, query, fragment)))
        )
        return url if is_url(url) else None
    return None


def _escaped_authority(authority: str) -> str:
    login, at, server = authority.rpartition("@")
    host, colon, port = server.partition(":")
    return quote(login, _SAFE) + at + (host if host.isascii() else host.encode("idna").decode()) + colon + port
