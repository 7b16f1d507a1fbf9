"""`DHT`: a node of the DHT whose calls block, as all others here do (BEP 5, 32, 33, 42, 43, 44, 51)."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any
from weakref import WeakSet

import gevent
from gevent.event import Event

from geventbt import limits
from geventbt.arguments import (
    check_counts,
    check_flags,
    check_instances,
    check_paths,
    check_rates,
    check_seconds,
    check_texts,
    given,
)
from geventbt.concurrency.greenlets import spawn
from geventbt.concurrency.hubs import is_current
from geventbt.discovery.announce_queue import AnnounceQueue
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.call import Call
from geventbt.discovery.dht.contacts import IPV6
from geventbt.discovery.dht.first_nodes import FirstNodes, usual_routers
from geventbt.discovery.dht.found_peers import FoundPeers
from geventbt.discovery.dht.goals import Announce, CountPeers, FindItem, FindPeers, Goal, store_goal
from geventbt.discovery.dht.items import Item, check_salt, item_target
from geventbt.discovery.dht.node_id import random_id
from geventbt.discovery.dht.own_nodes import OwnNodes
from geventbt.discovery.dht.question import ask
from geventbt.discovery.dht.results import DHTStatus, Put, Sample, SwarmEstimate
from geventbt.errors import DHTError, DHTNotFound, DHTRejected, DHTTimeout
from geventbt.net.addresses import Address, NamedAddress, Ports, is_port, named_addresses, normalise
from geventbt.net.network import DIRECT, Network
from geventbt.net.udp_port import UdpPort
from geventbt.peer_id import hash_or_id

_LOOK = 0.05


class DHT:
    """A node of the DHT, over IPv4 and IPv6: finds peers, and stores small items.

    ::

        with geventbt.DHT() as dht:
            for host, port in dht.get_peers(info_hash):
                ...

    It finds its first nodes by itself. All calls block until they have their answer, and may be made from many
    greenlets of the thread that has made it. One may be shared by several clients.

    Args:
        port: the UDP port; 0 for any. Or the `UdpPort` of a client, whose network is then used.
        host: the IP address to bind to; "" for all of both families, or that of the network's interface.
        routers: (host, port) or "host:port" of nodes that are asked for others where no others are known; an empty one
            for none. None for the public ones, or those that the environment variable GEVENTBT_DHT_ROUTERS names as
            HOST:PORT, with spaces between them.
        nodes: likewise of nodes to begin with.
        state: a file in which the id and the good nodes are kept from one run to the next. Of several nodes that use
            it at the same time the first has the id, and keeps it up to date.
        read_only: ask others, but answer no queries (BEP 43): for a program that runs but for moments, or cannot be
            reached.
        query_rate: queries a second at the most, over each family. Cheap home routers have trouble with more than the
            default.
        network: opens the sockets. Through a proxy it is read only, and names of nodes cannot be looked up.

    Attributes:
        network: see above.
        udp: the `UdpPort`, which other protocols may share.
        unhurried: places for the announces of torrents that lack nothing.

    Raises:
        OSError: the port is taken, or there is no such address.
        TypeError: an argument has another type.
        ValueError: an address is not one, or a number of no meaning.
    """

    def __init__(
        self,
        port: int | UdpPort = 0,
        host: str = "",
        *,
        routers: Iterable[NamedAddress] | None = None,
        nodes: Iterable[NamedAddress] = (),
        state: str | os.PathLike[str] | None = None,
        read_only: bool = False,
        query_rate: float = limits.DHT_QUERY_RATE,
        network: Network = DIRECT,
    ) -> None:
        check_texts(host=host)
        check_flags(read_only=read_only)
        check_paths(**given(state=state))
        check_rates(query_rate=query_rate)
        check_instances(Network, network=network)
        if query_rate <= 0:
            raise ValueError(f"a query rate of {query_rate} a second: must be above 0")
        self._hub = gevent.get_hub()
        self.unhurried = AnnounceQueue(limits.DHT_UNHURRIED, limits.DHT_UNHURRIED)
        if not isinstance(port, UdpPort):
            check_counts(port=port)
        self.udp = port if isinstance(port, UdpPort) else UdpPort.at(network, host or network.host, port)
        self.network = network = self.udp.network
        self._rng = random.SystemRandom()
        routers = named_addresses(usual_routers() if routers is None else routers, "routers")
        first = named_addresses(nodes, "nodes")
        read_only = read_only or network.is_proxied
        self._nodes = OwnNodes(self.udp, self._rng, state, read_only=read_only, query_rate=query_rate)
        self._calls: WeakSet[Call] = WeakSet()
        self._background: set[gevent.Greenlet] = set()
        self._is_used = Event()
        self._first_nodes = FirstNodes(self._nodes.drivers, self._is_used, routers, network)
        self._first_nodes.expect(bool(first or routers))
        self._nodes.begin()
        self._tasks = [
            spawn("DHT lookup", self._first_nodes.find, first),
            spawn("DHT state", self._nodes.save_regularly),
        ]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'closed' if self.is_closed else f'on port {self.port}'}>"

    # ------------------------------------------------------------------ peers

    def get_peers(self, info_hash: bytes | str, timeout: float | None = 30.0) -> Iterator[Address]:
        """Find the peers of a torrent, and give each as it is found.

        Args:
            info_hash: 20 bytes or 40 hex characters.
            timeout: seconds after which it ends, if it does not before because all nodes have been asked; None for no
                limit.

        Returns:
            An iterator that blocks for the next (host, port), each of which it gives once.
        """
        return (address for address, _ in self.find_peers(info_hash, timeout=timeout))

    def find_peers(
        self,
        info_hash: bytes | str,
        *,
        announce_port: int | Ports | None = None,
        seed: bool = False,
        timeout: float | None = 30.0,
    ) -> FoundPeers:
        """Find the peers of a torrent, and in the same search announce that we are one.

        Args:
            info_hash: 20 bytes or 40 hex characters.
            announce_port: where we take connections, over both address families or each; None to announce nothing.
            seed: we have all of the torrent.
            timeout: seconds after which it ends; None for no limit.

        Returns:
            An iterator, see `FoundPeers`.
        """
        check_seconds(**given(timeout=timeout))
        target = hash_or_id(info_hash, "info hash")
        ports = announce_port if isinstance(announce_port, Ports) else Ports(announce_port, announce_port)
        goals = []
        for driver in self._nodes.drivers:
            port = ports.ipv6 if driver.node.family == IPV6 else ports.ipv4
            goals.append(FindPeers(target, None if port is None else Announce(port, is_seed=seed)))
        return FoundPeers(self._call(goals), goals, timeout)

    def announce(
        self,
        info_hash: bytes | str,
        port: int,
        *,
        seed: bool = False,
        implied_port: bool = False,
        timeout: float | None = 30.0,
    ) -> int:
        """Announce that we are a peer of a torrent. Nodes remember it for 15 minutes at the least.

        Args:
            info_hash: 20 bytes or 40 hex characters.
            port: where we take connections.
            seed: we have all of the torrent.
            implied_port: we take them on the DHT's own port, which a router in between may have changed.
            timeout: seconds for it; None for no limit.

        Returns:
            How many nodes have stored it. None are there if no node answers.

        Raises:
            DHTTimeout: it took longer.
        """
        if not is_port(port):
            raise ValueError(f"port {port}: must be from 1 to 65535")
        announce = Announce(port, implied_port=implied_port, is_seed=seed)
        target = hash_or_id(info_hash, "info hash")
        with self._call([FindPeers(target, announce) for _ in self._nodes.drivers]) as call:
            call.wait(timeout, f"the announce of {target.hex()} was not finished")
            return call.stored

    def scrape(self, info_hash: bytes | str, timeout: float | None = 30.0) -> SwarmEstimate:
        """Estimate how many peers a torrent has (BEP 33).

        Args:
            info_hash: 20 bytes or 40 hex characters.
            timeout: seconds for it; None for no limit.

        Raises:
            DHTTimeout: it took longer.
        """
        target = hash_or_id(info_hash, "info hash")
        goals = [CountPeers(target) for _ in self._nodes.drivers]
        with self._call(goals) as call:
            call.wait(timeout, f"the scrape of {target.hex()} was not finished")
        seeds, others = goals[0].seeds, goals[0].others
        for goal in goals[1:]:
            seeds.merge(goal.seeds)
            others.merge(goal.others)
        return SwarmEstimate(round(seeds.estimate()), round(others.estimate()))

    def sample(self, address: Address, target: bytes | None = None, timeout: float = 10.0) -> Sample:
        """Ask one node for some of the torrents whose peers it stores (BEP 51).

        Args:
            address: (IP address, port) of the node.
            target: an id; the node also gives nodes close to it, which we learn of.
            timeout: seconds for its answer.

        Raises:
            DHTTimeout: it does not answer.
            DHTError: it answers with an error, or has no samples.
        """
        self._check_thread()
        known = normalise(address)
        driver = None if known is None else self._nodes.for_host(known[0])
        if known is None or driver is None:
            raise ValueError(f"{address!r} is not the address of a node that can be asked")
        name = f"{known[0]}:{known[1]}"
        request = m.SampleInfoHashes(random_id(self._rng) if target is None else target)
        reply = ask(driver, known, request, timeout)
        if reply.samples is None:
            raise DHTError(f"{name} gives no samples: it does not know the question")
        return Sample(reply.samples, reply.sample_count, reply.sample_interval)

    # ------------------------------------------------------------------ items

    def get(self, target: bytes | str, salt: bytes = b"", timeout: float | None = 30.0) -> Item:
        """Get an item (BEP 44). It is verified; of a mutable one it is the newest.

        Args:
            target: of the item, 20 bytes or 40 hex characters; or the public key of a mutable one, 32 bytes or 64 hex
                characters.
            salt: of a mutable item.
            timeout: seconds for it; None for no limit.

        Raises:
            DHTNotFound: no node has it.
            DHTTimeout: it took longer, and none was found until then.
        """
        check_salt(salt)
        found_by = item_target(target, salt)
        goals = [FindItem(found_by, salt) for _ in self._nodes.drivers]
        with self._call(goals) as call:
            for _ in call.changes(timeout):
                # An immutable one is found once for all.
                if any(goal.is_reached for goal in goals):
                    break
            is_over, answers = call.is_over, call.answers
        items = [goal.item for goal in goals if goal.item is not None]
        if items:
            return max(items, key=lambda item: item.seq or 0)
        if not is_over:
            raise DHTTimeout(f"no item {found_by.hex()} was found within {timeout:g} s")
        raise DHTNotFound(f"no item {found_by.hex()}: {answers} nodes were asked")

    def put(
        self,
        value: Any,
        key: bytes | None = None,
        salt: bytes = b"",
        seq: int | None = None,
        cas: int | None = None,
        timeout: float | None = 30.0,
    ) -> Put:
        """Store an item (BEP 44). Nodes forget it after two hours, unless it is stored again.

        Args:
            value: bytes, str, int, or lists and dictionaries of them, at most 1,000 bytes when bencoded; or an `Item`
                that was signed before, and is stored again as it is.
            key: the private ed25519 key of a mutable item, 32 bytes; None for an immutable item.
            salt: names one of the items of a key.
            seq: of a mutable item; None for one more than that of the item that is there.
            cas: the seq of the item in whose place it may come; None for any.
            timeout: seconds for it; None for no limit.

        Raises:
            DHTRejected: the item that is there is newer or is not the one of `cas`, or all nodes refuse it.
            DHTTimeout: it took longer.
            TypeError, ValueError: the value or the key is of no use.
        """
        goals = [store_goal(value, key, salt, seq, cas) for _ in self._nodes.drivers]
        with self._call(goals) as call:
            call.wait(timeout, f"the item {goals[0].target.hex()} was not stored")
        for goal in goals:
            if goal.refused is not None:
                raise DHTRejected(f"the item was not stored: {goal.refused[1]}", code=goal.refused[0])
        stored, refusals = call.stored, call.refusals
        if not stored and refusals:
            raise DHTRejected(f"the item was not stored: {refusals[0].text}", code=refusals[0].code)
        item = goals[0].item
        return Put(goals[0].target, stored, None if item is None else item.seq)

    # ------------------------------------------------------------------ nodes

    @property
    def port(self) -> int:
        """The UDP port."""
        return self._nodes.drivers[0].port

    def move(self, port: UdpPort) -> None:
        """Go on at another UDP port, with the same nodes.

        Raises:
            OSError: it is taken, or lacks an address family; the node stays where it is.
        """
        self._check_thread()
        self._nodes.move(port)
        self.udp = port

    @property
    def has_prospects(self) -> bool:
        """Whether searches may find anything: there are nodes, or the first ones are being looked for."""
        return self._nodes.has_prospects

    def add_node(self, address: NamedAddress) -> None:
        """Learn of a node, such as one that a peer or a torrent names. It is asked soon whether it is there.

        Args:
            address: (host, port) or "host:port"; a name is looked up in the background.
        """
        self._check_thread()
        (known,) = named_addresses([address], "address")
        if normalise(known):
            self._first_nodes.add([known])
        else:
            self._spawn(self._first_nodes.add_by_name, known)

    def note_own_host(self, host: str) -> None:
        """Take our own IP address from a source that knows it, such as the router: the id of a node is to fit it (BEP
        42)."""
        self._nodes.note_own_host(host)

    def wait_ready(self, timeout: float | None = 30.0) -> None:
        """Block until there are nodes enough to find what there is: eight good ones, or all that there are.

        Raises:
            DHTTimeout: there are not within `timeout` seconds.
        """
        check_seconds(**given(timeout=timeout))
        self._is_used.set()
        ends = monotonic() + (inf if timeout is None else timeout)
        while not self._nodes.is_ready:
            if self.is_closed:
                raise DHTError("the DHT is closed")
            if monotonic() >= ends:
                raise DHTTimeout(f"the DHT has too few nodes after {timeout:g} s; name some, or check the network")
            gevent.sleep(min(_LOOK, max(0.0, ends - monotonic())))

    def status(self) -> DHTStatus:
        """A snapshot of its state."""
        return self._nodes.status(len(self._calls))

    @property
    def is_closed(self) -> bool:
        """Whether it has been closed."""
        return self._nodes.is_closed

    def close(self) -> None:
        """Save the state, and stop. Calls that still block end as if there were no more nodes to ask."""
        if self.is_closed:
            return
        for call in list(self._calls):
            call.close()
        self._nodes.stop()
        gevent.killall([*self._tasks, *self._background], block=False)
        self._nodes.close()

    def __enter__(self) -> DHT:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ------------------------------------------------------------------ the rest

    def _call(self, goals: Sequence[Goal]) -> Call:
        self._check_thread()
        if self.is_closed:
            raise DHTError("the DHT is closed")
        if len(self._calls) >= limits.DHT_CALLS:
            raise DHTError(f"more than {limits.DHT_CALLS} calls of the DHT at a time")
        self._is_used.set()
        return Call(self._nodes.drivers, goals, self._calls)

    def _check_thread(self) -> None:
        if not is_current(self._hub):
            raise RuntimeError("a DHT can only be used in the native thread and process that made it")

    def _spawn(self, function: Callable[..., Any], *arguments: Any) -> None:
        greenlet = spawn(f"DHT {function.__name__}", function, *arguments)
        self._background.add(greenlet)
        greenlet.link(self._background.discard)
