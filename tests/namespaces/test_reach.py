"""Where packets go, as they are seen on the devices of a host of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.namespaces import hosts
from tests.namespaces.hosts import FAR, OTHER, PROXY, Packet, command, run_near, sniffed, start


@pytest.fixture(scope="module", autouse=True)
def two_hosts() -> Iterator[None]:
    with hosts.two_hosts():
        yield


class World:
    """What runs on the far host; see `tests.namespaces.world`.

    Attributes:
        ports: by name.
    """

    def __init__(self, folder: Path) -> None:
        self.torrent = folder / "data.torrent"
        self.torrent_without_names = folder / "without-names.torrent"
        module = "tests.namespaces.world"
        self._process = start(
            FAR, sys.executable, "-m", module, folder, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdout is not None
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())

    def end(self) -> dict[str, Any]:
        """End it, and return what it has seen."""
        report: dict[str, Any] = json.loads(self._process.communicate()[0])
        return report


@pytest.fixture(scope="module")
def world(two_hosts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("far"))
    yield made
    made.end()


_BEGINS = """
import geventbt, gevent
with geventbt.Client() as client:
    client.add("magnet:?xt=urn:btih:" + 40 * "0", "/nonexistent")
    gevent.sleep(0.3)
"""


def test_a_client_without_a_proxy_is_noticed():
    packets: list[Packet] = []
    with sniffed(packets):
        outcome = run_near("-c", _BEGINS)
    assert outcome.returncode == 0, outcome.stderr
    # Local discovery over both families, the router, and devices of UPnP over both.
    expected = {"239.192.152.143", "ff15::efc0:988f", PROXY, "239.255.255.250", "ff02::c"}
    assert expected <= {to.destination for to in packets}


def test_with_a_proxy_no_packet_goes_past_it(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    world = World(folder)
    ports = world.ports
    packets: list[Packet] = []
    with sniffed(packets):
        outcome = run_near(
            *("-m", "geventbt", "download", world.torrent, "-o", tmp_path / "near", "-v"),
            *("--proxy", f"socks5://me:secret@{PROXY}:{ports['proxy']}"),
            # Each tier is asked, and that of the torrent is of HTTP.
            *("--tracker", f"udp://tracker.test:{ports['udp']}/announce"),
            *("--web-seed", f"http://web.test:{ports['web']}/"),
            *("--peer", "named.test:6881"),
        )
        over_utp = run_near(
            *("-m", "geventbt", "download", world.torrent_without_names, "-o", tmp_path / "utp"),
            *("--proxy", f"socks5://me:secret@{PROXY}:{ports['proxy']}", "--transport", "utp"),
            *("--peer", f"{OTHER}:{ports['seed']}"),
        )
        asked = run_near(
            *("-m", "geventbt", "peer", f"{OTHER}:{ports['seed']}", world.torrent, "--wait", "0"),
            *("--proxy", f"socks5://me:secret@{PROXY}:{ports['proxy']}"),
        )
    report = world.end()
    assert outcome.returncode == 0, outcome.stderr
    assert (tmp_path / "near" / "data.bin").read_bytes() == (folder / "data.bin").read_bytes()
    assert {to.destination for to in packets} == {PROXY}
    assert "secret" not in outcome.stdout + outcome.stderr
    assert over_utp.returncode == 0, over_utp.stderr
    assert report["http"] >= 1
    assert report["udp"] >= 2
    assert asked.returncode == 0, asked.stderr
    assert [OTHER, ports["seed"]] in report["asked"]
    assert ["tracker.test", ports["http"]] in report["asked"]
    assert ["web.test", ports["web"]] in report["asked"]


@pytest.mark.parametrize(("interface", "transport"), [("cable1", "tcp"), ("cable1", "utp"), ("10.98.0.1", "utp")])
def test_with_an_interface_every_packet_is_from_there(world: World, tmp_path, interface, transport):
    packets: list[Packet] = []
    with sniffed(packets):
        outcome = run_near(
            *("-m", "geventbt", "download", world.torrent_without_names, "-o", tmp_path, "--interface", interface),
            *("--tracker", f"http://tracker.test:{world.ports['http']}/announce", "--transport", transport),
            *("--tracker", f"udp://{OTHER}:{world.ports['udp']}/announce"),
            *("--peer", f"{OTHER}:{world.ports['seed']}", "--dht-node", f"{OTHER}:6881", "-v"),
            GEVENTBT_NAME_SERVERS=f"{OTHER}:{world.ports['names']}",
        )
    assert outcome.returncode == 0, outcome.stderr
    if interface == "cable1":
        assert {packet.device for packet in packets} == {"cable1"}
    else:
        assert {packet.source for packet in packets} == {interface}
    assert OTHER in {packet.destination for packet in packets}
    assert "cannot be reached" not in outcome.stderr
    assert "no name server" not in outcome.stderr


# ---------------------------------------------------------------------- a router that nobody here wrote

_TABLES = """
table inet filter {
    chain miniupnpd { }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
}
"""
_CONFIG = """
ext_ifname=cable1
ext_ip=93.184.216.34
listening_ip=cable0
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
uuid=00000000-0000-0000-0000-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
allow 1024-65535 0.0.0.0/0 1024-65535
"""
_MAPS = """
import geventbt, gevent
with geventbt.Client(lsd=False, dht=geventbt.DHT(routers=()), transport="tcp") as client:
    with gevent.Timeout(20):
        while len(client.port_mappings) < 8:
            gevent.sleep(0.02)
    print(client.dht.status().external_host)
    for mapping in client.port_mappings:
        print(mapping.protocol, mapping.transport, mapping.external_host)
"""


@pytest.mark.interop
def test_miniupnpd_maps_ports_and_opens_its_firewall_and_takes_them_back(tmp_path):
    if not shutil.which("miniupnpd") or not shutil.which("nft"):
        pytest.skip("needs miniupnpd and nftables")
    tables = subprocess.run(command(FAR, "nft", "-f", "-"), input=_TABLES, text=True, capture_output=True)
    if tables.returncode:
        pytest.skip(f"this system has no nftables: {tables.stderr}")
    config = tmp_path / "miniupnpd.conf"
    config.write_text(_CONFIG)
    router = start(FAR, "miniupnpd", "-d", "-f", config, stderr=subprocess.STDOUT)
    assert router.stdout is not None
    try:
        for line in router.stdout:
            if "Listening for NAT-PMP" in line:
                break
        outcome = run_near("-c", _MAPS)
        assert outcome.returncode == 0, outcome.stderr
        host = "93.184.216.34"
        mapped = [f"{name} {kind} {host}" for name in ("pcp", "upnp") for kind in ("tcp", "udp")]
        firewall = [f"{name} {kind} fd99::1" for name in ("pcp", "upnp") for kind in ("tcp", "udp")]
        assert outcome.stdout.splitlines() == [host, *mapped, *firewall]
        rules = subprocess.run(command(FAR, "nft", "list", "ruleset"), text=True, capture_output=True).stdout
        assert "dnat" not in rules
        assert "fd99::1" not in rules
    finally:
        router.terminate()
        router.wait()
        router.stdout.close()
        subprocess.run(command(FAR, "nft", "flush", "ruleset"), capture_output=True)
