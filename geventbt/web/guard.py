"""What comes before every answer: which names we are called by, which pages may ask, and who has logged in.

A browser sends requests of any page to any server that it reaches, among them one on loopback:

- A name that its owner lets point to 127.0.0.1 makes us a part of his own site (DNS rebinding; CVE-2018-5702 of
  Transmission). So only our own names are answered to: IP addresses, localhost, and those of the configuration.
- A form or image of another site acts with the login of the user (CSRF). So what another site sends is refused, by what
  the browser says of its origin; and what changes anything needs a token that another site cannot read (`Token`).
- Without a login only this machine is answered to.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from geventbt.net.addresses import plain_host
from geventbt.web.login_check import LoginCheck
from geventbt.web.passwords import Login
from geventbt.web.wsgi import Environ, StartResponse, WSGIApp, answer_text

_OURS = ("localhost", "localhost.")
_NAVIGATION = "navigate"
_FROM_HERE = ("same-origin", "none")
_REALM = 'Basic realm="geventbt", charset="UTF-8"'


class _Refusal(NamedTuple):
    """The answer to a request that is not let through."""

    code: int
    text: str
    headers: tuple[tuple[str, str], ...] = ()


class Guard:
    """A WSGI app that lets through to another one only what is safe.

    Args:
        app: the other one.
        login: the user and password that clients must give; None for none, and then only this machine is answered to.
        hosts: names, without ports, that we may be called by beside IP addresses and localhost; for a server behind a
            proxy those of the proxy.

    Attributes:
        login: see above.
        check: checks the login; None if there is none.
    """

    def __init__(self, app: WSGIApp, *, login: Login | None = None, hosts: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in (*hosts, *_OURS))
        self.login = login
        self.check = None if login is None else LoginCheck(login)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        refusal = self._refusal(environ)
        if refusal is None:
            return self._app(environ, start_response)
        return answer_text(environ, start_response, refusal.code, refusal.text, *refusal.headers)

    def _refusal(self, environ: Environ) -> _Refusal | None:
        """What a request is refused with; None if it is let through."""
        host = environ.get("HTTP_HOST", "")
        if not host:
            return _Refusal(400, "the request has no Host header")
        if not self._is_ours(host):
            return _Refusal(421, f"this server is not called {host[:100]!r}; add the name to its hosts")
        if not _is_from_here(environ, host):
            return _Refusal(403, "requests of other sites are refused")
        # A Unix socket has no address, and only this machine reaches it.
        address = environ.get("REMOTE_ADDR") or "127.0.0.1"
        if self.check is not None:
            return _login_refusal(self.check, environ, address)
        if not is_loopback(address):
            return _Refusal(403, "without a password only this machine is answered to; configure a login")
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (name in self._hosts or _address(name) is not None)


class Token:
    """A secret of this process that requests which change something must have in a header.

    Another site can neither read it nor set the header. A request without it is answered with 409 and the token, as in
    Transmission's protocol: a page that was open when the server was started again goes on.

    Args:
        header: the name of the header.
    """

    def __init__(self, header: str) -> None:
        self.header = header
        self.value = secrets.token_urlsafe(32)

    def is_in(self, environ: Environ) -> bool:
        """Whether a request has it."""
        given = environ.get(f"HTTP_{self.header.upper().replace('-', '_')}", "")
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.value.encode())


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself and nothing else, by its address or as "localhost"."""
    address = _address(host)
    return host.lower() in _OURS if address is None else address.is_loopback


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(plain_host(host))
    except ValueError:
        return None


def _login_refusal(check: LoginCheck, environ: Environ, address: str) -> _Refusal | None:
    pause = check.refused_for(address)
    if pause:
        return _Refusal(429, "too many wrong logins", (("Retry-After", str(math.ceil(pause))),))
    header = environ.get("HTTP_AUTHORIZATION")
    if header is not None and check.is_right(header, address):
        return None
    return _Refusal(401, "a user and password are needed", (("WWW-Authenticate", _REALM),))


def _place_of(origin: str) -> str | None:
    """The host and port of an origin; None if it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _is_from_here(environ: Environ, host: str) -> bool:
    """Whether a request comes from our own pages, or from no page at all, by what a browser says of it."""
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and _place_of(origin) != host.lower():
        return False
    site = environ.get("HTTP_SEC_FETCH_SITE")
    # A link on another page may lead here.
    is_link = environ["REQUEST_METHOD"] == "GET" and environ.get("HTTP_SEC_FETCH_MODE") == _NAVIGATION
    return site is None or site in _FROM_HERE or is_link
