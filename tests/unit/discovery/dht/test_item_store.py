"""The items that are stored for others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from geventbt import limits
from geventbt.discovery.dht.item_store import ItemStore, StoreRefused
from geventbt.discovery.dht.items import Item, encode_value, sign

SEED = b"s" * 32


@pytest.fixture
def store() -> ItemStore:
    return ItemStore(bytes(20), most=4)


def test_an_item_is_given_again(store: ItemStore) -> None:
    for item in (Item(b"1:a"), sign(b"b", SEED, 1)):
        store.put(item, "1.1.1.1", 0.0)
        assert store.get(item.target) == item
    assert store.get(b"x" * 20) is None


def test_a_newer_item_comes_in_the_place_of_the_old_one(store: ItemStore) -> None:
    new = sign(b"new", SEED, 2)
    store.put(sign(b"old", SEED, 1), "1.1.1.1", 0.0)
    store.put(new, "1.1.1.1", 0.0)
    assert store.get(new.target) == new


@pytest.mark.parametrize(("value", "seq"), [(b"other", 2), (b"other", 3), (b"this", 2)])
def test_an_item_that_is_not_newer_is_refused(store: ItemStore, value: bytes, seq: int) -> None:
    kept = sign(b"this", SEED, 3)
    store.put(kept, "1.1.1.1", 0.0)
    with pytest.raises(StoreRefused) as refused:
        store.put(sign(value, SEED, seq), "1.1.1.1", 0.0)
    assert refused.value.code == 302
    assert store.get(kept.target) == kept


def test_another_item_than_the_one_expected_is_not_replaced(store: ItemStore) -> None:
    store.put(sign(b"this", SEED, 3), "1.1.1.1", 0.0)
    with pytest.raises(StoreRefused) as refused:
        store.put(sign(b"new", SEED, 4), "1.1.1.1", 0.0, cas=2)
    assert refused.value.code == 301
    store.put(sign(b"new", SEED, 4), "1.1.1.1", 0.0, cas=3)


def test_cas_does_not_count_where_there_is_no_item(store: ItemStore) -> None:
    store.put(sign(b"this", SEED, 3), "1.1.1.1", 0.0, cas=9)
    assert len(store) == 1


def test_a_wrong_signature_is_refused(store: ItemStore) -> None:
    item = sign(b"this", SEED, 1)
    for wrong in (replace(item, signature=bytes(64)), replace(item, raw=b"1:x")):
        with pytest.raises(StoreRefused) as refused:
            store.put(wrong, "1.1.1.1", 0.0)
        assert refused.value.code == 206
    assert len(store) == 0


def test_a_wrong_signature_does_not_prolong_an_item(store: ItemStore) -> None:
    item = sign(b"this", SEED, 1)
    store.put(item, "1.1.1.1", 0.0)
    with pytest.raises(StoreRefused):
        store.put(replace(item, signature=bytes(64)), "1.1.1.1", 100.0)


def test_storing_again_prolongs(store: ItemStore) -> None:
    item = sign(b"this", SEED, 1)
    store.put(item, "1.1.1.1", 0.0)
    store.put(item, "1.1.1.1", 100.0)
    store.expire(limits.DHT_ITEM_TIME)
    assert store.get(item.target) == item
    store.expire(limits.DHT_ITEM_TIME + 100)
    assert len(store) == 0


def test_the_farthest_item_goes_when_there_are_too_many(store: ItemStore) -> None:
    items = sorted((Item(encode_value(number)) for number in range(30)), key=lambda item: item.target)
    for item in items[::-1]:
        store.put(item, "1.1.1.1", 0.0)
    assert len(store) == 4
    assert store.get(items[0].target) is not None
    assert store.get(items[-1].target) is None


def test_what_many_hosts_store_stays(store: ItemStore) -> None:
    items = sorted((Item(encode_value(number)) for number in range(30)), key=lambda item: item.target)
    for number in range(60):
        store.put(items[-1], f"1.1.{number}.1", 0.0)
    for item in items[:-1]:
        store.put(item, "1.1.1.1", 0.0)
    assert store.get(items[-1].target) is not None
