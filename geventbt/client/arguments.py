"""Arguments of `Client`, its methods and `download`: what a user means by them, checked."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable

import geventbt
from geventbt.arguments import check_instances, check_paths, several
from geventbt.errors import FetchError, MetainfoError
from geventbt.metainfo import Magnet, Torrent
from geventbt.metainfo.magnet import link_of_hash
from geventbt.metainfo.urls import escaped_url
from geventbt.net.http.url import parse_url, without_login
from geventbt.net.ip_ranges import IPRanges
from geventbt.net.network import Network


def read_source(torrent: Torrent | Magnet | str | os.PathLike[str]) -> Torrent | Magnet:
    """The torrent or magnet link that a user means.

    Raises:
        MetainfoError: it is not one.
        TypeError: it has another type.
        OSError: the file cannot be read.
    """
    if isinstance(torrent, (Torrent, Magnet)):
        return torrent
    check_paths(torrent=torrent)
    text = torrent if isinstance(torrent, str) else ""
    if text.lower().startswith("magnet:"):
        return Magnet.from_string(text)
    if text.lower().startswith(("http://", "https://")):
        raise MetainfoError(f"{without_login(text)}: cannot be fetched here; pass what it has to Torrent.from_bytes")
    link = link_of_hash(text)
    return Magnet.from_string(link) if link and not os.path.exists(text) else Torrent.from_file(torrent)


def checked_urls(urls: Iterable[str]) -> tuple[str, ...]:
    """URLs of web seeds that a user names.

    Raises:
        ValueError: one of them is not a URL of HTTP.
        TypeError: it is one text.
    """
    checked_urls = []
    for url in several(urls, "web_seeds"):
        escaped = escaped_url(url)
        try:
            parse_url(escaped or url)
        except FetchError as error:
            raise ValueError(f"web seed {without_login(url)!r}: {error}") from error
        checked_urls.append(escaped or url)
    return tuple(checked_urls)


def checked_network(
    network: Network | None,
    proxy: str | None,
    interface: str | None,
    ip_filter: IPRanges | None,
    dht: bool | geventbt.DHT,
) -> Network:
    """The network that a client is to use.

    Raises:
        ValueError: not the URL of a proxy, or not ranges; both a network and others; or the node of the DHT that is
            handed in goes past the proxy or interface.
        OSError: there is no such interface, or the file of ranges cannot be read.
    """
    if network is None:
        network = Network(proxy=proxy, interface=interface, ip_filter=ip_filter)
    elif proxy is not None or interface is not None or ip_filter is not None:
        raise ValueError("proxy, interface and ip_filter are those of the network, where one is given")
    check_instances(Network, network=network)
    check_dht(dht)
    if not isinstance(dht, bool) and dht.network is not network and not network.is_default:
        raise ValueError("the DHT goes past the proxy or interface of the client: make both with the same network=")
    return network


def check_dht(dht: bool | geventbt.DHT) -> None:
    """Raise TypeError for what is neither True, False nor a node."""
    if not isinstance(dht, bool) and not isinstance(dht, geventbt.DHT):
        raise TypeError(f"dht={dht!r}: True, False or a geventbt.DHT is expected")


def renamed(old: str, old_value: bool | None, new: str, value: bool) -> bool:
    """The value of an argument that may still be given by its old name, in a call of the function that calls this."""
    if old_value is None:
        return value
    warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=3)
    return old_value
