"""What type checkers know of signals is what the table of signals says."""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any

import pytest

from geventbt import Extension, Wire
from geventbt.client.torrent.signal_types import TorrentOn
from geventbt.extensions import signal_types as extension_signal_types
from geventbt.signals import SERVER_SIGNALS, TORRENT_SIGNALS, WIRE_SIGNALS
from geventbt.wire import server_signal_types, signal_types
from tests.public_names import public_extensions

if sys.version_info < (3, 11):
    pytest.skip("typing.get_overloads is new in Python 3.11", allow_module_level=True)


def fields_of_handler(hints: dict[str, Any]) -> set[str]:
    """The fields that an overload expects its handler to take."""
    taken = inspect.signature(hints["handler"].__bound__.__call__).parameters.values()
    return {parameter.name for parameter in taken if parameter.kind is inspect.Parameter.KEYWORD_ONLY}


def fields_of_result(hints: dict[str, Any]) -> set[str]:
    """The fields that an overload returns."""
    return set(hints["return"].__required_keys__)


def overloads_of(face: Any) -> list[dict[str, Any]]:
    """The hints of each overload of a Protocol's `__call__`, but for the one that takes any name."""

    def call() -> None:
        """Has the name under which the overloads are known, as a Protocol has no implementation that has it."""

    call.__module__, call.__qualname__ = face.__module__, f"{face.__qualname__}.__call__"
    hints = [typing.get_type_hints(overload) for overload in typing.get_overloads(call)]
    return [hint for hint in hints if str not in hint.values()]


def typed_fields(face: Any, fields_of: Any) -> dict[str, set[str]]:
    """The fields of each signal that has an overload."""
    found: dict[str, set[str]] = {}
    for hints in overloads_of(face):
        for name in typing.get_args(hints.get("name", hints.get("signal_name"))):
            assert name not in found
            found[name] = fields_of(hints)
    return found


def documented_fields(doc: str | None) -> set[str]:
    """The fields that the table names: those before the colon of a line such as "index, begin: a block"."""
    names, colon, _ = (doc or "").partition(": ")
    return set(names.split(", ")) if colon else set()


def test_the_results_of_wait_for_are_those_of_the_table() -> None:
    documented = {name: documented_fields(signal.__doc__) for name, signal in WIRE_SIGNALS.items()}
    assert typed_fields(signal_types.WaitFor, fields_of_result) == documented, "see geventbt/wire/signal_types.py"


def test_the_handlers_of_a_wire_are_those_of_the_table() -> None:
    documented = {name: documented_fields(signal.__doc__) for name, signal in WIRE_SIGNALS.items()}
    assert typed_fields(signal_types.On, fields_of_handler) == documented, "see geventbt/wire/signal_types.py"


def test_the_handlers_of_a_server_are_those_of_the_table() -> None:
    documented = {name: documented_fields(signal.__doc__) for name, signal in SERVER_SIGNALS.items()}
    documented["error"].add("wire")
    assert typed_fields(server_signal_types.ServerOn, fields_of_handler) == documented


def test_the_handlers_of_a_torrent_are_those_of_the_table() -> None:
    documented = {name: documented_fields(signal.__doc__) for name, signal in TORRENT_SIGNALS.items()}
    assert typed_fields(TorrentOn, fields_of_handler) == documented


@pytest.mark.parametrize("extension", public_extensions())
def test_the_handlers_of_an_extension_are_those_of_its_signals(extension: type[Extension]) -> None:
    face = getattr(extension_signal_types, f"{extension.__name__}On", None)
    assert face is not None, f"geventbt/extensions/signal_types.py has the overloads of {extension.__name__}.on"
    assert typed_fields(face, fields_of_handler).keys() == set(extension.signal_names)


def test_a_wire_has_an_attribute_for_each_signal_and_extension() -> None:
    names = [*(f"on_{name}" for name in WIRE_SIGNALS), *(extension.name for extension in public_extensions())]
    assert [name for name in names if name not in Wire.__annotations__] == [], "declare it in geventbt/wire/wire.py"
