"""The limits that come before a packet is decoded."""

from __future__ import annotations

from geventbt import limits
from geventbt.discovery.dht.gate import Gate


def test_a_network_of_the_internet_has_one_allowance() -> None:
    gate = Gate(0.0)
    admitted = sum(gate.admits((f"9.9.9.{n % 250 + 1}", n % 60000 + 1), 100, 0.0) for n in range(1000))
    assert admitted == limits.DHT_SOURCE_BURST
    assert gate.admits(("9.9.8.1", 1), 100, 0.0)


def test_all_together_have_one_allowance_too() -> None:
    gate = Gate(0.0)
    admitted = sum(gate.admits((f"9.{n >> 8}.{n & 255}.1", 1), 100, 0.0) for n in range(5000))
    assert admitted == limits.DHT_GLOBAL_BURST
    assert sum(gate.admits((f"8.{n >> 8}.{n & 255}.1", 1), 100, 1.0) for n in range(5000)) == limits.DHT_GLOBAL_RATE


def test_a_single_flooder_does_not_use_up_what_there_is_for_all() -> None:
    gate = Gate(0.0)
    for _ in range(20_000):
        gate.admits(("9.9.9.9", 1), 100, 0.0)
    assert gate.admits(("8.8.8.8", 1), 100, 0.0)


def test_the_ports_of_a_local_host_are_sources_of_their_own() -> None:
    gate = Gate(0.0)
    assert all(gate.admits(("127.0.0.1", port), 100, 0.0) for port in range(1, 900))


def test_a_long_packet_counts_for_more_among_all() -> None:
    gate = Gate(0.0)
    admitted = sum(gate.admits((f"9.{n >> 8}.{n & 255}.1", 1), 1000, 0.0) for n in range(5000))
    assert admitted == limits.DHT_GLOBAL_BURST * limits.DHT_USUAL_PACKET / 1000
