"""Where the redirects of a server have led, so that the next request goes there at once. Pure."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import NamedTuple

from geventbt import limits
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.url import URL


class Destination(NamedTuple):
    """Where a URL leads to.

    Attributes:
        url: what to ask for.
        policy: the rules that the redirects leave for its address.
    """

    url: URL
    policy: AddressPolicy


class RedirectMemory:
    """Remembers permanent redirects without end, and others for `limits.HTTP_REDIRECT_TIME` or until they fail. Of
    more than `limits.HTTP_REDIRECTS_KEPT` the oldest is forgotten."""

    def __init__(self) -> None:
        self._known: OrderedDict[URL, tuple[Destination, float]] = OrderedDict()

    def find(self, url: URL, now: float) -> Destination | None:
        """Where a URL has led.

        Args:
            url: the URL.
            now: seconds by any clock that only grows.
        """
        destination, ends = self._known.get(url, (None, 0.0))
        if destination is not None and now >= ends:
            del self._known[url]
            return None
        return destination

    def remember(self, url: URL, destination: Destination, now: float, *, is_permanent: bool) -> None:
        """Remember where a URL leads."""
        self._known[url] = destination, math.inf if is_permanent else now + limits.HTTP_REDIRECT_TIME
        self._known.move_to_end(url)
        if len(self._known) > limits.HTTP_REDIRECTS_KEPT:
            self._known.popitem(last=False)

    def failed(self, url: URL) -> bool:
        """Forget a redirect that has led to nothing, unless it is permanent. Returns whether it is forgotten."""
        _, ends = self._known.get(url, (None, math.inf))
        if ends == math.inf:
            return False
        del self._known[url]
        return True
