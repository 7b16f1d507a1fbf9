"""What is kept of a torrent: written, read, and read when it is not as it should be."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geventbt.service.record import GroupRecord, ServiceRecord, Settings, TorrentRecord

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("ab1", max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2),
    max_leaves=4,
)


def test_a_record_reads_as_it_was_written() -> None:
    record = TorrentRecord(id=3, folder="/data", labels=["a"], trackers=[["http://a/"]], renames=[["x", "y"]])
    record.moved_from = {"folder": "/old", "renames": []}
    assert TorrentRecord.decode(record.encode()) == record


def test_what_a_later_version_has_added_survives() -> None:
    record = TorrentRecord.decode(b'{"version": 1, "id": 3, "colour": "red"}')
    assert record.id == 3
    assert json.loads(record.encode())["colour"] == "red"


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"version": 2}', b'{"version": "x"}', b"\xff"])
def test_what_is_not_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        TorrentRecord.decode(data)


def test_a_value_of_a_wrong_type_is_replaced_by_its_default() -> None:
    record = TorrentRecord.decode(b'{"id": "x", "labels": 3, "ratio": 1, "is_stopped": 1, "trackers": 5}')
    assert (record.id, record.labels, record.ratio, record.is_stopped, record.trackers) == (0, [], 1, False, None)


@given(st.dictionaries(st.sampled_from([*TorrentRecord.__dataclass_fields__, "version", "x"]), JSON))
def test_no_object_breaks_the_reader(content: dict[str, Any]) -> None:
    try:
        record = TorrentRecord.decode(json.dumps(content).encode())
    except ValueError:
        return
    assert TorrentRecord.decode(record.encode()) == record


@pytest.mark.parametrize("content", [None, 5, "x", [], {}, {"limit_down": "5", "limits_down": 1}])
def test_a_group_of_which_nothing_can_be_read_has_no_limits(content: object) -> None:
    assert GroupRecord.read(content) == GroupRecord()


def test_numbers_of_torrents_are_never_used_again() -> None:
    service = ServiceRecord()
    assert [service.take_id(), service.take_id()] == [1, 2]
    assert ServiceRecord.decode(service.encode()).take_id() == 3


def test_attributes_are_set_only_where_there_are_such() -> None:
    record = TorrentRecord()
    record.change({"is_stopped": True})
    assert record.is_stopped
    with pytest.raises(AttributeError):
        record.change({"stopped": True})


def test_a_rate_holds_only_if_it_is_to() -> None:
    record = TorrentRecord(limit_down=0, limits_down=True, limit_up=5)
    assert (record.rate_down, record.rate_up) == (0, None)
    assert Settings().downloads == 5
