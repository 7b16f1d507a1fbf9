"""Kinds of addresses: what a redirect from the internet must not reach."""

from __future__ import annotations

import pytest

from geventbt.net.addresses import AddressKind, kind_of


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", AddressKind.LOOPBACK),
        ("127.255.0.3", AddressKind.LOOPBACK),
        ("0.0.0.0", AddressKind.LOOPBACK),
        ("0.1.2.3", AddressKind.LOOPBACK),
        ("::1", AddressKind.LOOPBACK),
        ("::", AddressKind.LOOPBACK),
        ("::ffff:127.0.0.1", AddressKind.LOOPBACK),
        ("64:ff9b::7f00:1", AddressKind.LOOPBACK),
        ("2002:7f00:1::", AddressKind.LOOPBACK),
        ("169.254.169.254", AddressKind.LINK_LOCAL),
        ("fe80::1", AddressKind.LINK_LOCAL),
        ("fe80::1%eth0", AddressKind.LINK_LOCAL),
        ("::ffff:169.254.169.254", AddressKind.LINK_LOCAL),
        ("10.1.2.3", AddressKind.PRIVATE),
        ("172.16.0.1", AddressKind.PRIVATE),
        ("192.168.1.1", AddressKind.PRIVATE),
        ("100.64.0.1", AddressKind.PRIVATE),
        ("fd00::2", AddressKind.PRIVATE),
        ("64:ff9b::c0a8:101", AddressKind.PRIVATE),
        ("255.255.255.255", AddressKind.PRIVATE),
        ("224.0.0.1", AddressKind.MULTICAST),
        ("ff02::1", AddressKind.MULTICAST),
        ("8.8.8.8", AddressKind.PUBLIC),
        ("2606:4700::1111", AddressKind.PUBLIC),
        ("::ffff:8.8.8.8", AddressKind.PUBLIC),
        ("64:ff9b::808:808", AddressKind.PUBLIC),
    ],
)
def test_an_address_has_a_kind(address, kind):
    assert kind_of(address) is kind


def test_a_name_has_none():
    with pytest.raises(ValueError):
        kind_of("localhost")
