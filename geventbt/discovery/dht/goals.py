"""Goals of searches: what the nodes are asked, and what is taken from their answers (BEP 5, 33, 44). Pure."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from typing import Any, NamedTuple, Protocol

from geventbt import limits
from geventbt.discovery.dht import messages as m
from geventbt.discovery.dht.contacts import Contact, host_of
from geventbt.discovery.dht.items import Item, encode_value, public_key_of, sign
from geventbt.discovery.dht.peer_filter import PeerFilter
from geventbt.net.addresses import Address, may_connect


class Goal(Protocol):
    """The goal of a search. Subclass it to inherit the defaults, of a goal that stores nothing.

    Attributes:
        target: the id whose closest nodes are searched for: 20 bytes.
    """

    target: bytes

    @property
    def is_reached(self) -> bool:
        """Whether no further answer is wanted."""
        return False

    @abstractmethod
    def request(self, want: m.Want) -> m.Request:
        """What each node is asked."""

    def take(self, contact: Contact, reply: m.Reply) -> None:
        """Take what is wanted from an answer."""
        return

    def prepare(self) -> bool:
        """The closest nodes are found. Returns whether they are asked to store something."""
        return False

    def store_request(self, contact: Contact, token: bytes) -> m.Request:
        """What a node is asked to store."""
        raise AssertionError("a goal that stores nothing")


class FindNodes(Goal):
    """Finds the nodes closest to a target."""

    def __init__(self, target: bytes) -> None:
        self.target = target

    def request(self, want: m.Want) -> m.Request:
        return m.FindNode(self.target, want)


class Announce(NamedTuple):
    """That we are a peer of a torrent.

    Attributes:
        port: where we take connections.
        implied_port: we do so on the port of the DHT itself, whatever a router in between makes of it.
        is_seed: we have all of the torrent.
    """

    port: int
    implied_port: bool = False
    is_seed: bool = False


class FindPeers(Goal):
    """Finds the peers of a torrent, and announces us as one.

    Args:
        info_hash: 20 bytes.
        announce: what is announced; None for nothing.

    Attributes:
        found: the peers that have not been taken yet, each once, with the host of the node that named it.
    """

    def __init__(self, info_hash: bytes, announce: Announce | None = None) -> None:
        self.target = info_hash
        self.found: deque[tuple[Address, str]] = deque()
        self._announce = announce
        self._seen: set[Address] = set()

    def request(self, want: m.Want) -> m.Request:
        return m.GetPeers(self.target, want)

    def take(self, contact: Contact, reply: m.Reply) -> None:
        """See `Goal`. A host of the internet counts once in an answer: many ports of one host are not many peers."""
        hosts: set[str] = set()
        for address in reply.peers:
            if address[0] in hosts or address in self._seen or len(self._seen) >= limits.DHT_PEERS_OF_SEARCH:
                continue
            if not may_connect(address, contact.address[0]):
                continue
            if host_of(address[0]).is_global:
                hosts.add(address[0])
            self._seen.add(address)
            self.found.append((address, contact.address[0]))

    def prepare(self) -> bool:
        return self._announce is not None

    def store_request(self, contact: Contact, token: bytes) -> m.Request:
        announce = self._announce
        assert announce is not None
        return m.AnnouncePeer(self.target, announce.port, token, announce.implied_port, announce.is_seed)


class CountPeers(Goal):
    """Estimates how many peers a torrent has (BEP 33).

    Attributes:
        seeds: the filter of those that have all of it.
        others: the filter of the others.
    """

    def __init__(self, info_hash: bytes) -> None:
        self.target = info_hash
        self.seeds, self.others = PeerFilter(), PeerFilter()
        self._plain: list[Address] = []

    def request(self, want: m.Want) -> m.Request:
        return m.GetPeers(self.target, want, scrape=True)

    def take(self, contact: Contact, reply: m.Reply) -> None:
        if reply.seeds is not None:
            self.seeds.merge(reply.seeds)
        if reply.others is not None:
            self.others.merge(reply.others)
        if reply.seeds is None and reply.others is None:
            self._plain.extend(reply.peers[: limits.DHT_PEERS_OF_ANSWER])

    def prepare(self) -> bool:
        """See `Goal`. Peers of nodes that have no filters are counted unless they are known as seeds."""
        for host, _ in self._plain:
            packed = host_of(host).packed
            if packed not in self.seeds:
                self.others.add(packed)
        return False


class FindItem(Goal):
    """Finds an item: an immutable one once, of a mutable one the newest.

    Args:
        target: 20 bytes.
        salt: of the item, which nodes do not send.

    Attributes:
        item: the item, verified; None as long as there is none.
        seqs: the greatest seq that each node gave, by its address: how many have the newest one.
    """

    def __init__(self, target: bytes, salt: bytes = b"") -> None:
        self.target = target
        self.item: Item | None = None
        self.seqs: dict[Address, int | None] = {}
        self._salt = salt

    @property
    def is_reached(self) -> bool:
        return self.item is not None and self.item.key is None

    def request(self, want: m.Want) -> m.Request:
        return m.Get(self.target, want=want)

    def take(self, contact: Contact, reply: m.Reply) -> None:
        item = reply.item
        if item is None:
            return
        if item.key is not None:
            item = Item(item.raw, item.key, self._salt, item.seq, item.signature)
        if item.target != self.target:
            return
        if item != self.item and not item.is_authentic():
            return
        self.seqs[contact.address] = item.seq
        if self.item is None or (item.seq or 0) > (self.item.seq or 0):
            self.item = item


class StoreMutable(Goal):
    """Stores a value under a key, after a look at what is there.

    Args:
        value: of any type that can be bencoded.
        seed: the private key, 32 bytes.
        salt: names one of the key's items.
        seq: of the item; None for one more than the newest that is found.
        cas: the seq of the item in whose place it may come.

    Attributes:
        item: what is stored; None until what is there has been looked at.
        refused: why it is not stored, a code and a text of BEP 44.

    Raises:
        TypeError, ValueError: see `geventbt.discovery.dht.items.sign`.
    """

    def __init__(
        self, value: Any, seed: bytes, salt: bytes = b"", seq: int | None = None, cas: int | None = None
    ) -> None:
        sign(value, seed, seq or 0, salt)
        self._value, self._seed, self._salt = value, seed, salt
        self._seq = seq
        self._cas = cas
        self._there = FindItem(Item(b"", public_key_of(seed), salt).target, salt)
        self.target = self._there.target
        self.item: Item | None = None
        self.refused: tuple[int, str] | None = None

    def request(self, want: m.Want) -> m.Request:
        return self._there.request(want)

    def take(self, contact: Contact, reply: m.Reply) -> None:
        self._there.take(contact, reply)

    def prepare(self) -> bool:
        there = self._there.item
        newest = None if there is None else there.seq
        seq = (newest or 0) + 1 if self._seq is None else self._seq
        self.item = sign(self._value, self._seed, seq, self._salt)
        assert self.item.seq is not None
        if newest is None:
            return True
        if self._cas is not None and self._cas != newest:
            self.refused = m.CAS_MISMATCH, f"the item that is there has seq {newest}"
        elif self.item.seq < newest or (self.item.seq == newest and there is not None and self.item.raw != there.raw):
            self.refused = m.SEQ_TOO_LOW, f"the item that is there has seq {newest}"
        return self.refused is None

    def store_request(self, contact: Contact, token: bytes) -> m.Request:
        """See `Goal`. A node that has no item ignores `cas`, or should; it is not sent to one (BEP 44)."""
        assert self.item is not None
        return m.PutItem(self.item, token, self._cas if contact.address in self._there.seqs else None)


class StoreItem(Goal):
    """Stores an item that is ready: an immutable one, or one that was signed before (BEP 44)."""

    refused: tuple[int, str] | None = None

    def __init__(self, item: Item) -> None:
        self.item = item
        self.target = item.target

    def request(self, want: m.Want) -> m.Request:
        return m.Get(self.target, want=want)

    def prepare(self) -> bool:
        return True

    def store_request(self, contact: Contact, token: bytes) -> m.Request:
        return m.PutItem(self.item, token)


def store_goal(
    value: Any, key: bytes | None, salt: bytes, seq: int | None, cas: int | None
) -> StoreItem | StoreMutable:
    """The goal of storing a value; see `DHT.put`.

    Raises:
        TypeError, ValueError: the value or the key is of no use.
    """
    if isinstance(value, Item):
        return StoreItem(value)
    if key is None:
        if salt or seq is not None or cas is not None:
            raise ValueError("salt, seq and cas are of mutable items, which have a key")
        return StoreItem(Item(encode_value(value)))
    return StoreMutable(value, key, salt, seq, cas)
