"""Which addresses a URL may lead to, and from which one. Pure.

A URL of a torrent, tracker or redirect is untrusted. Were it followed anywhere, a server of the internet could make us
ask the services of this machine and its network in its place (server-side request forgery).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from geventbt.errors import FetchError
from geventbt.net.addresses import AddressKind, kind_of
from geventbt.net.http.url import URL

_CLIMB = re.compile(r"(?:[/\\]|%2f|%5c)(?:\.|%2e){2}(?:[/\\;]|%2f|%5c|$)", re.IGNORECASE)
"""What leads out of the beginning of a path, as servers may read it."""


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Rules for the addresses that a URL may lead to.

    Attributes:
        family: only addresses of this family, such as AF_INET6; 0 for both.
        kind: only addresses of this kind, as where a redirect comes from one; None for all.
        loopback_paths: on this machine itself, only paths that begin with one of these; None for all.
        local_queries: whether a URL with a query may lead to an address that is not of the internet (libtorrent: not
            for the web seeds of torrents).
        source: our IP address to connect from; None for any.
    """

    family: int = 0
    kind: AddressKind | None = None
    loopback_paths: tuple[str, ...] | None = None
    local_queries: bool = True
    source: str | None = None

    def allows(self, address: str) -> bool:
        """Whether an IP address may be connected to."""
        return self.kind is None or kind_of(address) is self.kind

    @property
    def allows_name(self) -> bool:
        """Whether a proxy may look a name up and connect to it: a name counts as an address of the internet."""
        return self.kind in (None, AddressKind.PUBLIC)

    def check_request(self, url: URL, address: str) -> None:
        """Check what is asked for at the address that a connection leads to.

        Raises:
            FetchError: it may not be asked for there.
        """
        if not self.allows(address):
            raise self.refusal(url.origin.host)
        if not self._is_allowed_here(url.path) and kind_of(address) is AddressKind.LOOPBACK:
            raise FetchError(f"{url.origin.host}: this path is not fetched from this machine itself")
        if url.query and not self.local_queries and (kind := kind_of(address)) is not AddressKind.PUBLIC:
            raise FetchError(f"{url.origin.host}: a URL with a query is not fetched from a {kind.value} address")

    def refusal(self, host: str) -> FetchError:
        """The error for a host none of whose addresses is allowed."""
        kind = self.kind.value if self.kind else "any"
        return FetchError(f"{host}: a redirect from a {kind} address to another kind of address")

    def after(self, address: str | None) -> AddressPolicy:
        """The rules for a redirect that comes from an address, or from a name that a proxy has looked up: it stays with
        that kind of address."""
        return replace(self, kind=AddressKind.PUBLIC if address is None else kind_of(address))

    def _is_allowed_here(self, path: str) -> bool:
        return self.loopback_paths is None or (path.startswith(self.loopback_paths) and not _CLIMB.search(path))


ANY = AddressPolicy()
"""For the user's own URLs: only their redirects are held to the kind of address that they come from."""
UNTRUSTED = AddressPolicy(local_queries=False)
"""For the web seeds of a torrent and the sources of its metadata, which anyone may have written."""
