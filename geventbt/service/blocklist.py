"""`Blocklist`: the IP addresses that a session leaves alone, as a list that is fetched from a URL and kept."""

from __future__ import annotations

import logging
import os
from io import BytesIO
from pathlib import Path

from geventbt import limits
from geventbt.client.client import Client
from geventbt.concurrency.replace_file import replace_file
from geventbt.concurrency.threads import in_thread
from geventbt.net.http.fetch import fetch
from geventbt.net.http.policy import AddressPolicy
from geventbt.net.http.url import without_login
from geventbt.net.ip_filter import IPFilter
from geventbt.net.ip_ranges import read_ip_file, read_ip_filter
from geventbt.net.text import clean_text

_log = logging.getLogger("geventbt")


class Blocklist:
    """The IP filter of a client, as far as a session changes it.

    Args:
        client: the client.
        kept: the file for the list, from one run to the next; None to keep it in memory alone.
        configured: the file that the client's filter was read from, where its owner has chosen one: then that is the
            list, and no other takes its place.

    Attributes:
        configured: see above.
        size: the ranges of the list.
    """

    def __init__(self, client: Client, kept: Path | None, configured: str | None) -> None:
        self._client = client
        self._kept = kept
        self._filter = IPFilter()
        self._is_on = False
        self.configured = configured

    @property
    def size(self) -> int:
        """The number of ranges of the list."""
        return len(self._filter)

    def restore(self) -> None:
        """Read the list of the last run. One that cannot be read is logged, and as if there were none."""
        path = self.configured or self._kept
        if path is not None and os.path.exists(path):
            try:
                self._filter = in_thread(read_ip_filter, path)
            except (OSError, ValueError) as error:
                _log.error("the blocklist cannot be read: %s", clean_text(str(error)))

    def set_on(self, is_on: bool) -> None:
        """Have the client keep to it, or not."""
        if is_on != self._is_on and self.configured is None:
            self._is_on = is_on
            self._client.set_ip_filter(self._filter if is_on else ())

    def update(self, url: str, policy: AddressPolicy) -> None:
        """Fetch the list, or read the configured file again, and leave the peers that it blocks.

        Args:
            url: of the list.
            policy: which addresses the URL may lead to.

        Raises:
            FetchError: it cannot be fetched.
            ValueError: it has no ranges.
            OSError: the file cannot be read or written.
        """
        if self.configured is not None:
            self.read_configured()
            return
        data = fetch(
            url,
            timeout=limits.BLOCKLIST_TIMEOUT,
            max_bytes=limits.BLOCKLIST,
            policy=policy,
            network=self._client.network,
        )
        self._filter = in_thread(_keep, data, self._kept, without_login(url))
        if self._is_on:
            self._client.set_ip_filter(self._filter)

    def read_configured(self) -> None:
        """Read the configured file again, if there is one, and leave the peers that it blocks.

        Raises:
            ValueError: it has no ranges.
            OSError: it cannot be read.
        """
        if self.configured is not None:
            self._filter = in_thread(read_ip_filter, self.configured)
            self._client.set_ip_filter(self._filter)


def _keep(data: bytes, path: Path | None, name: str) -> IPFilter:
    """Read a list, and put it in the place of the last one if it is one."""
    found = read_ip_file(BytesIO(data), name)
    if path is not None:
        replace_file(path, data, mode=0o600)
    return found
