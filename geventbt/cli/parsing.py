"""The argument parser of a command: its examples, its options as environment variables, and errors that help."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from geventbt.cli.errors import USAGE
from geventbt.cli.json_lines import emit_last
from geventbt.cli.suggestions import command_hint, option_hint
from geventbt.cli.text import printable

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

PREFIX = "GEVENTBT_"
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")


class Parser(argparse.ArgumentParser):
    """A parser whose options have environment variables as defaults: --max-peers has GEVENTBT_MAX_PEERS.

    A repeatable option takes values separated by spaces, and a switch 1 or 0. An empty variable counts as not set.

    Args:
        without_variables: the `dest` of options that have no variable.
        options: see `argparse.ArgumentParser`.
    """

    def __init__(self, *, without_variables: Collection[str] = (), **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        # An option of a later version could otherwise change what an abbreviation in a script means.
        super().__init__(allow_abbrev=False, **options)
        self._without_variables = frozenset(without_variables)
        self._is_json = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, with defaults from the environment. A subparser does so only if its command is used."""
        args = sys.argv[1:] if args is None else list(args)
        self._is_json = "--json" in args
        self._take_config(args)
        self._take_defaults(os.environ)
        self._check_command(args)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            # Reported here, so that the message names the help of this command and not of the main parser.
            self._take_rest(found, unknown)
        return found, []

    def error(self, message: str) -> NoReturn:
        """End with one line, and where there is more; exit code 2. With --json, it is an object."""
        if self._is_json:
            emit_last("error", code=USAGE, message=message)
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _check_command(self, args: Sequence[str]) -> None:
        """See that the first word is a command, where commands are wanted; no option before it takes a value."""
        commands = subparsers_of(self)
        word = next((arg for arg in args if not arg.startswith("-")), None)
        if commands and word is not None and word not in commands:
            self.error(f"there is no command {printable(word)!r}; {command_hint(word, commands)}")

    def _take_rest(self, found: argparse.Namespace, unknown: Sequence[str]) -> None:
        """Take words behind the options, which argparse leaves over, as more of an argument that may be repeated, or as
        one that may be left out."""
        option = next((word for word in unknown if word.startswith("-") and word != "-"), None)
        if option is not None:
            hint = option_hint(option, [action.option_strings for action in self._actions])
            self.error(f"there is no option {printable(option)}{hint and '; '}{hint}")
        repeated = next((action.dest for action in self._actions if action.nargs == "+"), None)
        if repeated is not None:
            getattr(found, repeated).extend(unknown)
            return
        left_out = (action.dest for action in self._actions if action.nargs == "?" and not action.option_strings)
        name = next((dest for dest in left_out if getattr(found, dest) is None), None)
        if name is not None:
            setattr(found, name, unknown[0])
        if name is None or len(unknown) > 1:
            self.error(f"one argument too many: {printable(unknown[-1])}")

    def _take_config(self, args: Sequence[str]) -> None:
        """Take defaults from a file, of a command that has the option for it."""
        if not any(action.dest == "config" for action in self._actions):
            return
        # Only now: no other command has it.
        from geventbt.cli.config_file import config_path, read_config

        path = config_path(args, os.environ)
        if path is not None:
            try:
                self.set_defaults(**read_config(path, self._actions))
            except ValueError as error:
                self.error(str(error))

    def _take_defaults(self, environment: Mapping[str, str]) -> None:
        for action in self._actions:
            name = variable_of(action)
            if environment.get(name) and action.dest not in self._without_variables:
                try:
                    action.default = self._default_of(action, environment[name])
                except (argparse.ArgumentTypeError, ValueError) as error:
                    self.error(f"environment variable {name}: {error}")

    def _default_of(self, action: argparse.Action, text: str) -> object:
        if action.nargs == 0:
            if text.lower() not in _YES + _NO:
                raise ValueError(f"{text!r} is neither 1 nor 0")
            return text.lower() in _YES
        read: Any = action.type or str
        if isinstance(action.default, list):
            return [read(word) for word in text.split()]
        if action.choices is not None and text not in action.choices:
            raise ValueError(f"{text!r} is not one of {', '.join(map(str, action.choices))}")
        return read(text)


def variable_of(action: argparse.Action) -> str:
    """The environment variable of an option; "" where there is none."""
    is_option = bool(action.option_strings) and action.dest not in ("help", "version")
    return PREFIX + action.dest.upper() if is_option else ""


def add_command(commands: Commands, name: str, summary: str, examples: str, **options: Any) -> Parser:
    """Add a command with its summary, and its examples, one a line."""
    lines = "\n".join(f"  {line.strip()}" for line in examples.strip().splitlines())
    epilog = f"{'examples' if chr(10) in lines else 'example'}:\n{lines}"
    parser = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=epilog, **options
    )
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
    )
    return parser


def subparsers_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of the commands of a parser, by name."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found: Mapping[str, argparse.ArgumentParser] = action.choices
            return found
    return {}


def actions_of(parser: argparse.ArgumentParser) -> Sequence[argparse.Action]:
    """The options and arguments of a parser, without its commands."""
    return [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
