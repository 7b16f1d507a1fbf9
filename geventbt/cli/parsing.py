"""The argument parser of a command: its example, its options as environment variables, and the options that several
commands share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn, TypeAlias

from geventbt.cli import values
from geventbt.cli.errors import USAGE
from geventbt.cli.json_lines import emit_last
from geventbt.cli.suggestions import command_hint, option_hint
from geventbt.cli.text import printable

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

PREFIX = "GEVENTBT_"
_YES, _NO = ("1", "yes", "true", "on"), ("0", "no", "false", "off")
DATA = "the file or folder itself, or the folder that holds it"
SOURCE = "a .torrent file, an http(s) URL of one, a magnet link in quotes, an info hash, or - for standard input"


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
        """End with one line, and where there is more; exit code 2. With --json, programs are told."""
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


def add_source(parser: Parser, what: str = SOURCE) -> None:
    """Add the argument SOURCE, the torrent."""
    parser.add_argument("source", metavar="SOURCE", help=what)
    add_network(parser)


def add_sources(parser: Parser, what: str = f"{SOURCE}; several are fetched at one time") -> None:
    """The torrents, one or more."""
    parser.add_argument("source", metavar="SOURCE", nargs="+", help=what)
    add_network(parser)


def add_network(parser: Parser) -> None:
    """Add --proxy, --interface and --ip-filter."""
    parser.add_argument(
        "--proxy",
        type=values.proxy,
        metavar="URL",
        help="send everything through socks5://user:password@host:port or http://..., or not at all; other users of "
        "this machine can see options, but not GEVENTBT_PROXY",
    )
    parser.add_argument(
        "--interface", metavar="NAME", help="use only this device, such as tun0, or address of this machine"
    )
    parser.add_argument(
        "--ip-filter", metavar="FILE", help="leave the IP addresses in this file alone: .p2p, .dat, CIDR, or .gz"
    )


def add_on_complete(parser: Parser) -> None:
    """What to run at the end."""
    parser.add_argument(
        "--on-complete",
        metavar="COMMAND",
        help="run it in a shell for each torrent that is complete, with TORRENT_NAME, TORRENT_PATH, TORRENT_FOLDER and "
        "TORRENT_INFO_HASH in its environment",
    )


def add_output(parser: Parser, **options: Any) -> None:
    """Add --output, the folder for downloads."""
    parser.add_argument("-o", "--output", metavar="DIR", **options)


def add_repeatable(parser: Parser, flag: str, kind: Callable[[str], Any], metavar: str, text: str) -> None:
    """Add an option that may be given several times; its value is a list."""
    parser.add_argument(flag, action="append", default=[], type=kind, metavar=metavar, help=text)


def add_select(parser: Parser) -> None:
    """Add --select and --list, for the files of the torrent."""
    add_repeatable(
        parser,
        "--select",
        str,
        "FILES",
        "fetch only these files: indices and ranges as --list shows them, globs and folders, such as 0,3-5 or "
        "'*.mkv'; repeatable",
    )
    parser.add_argument("--list", action="store_true", help="show the files and their indices, and fetch none")


def add_sources_of_peers(parser: Parser) -> None:
    """Add --peer, --tracker, --dht-node, --no-dht, --no-lsd, --no-port-mapping, --encryption and --transport."""
    add_repeatable(parser, "--peer", values.peer_address, "HOST:PORT", "connect to this peer; repeatable")
    add_repeatable(parser, "--tracker", values.tracker, "URL", "announce to this tracker, too; repeatable")
    add_discovery(parser)


def add_discovery(parser: Parser) -> None:
    """Add --dht-node, --no-dht, --no-lsd, --no-port-mapping, --encryption and --transport."""
    add_dht_nodes(parser)
    parser.add_argument("--no-dht", action="store_true", help="do not find peers by the DHT")
    parser.add_argument("--no-lsd", action="store_true", help="do not find peers in the local network")
    parser.add_argument("--no-port-mapping", action="store_true", help="do not ask the router to let peers through")
    parser.add_argument(
        "--encryption",
        choices=("prefer", "allow", "require", "disable"),
        default="prefer",
        help="encryption of connections: allow takes encrypted ones, and opens none (default: prefer)",
    )
    parser.add_argument(
        "--transport",
        choices=("tcp", "utp", "both"),
        default="both",
        help="what connections use (default: both)",
    )


def add_web_seeds(parser: Parser) -> None:
    """Add --web-seed and --no-web-seeds, of a command that downloads."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--web-seed",
        action="append",
        default=[],
        type=values.http_url,
        metavar="URL",
        help="fetch from this web server, too: URL of the file, or of what the torrent's folder is in; repeatable",
    )
    group.add_argument("--no-web-seeds", action="store_true", help="do not fetch from web servers")


def add_dht_nodes(parser: Parser) -> None:
    """Add --dht-node."""
    add_repeatable(
        parser,
        "--dht-node",
        values.peer_address,
        "HOST:PORT",
        "begin with this DHT node, in place of the public ones; repeatable",
    )


def add_traffic(parser: Parser, *, port: int, max_peers: int) -> None:
    """Add the options for the port, the number of peers and the rates."""
    parser.add_argument(
        "--port", type=values.port, default=port, help=f"port to listen on; 0 takes a free one (default: {port})"
    )
    parser.add_argument("--host", default="", help="address to listen on (default: every one, IPv4 and IPv6)")
    parser.add_argument(
        "--max-peers",
        type=values.at_least_one,
        default=max_peers,
        metavar="N",
        help=f"maximum number of connections (default: {max_peers})",
    )
    parser.add_argument(
        "--limit-down",
        type=values.rate,
        metavar="RATE",
        help="maximum download rate in bytes a second, such as 500K, 2MiB or 1G; K is 1024 (default: no limit)",
    )
    parser.add_argument("--limit-up", type=values.rate, metavar="RATE", help="maximum upload rate (default: no limit)")


def add_check(parser: Parser) -> None:
    """Add --check."""
    parser.add_argument(
        "--check", action="store_true", help="hash all data that is there, also what the last run recorded as right"
    )


def add_overwrite(parser: Parser) -> None:
    """Add --overwrite."""
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write over files that are not the torrent's (default: stop, exit code 6)",
    )


def add_stall_timeout(parser: Parser) -> None:
    """Add --stall-timeout."""
    parser.add_argument(
        "--stall-timeout",
        type=values.positive_duration,
        metavar="TIME",
        help="give up after this time without any data, such as 90, 30m or 2h; exit code 8, or 6 where the disk is "
        "full (default: never)",
    )


def add_seeding(parser: Parser, default: str) -> None:
    """Add --seed-time and --seed-ratio."""
    parser.add_argument(
        "--seed-time", type=values.duration, metavar="TIME", help=f"seed for this time, such as 30m or 2h ({default})"
    )
    parser.add_argument(
        "--seed-ratio",
        type=values.ratio,
        metavar="RATIO",
        help="seed until this ratio of bytes sent to bytes on disk; with --seed-time, until the first of both",
    )


def add_super_seed(parser: Parser) -> None:
    """Add --super-seed and --no-super-seed."""
    parser.add_argument(
        "--super-seed",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="deal out the first copy: show each peer a few pieces, so that none is sent twice before each was sent "
        "once (default: while this is the only seed of several peers)",
    )


def add_quiet(parser: Parser) -> None:
    """Add --quiet."""
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def add_views(parser: Parser) -> None:
    """Add --quiet, --verbose and --json."""
    add_quiet(parser)
    add_verbose(parser)
    add_json(parser)


def add_verbose(parser: Parser) -> None:
    """Add --verbose."""
    parser.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the peers, what finds them, and warnings. Flags: D we download from it, d it chokes us; "
        "U it downloads from us, u we choke it; I it connected to us, E encrypted, S silent although asked; "
        "found by: H the DHT, X peer exchange, L the local network",
    )


def add_json(parser: Parser) -> None:
    """Add --json."""
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object per line on standard output, for programs; python -m pydoc geventbt.cli.json_lines lists "
        "the keys",
    )


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
