"""Which folders may be named from outside. Pure."""

from __future__ import annotations

import os
from collections.abc import Iterable


def inside(folder: str | os.PathLike[str], roots: Iterable[str | os.PathLike[str]]) -> str:
    """A folder with all links on the way to it followed.

    Args:
        folder: any text.
        roots: the folders that it must be, or be in.

    Raises:
        ValueError: it is not absolute, or in none of them.
    """
    text = os.fspath(folder)
    if not os.path.isabs(text) or "\0" in text:
        raise ValueError(f"not an absolute path: {text!r}")
    real = os.path.realpath(text)
    for root in roots:
        top = os.path.realpath(root)
        if real == top or real.startswith(os.path.join(top, "")):
            return real
    raise ValueError(f"outside of the folders for data: {text!r}")
