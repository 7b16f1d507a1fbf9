"""What is kept from one run to the next."""

from __future__ import annotations

import random

import pytest

from geventbt import limits
from geventbt.discovery.dht.contacts import IPV4, IPV6, Contact
from geventbt.discovery.dht.state import SavedNode, decode_state, encode_state, saved

V4 = SavedNode(b"i" * 20, "7.7.7.7", (Contact(b"a" * 20, ("1.2.3.4", 5)), Contact(b"b" * 20, ("127.0.0.1", 6))))
V6 = SavedNode(b"j" * 20, None, (Contact(b"a" * 20, ("2001:db8::1", 5)),))


@pytest.mark.parametrize("nodes", [{}, {IPV4: V4}, {IPV6: V6}, {IPV4: V4, IPV6: V6}])
def test_it_is_read_as_it_was_written(nodes: dict[int, SavedNode]) -> None:
    assert decode_state(encode_state(nodes)) == nodes


def test_the_nodes_are_bounded_and_fit_into_the_file() -> None:
    contacts = [Contact(bytes(20), ("2001:db8::1", port)) for port in range(1, 1000)]
    nodes = {family: saved(b"i" * 20, None, contacts) for family in (IPV4, IPV6)}
    assert len(nodes[IPV4].contacts) == limits.DHT_SAVED_NODES
    assert len(encode_state(nodes)) < limits.DHT_STATE_FILE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"le",
        b"d4:ipv4i1ee",
        b"d4:ipv4dee",
        b"d4:ipv4d2:id3:abc5:nodes0:ee",
        b"d4:ipv4d2:id20:" + b"i" * 20 + b"ee",
    ],
)
def test_what_is_not_a_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_state(data)


def test_damaged_bytes_give_a_state_or_a_value_error() -> None:
    rng = random.Random(1)
    whole = encode_state({IPV4: V4, IPV6: V6})
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            decode_state(bytes(data))
        except ValueError:
            continue
