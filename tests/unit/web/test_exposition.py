"""Prometheus' text format, read by Prometheus' own parser."""

from __future__ import annotations

import math

import pytest

from geventbt.web.exposition import Family, by_label, render, single


def test_prometheus_reads_what_is_written() -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client is not installed")
    hostile = 'a "quoted"\\ name\nof two lines{}'
    text = render(
        [
            single("ours_sent_bytes_total", "counter", "What was\nsent \\.", 3),
            by_label("ours_things", "gauge", "Things.", "name", {hostile: 1.5, "other": math.inf}),
            Family("ours_none", "gauge", "Nothing.", []),
        ]
    )
    found = {family.name: family for family in parser.text_string_to_metric_families(text)}
    assert [sample.value for sample in found["ours_sent_bytes"].samples] == [3.0]
    assert found["ours_sent_bytes"].type == "counter"
    assert {sample.labels["name"]: sample.value for sample in found["ours_things"].samples} == {
        hostile: 1.5,
        "other": math.inf,
    }
    assert found["ours_none"].samples == []
