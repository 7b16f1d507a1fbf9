"""Whatever packets come, no exception leaves a DHT node, and what it keeps and sends is bounded.

The check and the damage are those of `scripts/fuzz_dht.py`, which runs for as long as one likes.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventbt.discovery.dht.messages import Failure, Query, Reply
from geventbt.discovery.dht.parser import BadQuery, NotAMessage, parse

_SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_dht.py"
_spec = importlib.util.spec_from_file_location("fuzz_dht", _SCRIPT)
assert _spec is not None
fuzz_dht: Any = importlib.util.module_from_spec(_spec)
assert _spec.loader is not None
_spec.loader.exec_module(fuzz_dht)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_packets_keep_the_invariant(seed: int) -> None:
    fuzz_dht.Fuzzer(seed).run(2000)


def test_the_damage_leaves_some_packets_that_are_understood() -> None:
    fuzzer = fuzz_dht.Fuzzer(1)
    fuzzer.run(2000)
    counters = fuzzer.node.counters
    assert min(counters.queries, counters.replies, counters.answered, counters.malformed, counters.unexpected) > 20


@given(data=st.binary(max_size=200))
@settings(deadline=None)
def test_any_bytes_are_a_message_or_are_not(data: bytes) -> None:
    for packet in (data, b"d" + data + b"e", b"d1:ad2:id20:" + b"i" * 20 + data + b"e1:q4:ping1:t2:tt1:y1:qe"):
        try:
            assert isinstance(parse(packet), (Query, Reply, Failure))
        except (BadQuery, NotAMessage):
            continue
