"""`OwnNodes`: our node of each address family, on one port, with what they keep from one run to the next."""

from __future__ import annotations

import logging
import os
from random import Random
from time import monotonic

import gevent

from geventbt import limits
from geventbt.discovery.dht.contacts import IPV4, IPV6, family_of
from geventbt.discovery.dht.driver import NodeDriver
from geventbt.discovery.dht.node import Node
from geventbt.discovery.dht.node_id import is_secure
from geventbt.discovery.dht.results import DHTStatus
from geventbt.discovery.dht.state import SavedNode, saved
from geventbt.discovery.dht.state_file import StateFile
from geventbt.net.datagrams import DatagramSocket
from geventbt.net.udp_port import UdpPort

_log = logging.getLogger("geventbt")


class OwnNodes:
    """Our nodes, which run until `close`.

    Args:
        udp: the port that they share.
        rng: makes their ids and tokens.
        state: the file that their state is kept in; None to keep none.
        read_only: they answer no queries (BEP 43).
        query_rate: queries a second at the most, of each.

    Attributes:
        drivers: of the node of each family: without IPv6 where the system has none.

    Raises:
        OSError: another node uses the port.
    """

    def __init__(
        self, udp: UdpPort, rng: Random, state: str | os.PathLike[str] | None, *, read_only: bool, query_rate: float
    ) -> None:
        self._udp = udp
        self._rng = rng
        self._read_only = read_only
        self._query_rate = query_rate
        self._state_file = None if state is None else StateFile(state)
        self._loaded = self._state_file.load() if self._state_file else {}
        try:
            self.drivers = self._bind()
        except OSError:
            if self._state_file is not None:
                self._state_file.close()
            raise
        if len(self.drivers) > 1:
            self.drivers[0].node.pair_with(self.drivers[1].node)

    def _bind(self) -> list[NodeDriver]:
        first, *others = self._udp.families
        drivers = [self._make(first)]
        try:
            drivers += [self._make(is_ipv6) for is_ipv6 in others]
        except OSError as error:
            _log.info("the DHT runs without IPv6: %s", error)
        return drivers

    def _make(self, is_ipv6: bool) -> NodeDriver:
        family = IPV6 if is_ipv6 else IPV4
        state = self._loaded.get(family)
        node = Node(
            family,
            rng=self._rng,
            now=monotonic(),
            node_id=_usable_id(state) if self._state_file and self._state_file.is_ours else None,
            own_host=state.host if state else None,
            read_only=self._read_only,
            query_rate=self._query_rate,
        )
        return NodeDriver(node, self._udp.open(is_ipv6=is_ipv6), self._udp.network)

    def begin(self) -> None:
        """Look for the nodes of the last run."""
        for driver in self.drivers:
            known = self._loaded.get(driver.node.family)
            driver.node.upkeep.begin(known.contacts if known else (), monotonic())
            driver.flush()

    def move(self, port: UdpPort) -> None:
        """Go on at another UDP port; see `DHT.move`."""
        drivers = [driver for driver in self.drivers if not driver.is_closed]
        sockets: list[DatagramSocket] = []
        try:
            for driver in drivers:
                sockets.append(port.open(is_ipv6=driver.node.family == IPV6))
        except OSError:
            for driver, socket in zip(drivers, sockets, strict=False):
                # It is closed, unless others use it.
                socket.leave(driver)
            raise
        for driver, socket in zip(drivers, sockets, strict=True):
            driver.move(socket)

    def for_host(self, host: str) -> NodeDriver | None:
        """The node of the family of an IP address; None where there is none."""
        return next((driver for driver in self.drivers if driver.node.family == family_of((host, 0))), None)

    def note_own_host(self, host: str) -> None:
        """Take our own IP address from a source that knows it; see `DHT.note_own_host`."""
        driver = self.for_host(host)
        if driver is not None:
            driver.node.note_own_host(host, monotonic())
            driver.flush()

    @property
    def is_ready(self) -> bool:
        """Whether either has nodes enough to find what there is."""
        return any(driver.node.upkeep.is_ready(monotonic()) for driver in self.drivers)

    @property
    def has_prospects(self) -> bool:
        """Whether searches may find anything: there are nodes, or the first ones are being looked for."""
        nodes = [driver.node for driver in self.drivers if not driver.is_closed]
        return any(len(node.table) or node.upkeep.is_starting for node in nodes)

    def status(self, searches: int) -> DHTStatus:
        """A snapshot of their state.

        Args:
            searches: how many go on.
        """
        now = monotonic()
        good = {driver.node.family: driver.node.table.good_count(now) for driver in self.drivers}
        hosts = {driver.node.family: driver.node.own_address.host for driver in self.drivers}
        counters = [driver.node.counters for driver in self.drivers]
        stores = [driver.node.responder for driver in self.drivers]
        return DHTStatus(
            port=self.drivers[0].port,
            is_ready=self.is_ready,
            nodes=good.get(IPV4, 0),
            nodes_ipv6=good.get(IPV6, 0),
            external_host=hosts.get(IPV4),
            external_host_ipv6=hosts.get(IPV6),
            searches=searches,
            queries=sum(known.queries for known in counters),
            replies=sum(known.replies for known in counters),
            answered=sum(known.answered for known in counters),
            dropped=sum(known.refused + known.malformed + known.unexpected for known in counters),
            torrents=sum(len(store.peers) for store in stores),
            items=sum(len(store.items) for store in stores),
        )

    def save_regularly(self) -> None:
        """Save the state now and then; a loop, which does not end unless nothing is kept."""
        while self._state_file is not None:
            gevent.sleep(limits.DHT_SAVE_INTERVAL)
            self._state_file.save(self._state())

    def _state(self) -> dict[int, SavedNode]:
        """The state to save. A family without good nodes, or that is not used, keeps that of the run before."""
        now = monotonic()
        state = dict(self._loaded)
        for node in (driver.node for driver in self.drivers):
            good = node.table.good_nodes(now)
            if good or node.family not in state:
                state[node.family] = saved(node.node_id, node.own_address.host, good)
        return state

    @property
    def is_closed(self) -> bool:
        """Whether they run no more."""
        return all(driver.is_closed for driver in self.drivers)

    def stop(self) -> None:
        """Stop: nothing is sent or received any more."""
        for driver in self.drivers:
            driver.close()

    def close(self) -> None:
        """Save the state, once they are stopped, and leave its file to others."""
        if self._state_file is not None:
            self._state_file.save(self._state())
            self._state_file.close()


def _usable_id(state: SavedNode | None) -> bytes | None:
    """The id of an earlier run, if it fits the address that we had then (BEP 42)."""
    if state is None or (state.host is not None and not is_secure(state.node_id, state.host)):
        return None
    return state.node_id
