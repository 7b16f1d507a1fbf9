"""Arguments that take several values."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def several(values: T, argument: str) -> T:
    """The values of an argument that takes several: anything but a text or bytes, whose parts would be taken for them.

    Raises:
        TypeError: it is a text or bytes.
    """
    if isinstance(values, (str, bytes, bytearray)):
        raise TypeError(f"{argument}={values!r}: several are expected, such as [{values!r}]")
    return values
