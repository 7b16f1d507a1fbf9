"""The metadata of a magnet link from the URLs of its .torrent file (xs, as)."""

from __future__ import annotations

import logging

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.client.torrent.metadata import Metadata, is_of
from geventbt.concurrency.threads import in_thread
from geventbt.errors import FetchError, GeventBTError, MetainfoError
from geventbt.metainfo import Magnet, Torrent
from geventbt.net.http.fetch import fetch
from geventbt.net.http.policy import UNTRUSTED
from geventbt.net.http.url import without_login
from geventbt.net.network import Network

_log = logging.getLogger("geventbt")


class MetadataURLs:
    """Asks URLs for a .torrent file, one after another, and again after a pause.

    A link may come from anywhere: its URLs do not lead to this machine or its network with a query (see `UNTRUSTED`),
    and what they give is the torrent of the link or is not used.

    Args:
        source: the magnet link.
        network: opens the sockets.
        news: is set when each has been asked once.

    Attributes:
        is_pending: whether one of them has not been asked yet.
        failure: what the last one has failed by, or None.
    """

    def __init__(self, source: Torrent | Magnet, network: Network, news: Event) -> None:
        self._source = source
        self._network = network
        self._news = news
        self._urls = list(source.sources) if isinstance(source, Magnet) else []
        self.is_pending = bool(self._urls)
        self.failure: GeventBTError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is none left that may give it."""
        return not self._urls

    def fetch(self) -> Metadata | None:
        """Block until one has given the torrent.

        Returns:
            Its metadata; None when every one has given another torrent or something else.
        """
        pause = limits.METADATA_URL_RETRY
        while self._urls:
            for url in list(self._urls):
                metadata = self._ask(url)
                if metadata is not None:
                    return metadata
            self.is_pending = False
            self._news.set()
            if not self.is_empty:
                gevent.sleep(pause)
                pause = min(2 * pause, limits.MAX_METADATA_URL_RETRY)
        return None

    def _ask(self, url: str) -> Metadata | None:
        try:
            data = fetch(url, max_bytes=limits.TORRENT_FILE, policy=UNTRUSTED, network=self._network)
            # In a thread: a torrent may have hundreds of thousands of files.
            torrent = in_thread(Torrent.from_bytes, data)
            if is_of(self._source, torrent):
                return Metadata.of(torrent)
            self._failed(url, MetainfoError("it is another torrent"))
        except FetchError as error:
            self._failed(url, error)
            return None
        except MetainfoError as error:
            self._failed(url, error)
        # It will not be the right one another time.
        self._urls.remove(url)
        return None

    def _failed(self, url: str, error: GeventBTError) -> None:
        # A query may hold a key of the user's.
        _log.info("no metadata from %s: %s", without_login(url).partition("?")[0], error)
        self.failure = error
