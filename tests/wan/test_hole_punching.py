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
    with network(Host("relay", delay=10), Host("near", delay=10, nat=True), Host("far", delay=10, nat=True)) as made:
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
