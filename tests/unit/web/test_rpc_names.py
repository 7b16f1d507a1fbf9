"""The two spellings of the RPC protocol, and the arguments of its requests."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt.web.rpc.arguments import Arguments
from geventbt.web.rpc.errors import RpcError
from geventbt.web.rpc.fields import FIELDS
from geventbt.web.rpc.names import camel_name, legacy_answer, snake_name


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("torrent-get", "torrent_get"),
        ("hashString", "hash_string"),
        ("file-count", "file_count"),
        ("fileCount", "file_count"),
        ("seedRatioLimited", "seed_ratio_limited"),
        ("cache-size-mb", "cache_size_mib"),
        ("isUTP", "is_utp"),
        ("sequential_download", "sequential_download"),
        ("delete-local-data", "delete_local_data"),
        ("webseedsSendingToUs", "webseeds_sending_to_us"),
        ("noNameIsSoLong" * 5, "noNameIsSoLong" * 5),
    ],
)
def test_a_name_is_known_in_every_spelling(name: str, snake: str) -> None:
    assert snake_name(name) == snake


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_known_by_its_camel_name(name: str) -> None:
    assert snake_name(camel_name(name)) == name


def test_answers_are_spelled_as_older_clients_know_them() -> None:
    settings = {"cache_size_mib": 0, "seed_ratio_limit": 2, "peer_port": 1, "units": {"speed_units": []}}
    assert legacy_answer("session_get", settings) == {
        "cache-size-mb": 0,
        "seedRatioLimit": 2,
        "peer-port": 1,
        "units": {"speed-units": []},
    }
    stats = {"torrent_count": 1, "current_stats": {"seconds_active": 2}}
    assert legacy_answer("session_stats", stats) == {"torrentCount": 1, "current-stats": {"secondsActive": 2}}
    added = {"torrent_added": {"hash_string": "x", "id": 1}}
    assert legacy_answer("torrent_add", added) == {"torrent-added": {"hashString": "x", "id": 1}}
    listed = {"torrents": [{"sequential_download": True, "peers": [{"is_utp": False, "client_name": "x"}]}]}
    assert legacy_answer("torrent_get", listed) == {
        "torrents": [{"sequential_download": True, "peers": [{"isUTP": False, "clientName": "x"}]}]
    }
    assert legacy_answer("free_space", {"size_bytes": 1, "total_size": 2}) == {"size-bytes": 1, "total_size": 2}


@pytest.mark.parametrize(("value", "read"), [(True, True), (1, True), (0, False), (False, False), (None, False)])
def test_a_boolean_may_be_a_number(value: Any, read: bool) -> None:
    assert Arguments({"delete-local-data": value}).boolean("delete_local_data") is read


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (lambda arguments: arguments.boolean("x"), "true"),
        (lambda arguments: arguments.boolean("x"), 2),
        (lambda arguments: arguments.text("x"), 5),
        (lambda arguments: arguments.integer("x"), "5"),
        (lambda arguments: arguments.integer("x"), True),
        (lambda arguments: arguments.number("x"), float("inf")),
        (lambda arguments: arguments.items("x", int), 5),
        (lambda arguments: arguments.items("x", int), [1, "2"]),
        (lambda arguments: arguments.items("x", int), [True]),
        (lambda arguments: arguments.items("x", int), [1] * 10_001),
    ],
)
def test_a_wrong_argument_is_refused_with_its_name(read: Any, value: Any) -> None:
    with pytest.raises(RpcError, match="x: must be"):
        read(Arguments({"x": value}))


@given(st.integers())
def test_an_integer_is_kept_within_its_bounds(value: int) -> None:
    assert 1 <= Arguments({"x": value}).integer("x", 1, 65535) <= 65535
