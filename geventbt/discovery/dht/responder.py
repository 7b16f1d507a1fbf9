"""The answers to the queries of other nodes (BEP 5, 32, 33, 42, 44, 51). Pure."""

from __future__ import annotations

import random

from geventbt import limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import IPV4, IPV6, pack_address, pack_contacts
from geventbt.discovery.dht.item_store import ItemStore, StoreRefused
from geventbt.discovery.dht.peer_store import PeerStore
from geventbt.discovery.dht.routing_table import RoutingTable
from geventbt.discovery.dht.tokens import Tokens
from geventbt.net.addresses import Address

_NODE_KEYS = {IPV4: b"nodes", IPV6: b"nodes6"}
_LONG_VALUE, _NODES_BESIDE_VALUE = 400, 2
_Values = dict[bytes, bytes]


class Responder:
    """Answers the queries that one node gets.

    Args:
        family: of its datagrams.
        table: its routing table.
        rng: makes secrets, and chooses among peers.
        now: the time.

    Attributes:
        tables: the routing tables by family; that of the other one may be put in (BEP 32).
        peers: the peers stored here.
        items: the items stored here.
    """

    def __init__(self, family: int, table: RoutingTable, rng: random.Random, now: float) -> None:
        self.tables = {family: table}
        self.peers = PeerStore(rng)
        self.items = ItemStore(table.node_id)
        self._family = family
        self._tokens = Tokens(rng, now)

    def answer(self, query: m.Query, address: Address, now: float) -> bytes:
        """The datagram that answers a query from an address."""
        node_id = self.tables[self._family].node_id
        try:
            values = self._values(query.request, address, now)
        except StoreRefused as refusal:
            return m.write_failure(query.transaction_id, refusal.code, refusal.text, address)
        return m.write_reply(query.transaction_id, node_id, values, address)

    def stored(self, request: m.Request) -> m.Reply:
        """What is stored here of what a query asks for, as a reply."""
        reply = m.Reply(b"", self.tables[self._family].node_id)
        if isinstance(request, m.Get):
            reply.item = self.items.get(request.target)
        elif isinstance(request, m.GetPeers) and request.scrape:
            reply.seeds, reply.others = self.peers.filters(request.info_hash)
        elif isinstance(request, m.GetPeers):
            reply.peers = self.peers.peers(request.info_hash, limits.DHT_PEERS_OF_ANSWER)
        return reply

    def expire(self, now: float) -> None:
        """Forget what is too old."""
        self.peers.expire(now)
        self.items.expire(now)

    def _values(self, request: m.Request, address: Address, now: float) -> _Values:
        if isinstance(request, m.GetPeers):
            return self._peers(request, address, now)
        if isinstance(request, m.FindNode):
            return self._nodes(request.target, request.want)
        if isinstance(request, m.AnnouncePeer):
            return self._announce(request, address, now)
        if isinstance(request, m.Get):
            return self._item(request, address, now)
        if isinstance(request, m.PutItem):
            return self._put(request, address, now)
        if isinstance(request, m.SampleInfoHashes):
            return self._sample(request, now)
        return {}

    def _nodes(self, target: bytes, want: m.Want, count: int = limits.DHT_K) -> _Values:
        families = want or (self._family,)
        return {
            _NODE_KEYS[family]: m.string(pack_contacts(self.tables[family].closest(target, count)))
            for family in families
            if family in self.tables
        }

    def _peers(self, request: m.GetPeers, address: Address, now: float) -> _Values:
        values = self._nodes(request.info_hash, request.want)
        if self.peers.has_room(request.info_hash, address[0]):
            values[b"token"] = m.string(self._tokens.make(address[0], request.info_hash, now))
        if request.info_hash not in self.peers:
            return values
        if request.scrape:
            # They leave no room for peers, nor for the nodes of both families.
            seeds, others = self.peers.filters(request.info_hash)
            values.pop(_NODE_KEYS[IPV6 if self._family == IPV4 else IPV4], None)
            return {**values, b"BFsd": m.string(bytes(seeds)), b"BFpe": m.string(bytes(others))}
        count = limits.DHT_VALUES if self._family == IPV4 else limits.DHT_VALUES // 3
        if len(request.want) > 1:
            count //= 2
        peers = self.peers.peers(request.info_hash, count, without_seeds=request.no_seeds)
        values[b"values"] = b"l%be" % b"".join(m.string(pack_address(peer)) for peer in peers)
        return values

    def _announce(self, request: m.AnnouncePeer, address: Address, now: float) -> _Values:
        host, source_port = address
        self._check_token(request.token, host, request.info_hash, now)
        port = source_port if request.implied_port else request.port
        if not self.peers.add(request.info_hash, (host, port), now, is_seed=request.is_seed):
            raise StoreRefused(m.SERVER_ERROR, "no room for more peers of this torrent")
        return {}

    def _item(self, request: m.Get, address: Address, now: float) -> _Values:
        item = self.items.get(request.target)
        is_sent = item is not None and (item.seq is None or request.seq is None or item.seq > request.seq)
        # A long value leaves room for few nodes.
        count = _NODES_BESIDE_VALUE if is_sent and item is not None and len(item.raw) > _LONG_VALUE else limits.DHT_K
        values = self._nodes(request.target, request.want, count)
        values[b"token"] = m.string(self._tokens.make(address[0], request.target, now))
        if item is not None and is_sent:
            values.update(m.item_values(item))
        elif item is not None and item.seq is not None:
            values[b"seq"] = m.integer(item.seq)
        return values

    def _put(self, request: m.PutItem, address: Address, now: float) -> _Values:
        self._check_token(request.token, address[0], request.item.target, now)
        self.items.put(request.item, address[0], now, cas=request.cas)
        return {}

    def _sample(self, request: m.SampleInfoHashes, now: float) -> _Values:
        samples, interval = self.peers.sample(now)
        return {
            **self._nodes(request.target, request.want),
            b"interval": m.integer(int(interval)),
            b"num": m.integer(len(self.peers)),
            b"samples": m.string(b"".join(samples)),
        }

    def _check_token(self, token: bytes, host: str, target: bytes, now: float) -> None:
        if not self._tokens.is_valid(token, host, target, now):
            raise StoreRefused(m.PROTOCOL_ERROR, "invalid token")
