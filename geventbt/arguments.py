"""Arguments of public functions: one of another type, or without meaning, is refused by its name, and at the call.

Otherwise it would fail later, on some greenlet, or be taken for something else, as the text "no" is for true. Where
None means something, it is left out: ``check_counts(**given(upload_slots=upload_slots))``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from math import inf
from numbers import Integral, Real
from typing import Any, TypeVar

T = TypeVar("T")


def several(values: T, argument: str) -> T:
    """The values of an argument that takes several: anything but a text or bytes, whose parts would be taken for them.

    Raises:
        TypeError: it is a text or bytes, or has no values.
    """
    if isinstance(values, (str, bytes, bytearray)) or not isinstance(values, Iterable):
        raise TypeError(f"{argument}={values!r}: several are expected, such as [{values!r}]")
    return values


def several_tiers(values: Iterable[Iterable[str]], argument: str) -> list[list[str]]:
    """The tiers of an argument that takes several, each of several texts. Raises TypeError, as `several` does."""
    return [list(several(tier, argument)) for tier in several(values, argument)]


def given(**values: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def check_flags(**values: object) -> None:
    """Raise TypeError for what is neither True nor False."""
    _check_types(values, bool, "True or False is expected")


def check_texts(**values: object) -> None:
    """Raise TypeError for what is not a text."""
    _check_types(values, str, "a text is expected")


def check_paths(**values: object) -> None:
    """Raise TypeError for what is not a path."""
    _check_types(values, (str, os.PathLike), "a path is expected")


def check_bytes(**values: object) -> None:
    """Raise TypeError for what is not bytes."""
    _check_types(values, (bytes, bytearray, memoryview), "bytes are expected")


def check_instances(kind: type, /, **values: object) -> None:
    """Raise TypeError for what is not an instance of a class."""
    _check_types(values, kind, f"an instance of {kind.__name__} is expected")


def check_counts(**values: object) -> None:
    """Raise TypeError for what is not a whole number, and ValueError for one below 0."""
    _check_numbers(values, Integral, 0, "a whole number from 0 on is expected")


def check_rates(**values: object) -> None:
    """Raise TypeError for what is not a number, and ValueError for one below 0; None stands for no limit."""
    _check_numbers(given(**values), Real, 0, "bytes a second are expected, a number from 0 on, or None for no limit")


def check_seconds(**values: object) -> None:
    """Raise TypeError for what is not a number, and ValueError for NaN. A time below 0 is over already."""
    _check_numbers(values, Real, -inf, "a number of seconds is expected")


def _check_types(values: Mapping[str, object], kinds: type | tuple[type, ...], expected: str) -> None:
    for name, value in values.items():
        if not isinstance(value, kinds):
            raise TypeError(f"{name}={value!r}: {expected}")


def _check_numbers(values: Mapping[str, Any], kind: type, least: float, expected: str) -> None:
    for name, value in values.items():
        is_number = isinstance(value, kind) and not isinstance(value, bool)
        if not is_number:
            raise TypeError(f"{name}={value!r}: {expected}")
        # This way round NaN is refused as well.
        if not value >= least:
            raise ValueError(f"{name}={value!r}: {expected}")
