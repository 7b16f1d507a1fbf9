"""The login of a web interface, from a file."""

from __future__ import annotations

from typing import Any

from geventbt import limits
from geventbt.cli.errors import USAGE, CommandError


def read_login(path: str | None) -> Any:
    """The login in a file; None for none.

    Raises:
        CommandError: it has none.
    """
    from geventbt.web import Login

    if path is None:
        return None
    with open(path, encoding="utf-8") as file:
        text = file.read(limits.WEB_HEAD)
    try:
        return Login.from_text(text)
    except ValueError as error:
        raise CommandError(USAGE, f"{path}: {error}") from error
