"""The public names of the package by kind, for tests that hold for each of them."""

from __future__ import annotations

import geventbt
from geventbt import Extension


def public_extensions() -> list[type[Extension]]:
    """The extensions that are built in."""
    values = [getattr(geventbt, name) for name in geventbt.__all__]
    return [value for value in values if isinstance(value, type) and issubclass(value, Extension) and value.name]
