"""uTP over a line with a delay, a rate and losses, with clients that nobody here wrote."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from wan.wan import Host, Wan

from tests.wan.networks import network
from tests.wan.programs import Swarm

pytestmark = pytest.mark.interop
RETRIES = ("FIRST_RETRY=0.1", "MAX_RETRY=0.2", "CONNECT_FAILURES=200")
"""The other one may not listen yet when it is connected to."""
OPTIONS = ["--transport", "utp", *(option for limit in RETRIES for option in ("--limit", limit))]


@pytest.fixture(scope="module")
def wan() -> Iterator[Wan]:
    line: dict[str, Any] = {"up": 40.0, "down": 40.0, "delay": 5.0, "loss": 0.5}
    with network(Host("ours", **line), Host("theirs", **line)) as made:
        yield made


@pytest.fixture
def libtorrent() -> str:
    pytest.importorskip("libtorrent", reason="libtorrent is not installed")
    return "libtorrent"


@pytest.fixture
def transmission() -> str:
    if not shutil.which("transmission-cli"):
        pytest.skip("transmission-cli is not installed")
    return "transmission"


def test_we_download_from_libtorrent_over_utp(swarm: Swarm, libtorrent: str) -> None:
    theirs, ours = swarm.seed("theirs", libtorrent), swarm.leech("ours", "geventbt", *OPTIONS)
    ours.connect(theirs)
    ours.until(lambda: swarm.has_all("ours"))


def test_libtorrent_downloads_from_us_over_utp(swarm: Swarm, libtorrent: str) -> None:
    ours, theirs = swarm.seed("ours", "geventbt", *OPTIONS), swarm.leech("theirs", libtorrent)
    ours.connect(theirs)
    theirs.until(lambda: swarm.has_all("theirs"))


# Transmission lets nobody download, and wants nothing, for up to ten seconds; but metadata it gives and takes at once.


def test_transmission_gives_us_metadata_over_utp(swarm: Swarm, transmission: str) -> None:
    theirs, ours = swarm.seed("theirs", transmission), swarm.leech("ours", "geventbt", *OPTIONS, magnet=True)
    ours.connect(theirs)
    ours.until(lambda: ours.now.get("state") == "downloading")


def test_transmission_takes_metadata_from_us_over_utp(swarm: Swarm, transmission: str) -> None:
    ours, theirs = swarm.seed("ours", "geventbt", *OPTIONS), swarm.leech("theirs", transmission, magnet=True)
    ours.connect(theirs)
    theirs.until(lambda: swarm.has_metadata("theirs"))
