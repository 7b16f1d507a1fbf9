"""The items that others have stored with us (BEP 44). Pure."""

from __future__ import annotations

from geventbt import limits
from geventbt.discovery.dht.items import Item
from geventbt.discovery.dht.node_id import shared_bits

_ANNOUNCERS_PER_BIT = 5
"""The number of hosts storing an item that weighs as much as a target one bit closer (libtorrent: 5)."""


class StoreRefused(Exception):
    """An item is not stored.

    Args:
        code: of the error that its sender gets (BEP 44).
        text: likewise.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class _Stored:
    __slots__ = ("announced_at", "hosts", "item", "nearness")

    def __init__(self, item: Item, nearness: int) -> None:
        self.item = item
        self.nearness = nearness
        self.hosts: set[str] = set()
        self.announced_at = 0.0

    @property
    def worth(self) -> tuple[int, float]:
        return self.nearness + len(self.hosts) // _ANNOUNCERS_PER_BIT, self.announced_at


class ItemStore:
    """Items by target, at most as many mutable and immutable ones as `most`, and forgotten after two hours.

    When there are too many, the one goes that is farthest from our id and stored by the fewest hosts.

    Args:
        node_id: ours.
        most: how many of each kind are kept.
    """

    def __init__(self, node_id: bytes, *, most: int = limits.DHT_ITEMS) -> None:
        self._node_id = node_id
        self._most = most
        self._mutable: dict[bytes, _Stored] = {}
        self._immutable: dict[bytes, _Stored] = {}

    def __len__(self) -> int:
        return len(self._mutable) + len(self._immutable)

    def get(self, target: bytes) -> Item | None:
        """The item with a target."""
        stored = self._mutable.get(target) or self._immutable.get(target)
        return stored.item if stored else None

    def put(self, item: Item, host: str, now: float, *, cas: int | None = None) -> None:
        """Store an item of which `host` has shown that it may.

        Args:
            item: the item, not verified yet.
            host: the host that stores it.
            now: the time.
            cas: the seq of the item in whose place it may come; None for any.

        Raises:
            StoreRefused: it is not authentic, not newer than the one that is there, or that is not the one expected.
        """
        target = item.target
        kept = self._immutable if item.key is None else self._mutable
        known = kept.get(target)
        if known is not None and item.key is not None:
            _check_replaces(known.item, item, cas)
        if (known is None or known.item != item) and not item.is_authentic():
            raise StoreRefused(206, "invalid signature")
        if known is None:
            known = kept[target] = _Stored(item, shared_bits(self._node_id, target))
        known.item = item
        known.announced_at = now
        if len(known.hosts) < _ANNOUNCERS_PER_BIT * 32:
            known.hosts.add(host)
        if len(kept) > self._most:
            del kept[min(kept, key=lambda target: kept[target].worth)]

    def expire(self, now: float) -> None:
        """Forget what has not been stored again for two hours."""
        for kept in (self._mutable, self._immutable):
            for target in [key for key, known in kept.items() if now - known.announced_at >= limits.DHT_ITEM_TIME]:
                del kept[target]


def _check_replaces(old: Item, new: Item, cas: int | None) -> None:
    assert old.seq is not None
    assert new.seq is not None
    if cas is not None and cas != old.seq:
        raise StoreRefused(301, f"CAS mismatch: seq is {old.seq}")
    if new.seq < old.seq or (new.seq == old.seq and new.raw != old.raw):
        raise StoreRefused(302, f"seq is {old.seq} already")
