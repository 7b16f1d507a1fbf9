"""Two clients behind routers that let in only what answers, and a third that both are connected to (BEP 55)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wan.wan import Host, Wan

from tests.wan.networks import network
from tests.wan.programs import Swarm

LIMITS = ("PEX_INTERVAL=0.5", "CONNECT_TIMEOUT=1.5", "FIRST_RETRY=0.2")
"""Of all clients, so that a test takes seconds."""
OPTIONS = [option for limit in LIMITS for option in ("--limit", limit)]
DEAF = [*OPTIONS, "--limit", "PEX_PEERS=0"]
"""Hears of no peers from others, and so does not connect to them by itself."""
SLOW = "--rate", "4000"
"""Does not end during a test, and so is a peer that both others want."""


@pytest.fixture(scope="module")
def wan() -> Iterator[Wan]:
    # Routers remember who has punched a hole: each test has its own two.
    behind_routers = [Host(name, delay=10, nat=True) for name in ("near", "far", "link", "store")]
    with network(Host("relay", delay=10), *behind_routers) as made:
        yield made


def test_peers_behind_routers_connect_with_the_help_of_a_third_and_not_without(swarm: Swarm) -> None:
    relay = swarm.leech("relay", "geventbt", *SLOW, *OPTIONS)
    near = swarm.leech("near", "geventbt", *OPTIONS)
    far = swarm.seed("far", "geventbt", *DEAF)
    far.connect(relay)
    near.connect(far)
    far.until(lambda: far.peer(relay))
    near.until(lambda: "no connection to {}:{}".format(*far.address) in near.log.read_text())
    assert near.peer(far) is None
    near.connect(relay)
    transport, sources = near.until(lambda: near.peer(far))
    assert transport == "utp"
    far.until(lambda: "holepunch" in (far.peer(near) or ["", ""])[1])
    near.until(lambda: swarm.has_all("near"))
    assert "holepunch" in (near.peer(far) or ["", sources])[1]


def test_a_magnet_link_whose_only_peers_are_behind_routers_gets_its_metadata(swarm: Swarm) -> None:
    relay = swarm.leech("relay", "geventbt", *SLOW, *OPTIONS, "--limit", "METADATA_SERVED=0")
    link = swarm.leech("link", "geventbt", *OPTIONS, "--limit", "METADATA_REJECTS=0", magnet=True)
    store = swarm.seed("store", "geventbt", *DEAF)
    store.connect(relay)
    link.connect(store)
    store.until(lambda: store.peer(relay))
    link.until(lambda: "no connection to {}:{}".format(*store.address) in link.log.read_text())
    link.connect(relay)
    link.until(lambda: swarm.has_all("link"))
    assert "holepunch" in (store.peer(link) or ["", ""])[1]
