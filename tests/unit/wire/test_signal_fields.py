"""The types of the fields that `Wire.wait_for` returns are those of the table of signals."""

from __future__ import annotations

import sys
import typing

import pytest

from geventbt import Wire
from geventbt.signals import WIRE_SIGNALS
from geventbt.wire import signal_fields

if sys.version_info < (3, 11):
    pytest.skip("typing.get_overloads is new in Python 3.11", allow_module_level=True)


def typed_fields() -> dict[str, set[str]]:
    """The fields of each signal that has an overload."""
    found: dict[str, set[str]] = {}
    for overload in typing.get_overloads(Wire.wait_for):
        hints = typing.get_type_hints(overload, localns={"fields": signal_fields})
        for name in typing.get_args(hints["signal_name"]):
            assert name not in found
            found[name] = set(hints["return"].__required_keys__)
    return found


def documented_fields(name: str) -> set[str]:
    """The fields that the table names: those before the colon of a line such as "index, begin: a block"."""
    names, colon, _ = (WIRE_SIGNALS[name].__doc__ or "").partition(": ")
    return set(names.split(", ")) if colon else set()


def test_every_signal_has_an_overload() -> None:
    assert typed_fields().keys() == WIRE_SIGNALS.keys()


@pytest.mark.parametrize("name", WIRE_SIGNALS)
def test_an_overload_names_the_fields_of_its_signal(name: str) -> None:
    assert typed_fields()[name] == documented_fields(name)
