"""The routing table: the nodes that we know, dense around our own id and sparse far from it (BEP 5, 42). Pure.

There is a bucket for each number of bits that ids have in common with ours at their beginning. A node comes into its
bucket only once it has answered us. Those that we have only heard of wait among the bucket's replacements, and are
pinged when there is room. A node is *good* when it has answered within 15 minutes, or asked us something within that
time; *questionable* after that; *bad* when it left several queries in a row unanswered. A full bucket takes a newcomer
in the place of a bad node, or of one whose id does not fit its address; for questionable ones it has them pinged first.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from geventbt import limits
from geventbt.discovery.dht.contacts import Contact, host_of
from geventbt.discovery.dht.node_id import is_secure, number_of, random_id_near, shared_bits
from geventbt.net.addresses import Address


class KnownNode:
    """A node of the table."""

    __slots__ = ("answered_at", "asked_us_at", "contact", "failures", "is_secure", "number", "pinged_at")

    def __init__(self, contact: Contact) -> None:
        self.contact = contact
        self.number = number_of(contact.id)
        self.is_secure = is_secure(contact.id, contact.address[0])
        self.answered_at = self.asked_us_at = self.pinged_at = float("-inf")
        self.failures = 0

    def is_good(self, now: float) -> bool:
        """Whether it has shown lately that it lives."""
        return self.failures == 0 and now - max(self.answered_at, self.asked_us_at) < limits.DHT_GOOD_TIME

    @property
    def is_bad(self) -> bool:
        """Whether it left too many queries in a row unanswered."""
        return self.failures >= limits.DHT_MAX_FAILURES


class _Bucket:
    """The nodes with one number of shared bits.

    Attributes:
        nodes: those that have answered, by id.
        replacements: others, by id, the last heard of at the end.
        changed_at: when a node came in or answered.
    """

    __slots__ = ("capacity", "changed_at", "nodes", "replacements")

    def __init__(self, capacity: int, now: float) -> None:
        self.capacity = capacity
        self.nodes: dict[bytes, KnownNode] = {}
        self.replacements: dict[bytes, KnownNode] = {}
        self.changed_at = now

    @property
    def is_full(self) -> bool:
        return len(self.nodes) >= self.capacity

    def has_network_of(self, address: Address) -> bool:
        """Whether a node of the same /24 or /64 is in it; of the internet one is enough."""
        host = host_of(address[0])
        return host.is_global and any(
            host_of(node.contact.address[0]).network == host.network for node in self.nodes.values()
        )

    def keep_as_replacement(self, node: KnownNode) -> None:
        self.replacements.pop(node.contact.id, None)
        if len(self.replacements) >= limits.DHT_REPLACEMENTS:
            del self.replacements[next(iter(self.replacements))]
        self.replacements[node.contact.id] = node


class RoutingTable:
    """The nodes of one address family.

    Args:
        node_id: ours.
        now: the time.
    """

    def __init__(self, node_id: bytes, now: float) -> None:
        self.node_id = node_id
        self._made_at = now
        self._buckets: dict[int, _Bucket] = {}
        self._by_address: dict[Address, KnownNode] = {}

    def __len__(self) -> int:
        return len(self._by_address)

    def __contains__(self, address: object) -> bool:
        return address in self._by_address

    def __iter__(self) -> Iterator[KnownNode]:
        return iter(self._by_address.values())

    def good_count(self, now: float) -> int:
        """How many of the nodes are good."""
        return sum(node.is_good(now) for node in self)

    @property
    def depth(self) -> int:
        """How many bits the nodes share with us that are closest to us, at the least. Of those that share as many or
        more there are no others, as far as we know."""
        counts = {bits: len(bucket.nodes) for bits, bucket in self._buckets.items()}
        closest = 0
        for bits in sorted(counts, reverse=True):
            closest += counts[bits]
            if closest >= limits.DHT_K:
                return bits
        return 0

    # ------------------------------------------------------------------ what nodes do

    def answered(self, contact: Contact, now: float) -> bool:
        """A node has answered us. Returns whether it is in the table now."""
        if contact.id == self.node_id:
            return False
        known = self._by_address.get(contact.address)
        if known is not None and known.contact.id != contact.id:
            # One address is one node; it has taken a new id, or sends a false one.
            self._remove(known)
            known = None
        bucket = self._bucket_of(contact.id, now)
        if known is None:
            same_id = bucket.nodes.get(contact.id)
            if same_id is not None and same_id.is_good(now):
                return False
            if same_id is not None:
                self._remove(same_id)
            known = bucket.replacements.pop(contact.id, None)
            if known is None or known.contact.address != contact.address:
                known = KnownNode(contact)
            if not self._make_room(bucket, known, now):
                known.answered_at = now
                return False
            bucket.nodes[contact.id] = self._by_address[contact.address] = known
        known.answered_at = bucket.changed_at = now
        known.failures = 0
        return True

    def asked_us(self, contact: Contact, now: float) -> None:
        """A node has sent us a query: it lives, but may have given another's address."""
        known = self._by_address.get(contact.address)
        if known is not None and known.contact.id == contact.id:
            known.asked_us_at = now
        elif known is None:
            self.heard_of(contact, now)

    def heard_of(self, contact: Contact, now: float) -> None:
        """A node may be there."""
        if contact.id == self.node_id or contact.address in self._by_address:
            return
        bucket = self._bucket_of(contact.id, now)
        waiting = bucket.replacements.get(contact.id)
        if contact.id not in bucket.nodes and (waiting is None or waiting.contact.address != contact.address):
            bucket.keep_as_replacement(KnownNode(contact))

    def failed(self, address: Address, now: float) -> None:
        """A node has left a query unanswered."""
        known = self._by_address.get(address)
        if known is None:
            return
        known.failures += 1
        if known.is_bad:
            bucket = self._bucket_of(known.contact.id, now)
            self._remove(known)
            tried = [node for node in bucket.replacements.values() if node.is_good(now)]
            if tried:
                self.answered(tried[-1].contact, tried[-1].answered_at)

    def forget(self, contact: Contact, now: float) -> None:
        """A node that we have only heard of is not there."""
        waiting = self._bucket_of(contact.id, now).replacements.get(contact.id)
        if waiting is not None and waiting.contact.address == contact.address:
            del self._bucket_of(contact.id, now).replacements[contact.id]

    # ------------------------------------------------------------------ what others want to know

    def closest(self, target: bytes, count: int = limits.DHT_K, *, secure: bool = False) -> list[Contact]:
        """The nodes closest to a target that did not fail lately, the closest first.

        Args:
            target: an id.
            count: how many at the most.
            secure: those whose id does not fit their address come last.
        """
        bits = shared_bits(self.node_id, target) if target != self.node_id else 160
        found: list[KnownNode] = []
        # Nodes of the target's own bucket are the closest, then those of all that are nearer to us than it, together,
        # then bucket by bucket away from us.
        near = self._buckets.get(bits)
        if near is not None:
            found.extend(near.nodes.values())
        if len(found) < count:
            for other in sorted(self._buckets, reverse=True):
                if other < bits and len(found) >= count:
                    break
                if other != bits:
                    found.extend(self._buckets[other].nodes.values())
        number = number_of(target)
        usable = [node for node in found if not node.failures]
        usable.sort(key=lambda node: node.number ^ number)
        if secure:
            usable.sort(key=lambda node: not node.is_secure)
        return [node.contact for node in usable[:count]]

    def good_nodes(self, now: float) -> list[Contact]:
        """The good nodes, the last that answered first."""
        good = [node for node in self if node.is_good(now)]
        good.sort(key=lambda node: -node.answered_at)
        return [node.contact for node in good]

    # ------------------------------------------------------------------ upkeep

    def has_enough(self, bits: int) -> bool:
        """Whether the bucket of nodes that share `bits` bits with us has as many as one needs."""
        return bits in self._buckets and len(self._buckets[bits].nodes) >= limits.DHT_K

    def to_ping(self, now: float, *, urgent: bool) -> Contact | None:
        """A node to ping: one that might fill a bucket that has room, or a questionable one whose place is wanted.

        Args:
            now: the time.
            urgent: only for a bucket that has less than it needs.
        """
        for bucket in self._buckets.values():
            if urgent and len(bucket.nodes) >= limits.DHT_K:
                continue
            node = _to_ping(bucket, now)
            if node is not None:
                node.pinged_at = now
                return node.contact
        return None

    def stale_target(self, now: float, rng: random.Random) -> bytes | None:
        """A random id in the bucket that has not changed for the longest time, if that is too long."""
        depth = self.depth
        stale = min(
            range(depth + 1),
            key=lambda bits: self._buckets[bits].changed_at if bits in self._buckets else self._made_at,
        )
        bucket = self._bucket_of(random_id_near(self.node_id, stale, rng), now, changed_at=self._made_at)
        if now - bucket.changed_at < limits.DHT_GOOD_TIME:
            return None
        bucket.changed_at = now
        return random_id_near(self.node_id, stale, rng)

    def change_id(self, node_id: bytes, now: float) -> RoutingTable:
        """A table for another id of ours with the same nodes, as far as they have room there."""
        other = RoutingTable(node_id, now)
        for node in sorted(self, key=lambda node: node.answered_at):
            if other.answered(node.contact, node.answered_at):
                moved = other._by_address[node.contact.address]
                moved.asked_us_at, moved.failures = node.asked_us_at, node.failures
        return other

    def _bucket_of(self, node_id: bytes, now: float, changed_at: float | None = None) -> _Bucket:
        bits = shared_bits(self.node_id, node_id)
        bucket = self._buckets.get(bits)
        if bucket is None:
            capacity = max(limits.DHT_K, limits.DHT_FIRST_BUCKET >> bits)
            bucket = self._buckets[bits] = _Bucket(capacity, now if changed_at is None else changed_at)
        return bucket

    def _make_room(self, bucket: _Bucket, newcomer: KnownNode, now: float) -> bool:
        """See that a node that has just answered has a place; where it has none it becomes a replacement."""
        if bucket.has_network_of(newcomer.contact.address):
            return False
        if not bucket.is_full:
            return True
        worst = max(bucket.nodes.values(), key=lambda node: (node.is_bad, not node.is_secure, -node.answered_at))
        if worst.is_bad or (newcomer.is_secure and not worst.is_secure):
            self._remove(worst)
            return True
        newcomer.pinged_at = now
        bucket.keep_as_replacement(newcomer)
        return False

    def _remove(self, node: KnownNode) -> None:
        del self._by_address[node.contact.address]
        del self._buckets[shared_bits(self.node_id, node.contact.id)].nodes[node.contact.id]


def _to_ping(bucket: _Bucket, now: float) -> KnownNode | None:
    """A replacement that there is room for, or a node whose place one wants."""
    for node in reversed(bucket.replacements.values()):
        if now - node.pinged_at < limits.DHT_GOOD_TIME:
            continue
        if bucket.is_full:
            return _most_doubtful(bucket, now)
        if not bucket.has_network_of(node.contact.address):
            return node
    return None


def _most_doubtful(bucket: _Bucket, now: float) -> KnownNode | None:
    """The questionable node that was silent for the longest time and has not just been pinged."""
    doubtful = [
        node
        for node in bucket.nodes.values()
        if not node.is_good(now) and now - node.pinged_at >= limits.DHT_ANSWER_TIMEOUT
    ]
    return min(doubtful, key=lambda node: node.answered_at, default=None)
