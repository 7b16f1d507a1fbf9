"""Where a node of the DHT finds its first nodes: those that the user names, and the routers."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from time import monotonic

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.concurrency.greenlets import spawn
from geventbt.discovery.dht.driver import NodeDriver
from geventbt.errors import GeventBTError
from geventbt.net.addresses import Address, normalise, parse_address
from geventbt.net.network import Network
from geventbt.net.text import clean_text

_log = logging.getLogger("geventbt")

ROUTERS = (
    ("dht.libtorrent.org", 25401),
    ("dht.transmissionbt.com", 6881),
    ("router.bittorrent.com", 6881),
    ("router.utorrent.com", 6881),
)
"""Public nodes that name other nodes to a node that starts."""

ROUTERS_VARIABLE = "GEVENTBT_DHT_ROUTERS"
"""The environment variable that names other ones, or none."""


class FirstNodes:
    """Looks up the names of nodes, and tells the nodes of both families of them.

    Args:
        drivers: of our nodes.
        is_used: set once the DHT is asked for something; routers are spared until then, or for a while.
        routers: (host, port) of nodes that are asked for others where no others are known.
        network: looks the names up.
    """

    def __init__(
        self, drivers: Sequence[NodeDriver], is_used: Event, routers: Sequence[Address], network: Network
    ) -> None:
        self._drivers = drivers
        self._is_used = is_used
        self._routers = routers
        self._network = network

    def find(self, nodes: Iterable[Address]) -> None:
        """Look up the names of some nodes; while none of them answers, look up those of the routers now and then."""
        for address in nodes:
            self.add(self._resolved(address))
        self._is_used.wait(limits.DHT_IDLE_START)
        wait = limits.DHT_ROUTERS_AFTER
        while self._routers:
            if any(driver.node.upkeep.wants_routers(monotonic()) for driver in self._drivers):
                self._ask_routers()
                self.expect(False)
            gevent.sleep(wait)
            self.expect(False)
            wait = min(2 * wait, limits.MAX_DHT_BOOTSTRAP_RETRY)
        self.expect(False)

    def _ask_routers(self) -> None:
        looking = [spawn(f"DHT router {router[0]}", self._resolved, router) for router in self._routers]
        try:
            with gevent.iwait(looking) as found:
                for greenlet in found:
                    self.add(greenlet.value or [], are_routers=True)
        finally:
            gevent.killall(looking, block=False)

    def expect(self, expects_nodes: bool) -> None:
        """Say whether first nodes may still be found."""
        for driver in self._drivers:
            driver.node.upkeep.set_expects_nodes(expects_nodes, monotonic())
            driver.flush()

    def add(self, addresses: Iterable[Address], *, are_routers: bool = False) -> None:
        """Learn of the nodes at some addresses."""
        known = list(addresses)
        for driver in self._drivers:
            driver.node.add_addresses(known, monotonic(), are_routers=are_routers)
            driver.flush()

    def add_by_name(self, address: Address) -> None:
        """Look up a name, and learn of the nodes behind it."""
        self.add(self._resolved(address))

    def _resolved(self, address: Address) -> list[Address]:
        """The IP addresses behind a name; none where it leads nowhere, or only a proxy could look it up."""
        known = normalise(address)
        if known is not None:
            return [known]
        try:
            found = self._network.resolve(*address, datagram=True)
        except GeventBTError as error:
            _log.info("the DHT node %s:%s cannot be found: %s", clean_text(address[0]), address[1], error)
            return []
        return [(endpoint.host, address[1]) for endpoint in found if not endpoint.is_name]


def usual_routers() -> list[Address]:
    """The public routers, or those that the environment names.

    Raises:
        ValueError: it names something that is not HOST:PORT.
    """
    named = os.environ.get(ROUTERS_VARIABLE)
    if named is None:
        return list(ROUTERS)
    found: list[Address] = []
    for word in named.split():
        address = parse_address(word)
        if address is None or not address[0]:
            raise ValueError(f"environment variable {ROUTERS_VARIABLE}: {word!r} is not HOST:PORT")
        found.append(address)
    return found
