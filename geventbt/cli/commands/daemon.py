"""``geventbt daemon``."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from geventbt import limits
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DONE, USAGE, CommandError
from geventbt.cli.logins import read_login
from geventbt.cli.output import make_folder
from geventbt.cli.state import state_folder

_EXAMPLES = """
geventbt daemon -o downloads/ --watch incoming/
geventbt daemon --rpc 0.0.0.0:9091 --login-file login.txt
"""
_PORT = 6881
_RPC = ("127.0.0.1", 9091)


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(
        commands, "daemon", "run in the background: many torrents, kept over restarts, and a web interface", _EXAMPLES
    )
    parser.add_argument("--config", metavar="FILE", help="a TOML file with any of these options; read again on SIGHUP")
    parser.add_argument("--check-config", action="store_true", help="check the options and the file, and end")
    parser.add_argument(
        "--state",
        metavar="DIR",
        help="folder for the torrents and their state (default: $STATE_DIRECTORY, or else daemon/ in the user's "
        "folder for state)",
    )
    shared_options.add_output(parser, default=".", help="folder for downloads (default: the current one)")
    parser.add_argument("--incomplete", metavar="DIR", help="folder for downloads until they are complete")
    shared_options.add_repeatable(parser, "--root", str, "DIR", "another folder that data may be moved to; repeatable")
    parser.add_argument("--watch", metavar="DIR", help="add the torrents that are put into this folder")
    _add_web(parser)
    _add_queue(parser)
    shared_options.add_discovery(parser)
    shared_options.add_network(parser)
    shared_options.add_traffic(parser, port=_PORT, max_peers=limits.CONNECTIONS)
    parser.add_argument(
        "--log-file", metavar="FILE", help="append the log to this file; it is opened again on SIGHUP, for logrotate"
    )
    shared_options.add_verbose(parser)
    parser.set_defaults(run=run)


def _add_web(parser: parsing.Parser) -> None:
    parser.add_argument(
        "--rpc",
        type=values.listen_address,
        default=_RPC,
        metavar="HOST:PORT",
        help="address of the web interface and of the Transmission RPC (default: 127.0.0.1:9091)",
    )
    parser.add_argument(
        "--login-file",
        metavar="FILE",
        help="a file with user:password, which clients must give; needed where others than this machine reach HOST",
    )
    shared_options.add_repeatable(
        parser, "--rpc-host", str, "NAME", "a name that the web interface may be called by; repeatable"
    )
    parser.add_argument("--rpc-shutdown", action="store_true", help="let clients end the daemon")
    parser.add_argument(
        "--private-urls", action="store_true", help="let clients have torrents fetched from private addresses"
    )


def _add_queue(parser: parsing.Parser) -> None:
    parser.add_argument(
        "--downloads", type=values.at_least_one, metavar="N", help="torrents that download at one time (default: 5)"
    )
    parser.add_argument(
        "--seeds", type=values.at_least_one, metavar="N", help="torrents that seed at one time (default: all)"
    )
    parser.add_argument(
        "--seed-ratio", type=values.ratio, metavar="RATIO", help="stop a torrent at this ratio (default: never)"
    )
    parser.add_argument(
        "--seed-idle",
        type=values.positive_duration,
        metavar="TIME",
        help="stop a torrent that has sent nothing for this time (default: never)",
    )
    parser.add_argument("--paused", action="store_true", help="do not start torrents when they are added")


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    login = read_login(arguments.login_file)
    state = _state_folder(arguments)
    if arguments.check_config:
        return DONE
    make_folder(arguments.output)
    # Imported only now: the other commands need none of it.
    from geventbt.cli.daemon import run_daemon

    run_daemon(arguments, login, state)
    return DONE


def _state_folder(arguments: argparse.Namespace) -> Path:
    named = arguments.state or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    folder = state_folder()
    if named:
        return Path(os.path.abspath(named))
    if folder is None:
        raise CommandError(USAGE, "there is no folder for the state of this user: give one with --state")
    return folder / "daemon"
