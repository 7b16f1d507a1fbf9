"""The annotations of the public names can be read by programs, as typer, pydantic and Sphinx do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, get_type_hints

import pytest

import geventbt
import geventbt.web
import geventbt.web.rpc


def annotated(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions and classes of a module, and the public methods and properties of these, by name."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            yield name, value
            yield from ((f"{name}.{inner}", method) for inner, method in methods(value))


def methods(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in inspect.getmembers(owner):
        function = inspect.unwrap(getattr(value, "fget", getattr(value, "__func__", value)))
        is_public = not name.startswith("_") or name in ("__init__", "__call__")
        if is_public and inspect.isfunction(function) and function.__module__.startswith("geventbt"):
            yield name, function


@pytest.mark.parametrize("module", [geventbt, geventbt.web, geventbt.web.rpc], ids=lambda module: module.__name__)
def test_the_type_hints_of_all_public_names_can_be_evaluated(module: ModuleType) -> None:
    unknown = {}
    for name, value in annotated(module):
        try:
            get_type_hints(value)
        except (NameError, TypeError, AttributeError) as error:
            unknown[name] = error
    assert unknown == {}


def test_the_hints_of_a_download_are_those_of_its_signature() -> None:
    hints = get_type_hints(geventbt.download)
    assert set(hints) == {*inspect.signature(geventbt.download).parameters, "return"}
    assert hints["return"] is geventbt.Torrent
