"""The metrics, read by Prometheus' own parser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from geventbt.web import Metrics, make_app
from tests.loopback.web.conftest import MakeServer, Visitor
from tests.loopback.world import World

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana-dashboard.json"


def parsed(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """The values of each metric by the values of their labels."""
    families = list(parser.text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {
        sample.name: {tuple(other.labels.values()): other.value for other in family.samples}
        for family in families
        for sample in family.samples
    }


def test_they_count_what_was_transferred(world: World, serving_http: MakeServer) -> None:
    torrent = world.torrent()
    client = world.client(port=None, limit_up=1000)
    visitor = Visitor(serving_http(make_app(client, world.folder, per_torrent_metrics=True)))
    active = world.download(torrent, world.seeds(torrent, 1), client=client)
    assert active.wait(10)
    visitor.ask(f"/stream/{torrent.swarm_hash.hex()}/0")
    reply = visitor.ask("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found = parsed(reply.body.decode())
    assert found["geventbt_torrents"][("seeding",)] == 1
    assert found["geventbt_received_payload_bytes_total"][()] == torrent.geometry.size
    assert found["geventbt_missing_bytes"][()] == 0
    assert found["geventbt_stream_sent_bytes_total"][()] == 400_001
    assert found["geventbt_rate_limit_bytes_per_second"] == {("down",): float("inf"), ("up",): 1000}
    assert found["geventbt_http_requests_total"][("stream", "2xx")] == 1
    assert found["geventbt_torrent_info"] == {(torrent.swarm_hash.hex(), "data"): 1}
    assert found["geventbt_torrent_done_ratio"] == {(torrent.swarm_hash.hex(),): 1.0}


def test_counters_do_not_fall_when_a_torrent_goes(world: World) -> None:
    torrent = world.torrent()
    client = world.client(port=None)
    metrics = Metrics(client)
    active = world.download(torrent, world.seeds(torrent, 1), client=client)
    assert active.wait(10)
    before = parsed(metrics.text())
    active.remove()
    after = parsed(metrics.text())
    assert before["geventbt_received_payload_bytes_total"] == after["geventbt_received_payload_bytes_total"]
    assert after["geventbt_torrents"][("seeding",)] == 0


def test_torrents_have_no_metrics_of_their_own_unless_asked_for(world: World) -> None:
    client = world.client(port=None)
    client.add("magnet:?xt=urn:btih:" + "a" * 40)
    assert "a" * 40 not in Metrics(client).text()
    assert "a" * 40 in Metrics(client, per_torrent=True).text()


def test_names_have_their_units_and_counters_end_in_total(world: World, serving_http: MakeServer) -> None:
    text = Visitor(serving_http(make_app(world.client(port=None), world.folder))).ask("/metrics").body.decode()
    for name, kind in re.findall(r"# TYPE (\S+) (\S+)", text):
        assert name.endswith("_total") == (kind == "counter"), name
        assert name.startswith(("geventbt_", "process_"))


def test_the_dashboard_shows_metrics_that_there_are(world: World, serving_http: MakeServer) -> None:
    text = Visitor(serving_http(make_app(world.client(port=None), world.folder))).ask("/metrics").body.decode()
    there = set(re.findall(r"# TYPE (\S+)", text))
    dashboard = json.loads(DASHBOARD.read_text())
    shown = {name for panel in dashboard["panels"] for target in panel["targets"]
             for name in re.findall(r"(?:geventbt|process)_\w+", target["expr"])}  # fmt: skip
    assert shown
    assert shown <= there
