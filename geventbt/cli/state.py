"""Files that the command line keeps from one run to the next."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NAME = "geventbt"
_ROUTERS_VARIABLE = "GEVENTBT_DHT_ROUTERS"


def dht_state() -> Path | None:
    """The file for the id and the nodes of the DHT; None if there is no folder for it.

    None also where the environment names other routers than the public ones: nodes of a network of the user's own do
    not belong among those of the public one.
    """
    folder = state_folder()
    return None if folder is None or _ROUTERS_VARIABLE in os.environ else folder / "dht.state"


def state_folder() -> Path | None:
    """The folder for state: on Linux that of the XDG Base Directory Specification, $XDG_STATE_HOME/geventbt or
    ~/.local/state/geventbt. None for a user without a home folder. It is made when something is written."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or "~/AppData/Local")
    elif sys.platform == "darwin":
        base = Path("~/Library/Application Support")
    else:
        named = Path(os.environ.get("XDG_STATE_HOME", ""))
        # The specification: a path that is not absolute must be ignored.
        base = named if named.is_absolute() else Path("~/.local/state")
    folder = Path(os.path.expanduser(base)) / _NAME
    return folder if folder.is_absolute() else None
