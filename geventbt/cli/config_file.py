"""Defaults of a command's options from a TOML file: its keys are the options' long names, such as ``max-peers = 100``.

What stands in an environment variable or on the command line holds in place of it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def config_path(arguments: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The file that --config, or its variable, names; None for none."""
    path = environment.get("GEVENTBT_CONFIG") or None
    for at, argument in enumerate(arguments):
        if argument.startswith("--config="):
            path = argument.partition("=")[2]
        elif argument == "--config" and at + 1 < len(arguments):
            path = arguments[at + 1]
    return path


def read_config(path: str, actions: Sequence[argparse.Action]) -> dict[str, Any]:
    """The values in a file, by the `dest` of their options.

    Args:
        path: the file.
        actions: the options that it may set.

    Raises:
        ValueError: it cannot be read, is not TOML, has a key that is not an option, or a value that is none for it.
    """
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    options = {name_of(action): action for action in actions if action.option_strings}
    found = {}
    for key, value in content.items():
        action = options.get(key.replace("_", "-"))
        if action is None or action.dest in ("config", "help", "debug"):
            near = get_close_matches(key, options, 1)
            raise ValueError(f"{path}: there is no option {key!r}{f'; is {near[0]!r} meant?' if near else ''}")
        found[action.dest] = _read(f"{path}: {key}", action, value)
    return found


def name_of(action: argparse.Action) -> str:
    """The long name of an option, without its dashes."""
    return max(action.option_strings, key=len).lstrip("-")


def _read(where: str, action: argparse.Action, value: Any) -> Any:
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"{where}: must be true or false")
        return value
    if isinstance(action.default, list):
        if not isinstance(value, list):
            raise ValueError(f"{where}: must be a list")
        return [_converted(where, action, each) for each in value]
    return _converted(where, action, value)


def _converted(where: str, action: argparse.Action, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError(f"{where}: must be a text or a number")
    convert: Any = action.type or str
    text = str(value)
    if action.choices is not None and text not in action.choices:
        raise ValueError(f"{where}: {text!r} is not one of {', '.join(map(str, action.choices))}")
    try:
        return convert(text)
    except (argparse.ArgumentTypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error
