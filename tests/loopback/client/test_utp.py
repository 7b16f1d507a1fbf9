"""Clients over uTP."""

from __future__ import annotations

from pathlib import Path

import pytest

import geventbt
from geventbt.protocol.message_objects import HaveAll, KeepAlive


@pytest.mark.parametrize("transport", ["utp", "tcp"])
def test_clients_that_agree_on_a_transport_exchange_files(tmp_path: Path, transport: geventbt.TransportChoice) -> None:
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(range(256)) * 2000)
    torrent = geventbt.create_torrent(data, piece_length=16384)
    options = {"dht": False, "lsd": False}
    with (
        geventbt.seed(torrent, data, ("127.0.0.1", 0), transport=transport, **options) as seed,
        geventbt.Client(0, host="127.0.0.1", **options) as client,
    ):
        active = client.add(torrent, tmp_path / "copy", peers=[("127.0.0.1", seed.port or 0)])
        used: set[str] = set()
        while not active.wait(0.005):
            used |= {peer.transport for peer in active.peers}
    assert used <= {transport}
    assert (tmp_path / "copy" / "data.bin").read_bytes() == data.read_bytes()


def test_more_follows_the_begin_of_a_conversation_over_utp(tmp_path: Path) -> None:
    data = tmp_path / "data.bin"
    data.write_bytes(bytes(100_000))
    torrent = geventbt.create_torrent(data, piece_length=16384)
    with (
        geventbt.seed(torrent, data, ("127.0.0.1", 0), transport="utp", dht=False, lsd=False) as seed,
        geventbt.connect(("127.0.0.1", seed.port or 0), transport="utp") as wire,
    ):
        messages = wire.messages()
        wire.handshake(torrent.swarm_hash, b"-GB0001-aaaaaaaaaaaa")
        seen: list[type] = []
        for message in messages:
            seen.append(type(message))
            if isinstance(message, KeepAlive):
                break
        assert HaveAll in seen
