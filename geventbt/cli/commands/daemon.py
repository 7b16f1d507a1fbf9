"""``geventbt daemon``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geventbt
from geventbt import limits
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DISK, DONE, NETWORK, USAGE, CommandError
from geventbt.cli.interrupt import serving
from geventbt.cli.logins import read_login
from geventbt.cli.network import network_of
from geventbt.cli.output import make_folder
from geventbt.cli.running import busy_port, open_dht
from geventbt.cli.state import state_folder
from geventbt.cli.text import counted, human_address

if TYPE_CHECKING:
    from geventbt.service.journal import LogFile
    from geventbt.service.session import Session

_EXAMPLES = """
geventbt daemon -o downloads/ --watch incoming/
geventbt daemon --rpc 0.0.0.0:9091 --login-file login.txt
"""
_PORT = 6881
_RPC = ("127.0.0.1", 9091)
_REPORT = 10.0
"""Seconds between two reports to systemd."""
_LIVE = (
    *("output", "incomplete", "paused", "port", "encryption", "max_peers", "limit_down", "limit_up"),
    *("downloads", "seeds", "seed_ratio", "seed_idle"),
)
"""The options that are settings of the session; see `settings_of`."""
_PEERS_SOCKET = "peers"
"""The name of a socket of systemd that peers connect to; any other is for the web interface."""


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
    with _log_lines(arguments) as log_file, ExitStack() as stack:
        _serve(arguments, login, state, log_file, stack)
    return DONE


def _state_folder(arguments: argparse.Namespace) -> Path:
    named = arguments.state or os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    folder = state_folder()
    if named:
        return Path(os.path.abspath(named))
    if folder is None:
        raise CommandError(USAGE, "there is no folder for the state of this user: give one with --state")
    return folder / "daemon"


@contextmanager
def _log_lines(arguments: argparse.Namespace) -> Iterator[LogFile | None]:
    """Have what is logged written for systemd's journal, or for people. Gives the file, if it goes to one."""
    import logging

    from geventbt.service.journal import JournalHandler, LogFile

    try:
        log_file = LogFile(arguments.log_file) if arguments.log_file else None
    except OSError as error:
        raise CommandError(DISK, f"the log cannot be written: {error}") from error
    log = logging.getLogger("geventbt")
    before = log.handlers, log.level, log.propagate
    log.handlers, log.propagate = [JournalHandler(log_file)], False
    log.setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    try:
        yield log_file
    finally:
        log.handlers, level, log.propagate = before
        log.setLevel(level)


def _say(text: str) -> None:
    """Write a line into the log."""
    import logging

    logging.getLogger("geventbt").info("%s", text)


def settings_of(arguments: argparse.Namespace, *, has_port: bool = False) -> dict[str, Any]:
    """What the options say of the settings of a session.

    Args:
        arguments: the options.
        has_port: whether there is a socket for peers already.
    """
    settings: dict[str, Any] = {
        "download_dir": os.path.abspath(arguments.output),
        "has_incomplete_dir": arguments.incomplete is not None,
        "starts_added": not arguments.paused,
        "port": 0 if has_port else arguments.port,
        "encryption": arguments.encryption,
        "max_connections": arguments.max_peers,
        "limits_down": arguments.limit_down is not None,
        "limits_up": arguments.limit_up is not None,
        "limits_seeds": arguments.seeds is not None,
        "has_ratio": arguments.seed_ratio is not None,
        "has_idle": arguments.seed_idle is not None,
    }
    given = {
        "incomplete_dir": None if arguments.incomplete is None else os.path.abspath(arguments.incomplete),
        "limit_down": arguments.limit_down,
        "limit_up": arguments.limit_up,
        "downloads": arguments.downloads,
        "seeds": arguments.seeds,
        "ratio": arguments.seed_ratio,
        "idle": None if arguments.seed_idle is None else max(1, round(arguments.seed_idle / 60)),
    }
    return settings | {name: value for name, value in given.items() if value is not None}


def _serve(arguments: argparse.Namespace, login: Any, state: Path, log_file: LogFile | None, stack: ExitStack) -> None:
    import gevent
    from gevent.event import Event

    from geventbt.net import systemd
    from geventbt.service.session import Session
    from geventbt.service.settings import kept_changes
    from geventbt.service.store import StateStore
    from geventbt.service.watch import WatchFolder

    # For who debugs a program of greenlets; it costs memory for each.
    gevent.config.track_greenlet_tree = False
    try:
        store = StateStore(state)
    except geventbt.StorageError as error:
        raise CommandError(DISK, f"the state cannot be kept: {error}") from error
    stopped = Event()
    sockets = systemd.passed_sockets()
    peers = dict(sockets).get(_PEERS_SOCKET)
    read_settings = partial(settings_of, has_port=peers is not None)
    settings = read_settings(arguments)
    # Not the configured one first, which another program may have by now.
    port = (settings | kept_changes(store.load_service(), settings))["port"]
    client = stack.enter_context(_client(arguments, state, port if peers is None else peers))
    session = Session(
        client,
        store=store,
        settings=settings,
        roots=[folder for folder in (arguments.output, arguments.incomplete, *arguments.root) if folder is not None],
        ip_filter=arguments.ip_filter,
    )
    stack.callback(session.close)
    reload = partial(_reload, arguments, session, log_file, read_settings)
    stack.enter_context(serving(stopped.set, reload))
    web = next((sock for name, sock in sockets if name != _PEERS_SOCKET), None)
    server = stack.enter_context(_web_server(arguments, session, login, web, stopped.set))
    if arguments.watch:
        stack.callback(WatchFolder(session, arguments.watch).stop)
    stack.callback(_say_stopping)
    _say(f"serving {server.url}, peers on port {client.port}")
    with _reports(session):
        stopped.wait()


def _say_stopping() -> None:
    from geventbt.net import systemd

    _say("stopping")
    systemd.notify("STOPPING=1")


@contextmanager
def _client(arguments: argparse.Namespace, state: Path, port: Any) -> Iterator[geventbt.Client]:
    number = port if isinstance(port, int) else port.getsockname()[1]
    with ExitStack() as stack:
        try:
            network = network_of(arguments)
            node: Any = False
            if network.carries_udp and not arguments.no_dht:
                nodes = arguments.dht_node
                node = stack.enter_context(open_dht(number, arguments.host, nodes, network, state / "dht.state"))
            client = geventbt.Client(
                port,
                host=arguments.host,
                encryption=arguments.encryption,
                max_connections=arguments.max_peers,
                dht=node,
                lsd=not arguments.no_lsd,
                port_mapping=not arguments.no_port_mapping,
                network=network,
                transport=arguments.transport,
            )
        except OSError as error:
            raise busy_port(error, arguments.host, number) from error
        yield stack.enter_context(client)


def _web_server(arguments: argparse.Namespace, session: Any, login: Any, sock: Any, stop: Any) -> Any:
    from geventbt.web import make_app, rpc, serve
    from geventbt.web.session_control import SessionControl

    answers = rpc.Rpc(
        session.client,
        session,
        fetches_private_urls=arguments.private_urls,
        shut_down=stop if arguments.rpc_shutdown else None,
    )
    app = make_app(
        session.client,
        arguments.output,
        login=login,
        hosts=arguments.rpc_host,
        control=SessionControl(session),
        fetches_private_urls=arguments.private_urls,
        parts={"/transmission": rpc.rpc_app(session.client, session, rpc=answers)},
    )
    where = human_address(arguments.rpc)
    try:
        return serve(app, arguments.rpc if sock is None else sock)
    except ValueError as error:
        raise CommandError(USAGE, f"{where}: others than this machine reach it; give --login-file FILE") from error
    except OSError as error:
        raise CommandError(NETWORK, f"{where} cannot be listened on: {error.strerror or error}") from error


def _reload(
    arguments: argparse.Namespace,
    session: Session,
    log_file: LogFile | None,
    read_settings: Callable[[argparse.Namespace], dict[str, Any]],
) -> None:
    """Open the log file again, and read the options and the filter of addresses. Options that are not settings of the
    session hold from the next start on."""
    from geventbt.net import systemd

    systemd.notify_reloading()
    try:
        if log_file is not None:
            log_file.reopen()
        found = arguments.read_again()
        session.configure(read_settings(found))
        session.blocklist.read_configured()
        _say("the configuration was read again")
        later = [f"--{name.replace('_', '-')}" for name, value in vars(arguments).items() if _waits(name, value, found)]
        if later:
            _say(f"changed, and hold from the next start on: {', '.join(sorted(later))}")
    except SystemExit:
        _say("the configuration is wrong; the old one holds on")
    except geventbt.StorageError as error:
        _say(f"the settings cannot be kept: {error}")
    except (OSError, ValueError) as error:
        _say(f"not all could be read again: {error}")
    systemd.notify("READY=1")


def _waits(name: str, value: object, found: argparse.Namespace) -> bool:
    """Whether an option has another value now, which holds from the next start on."""
    is_option = name not in (*_LIVE, "parser", "read_again", "run")
    return is_option and getattr(found, name, value) != value


@contextmanager
def _reports(session: Any) -> Iterator[None]:
    """Tell systemd that we are ready, that we live, and what we do."""
    import gevent

    from geventbt.net import systemd

    def report() -> None:
        last = ""
        while True:
            torrents = session.torrents
            running = sum(torrent.runs for torrent in torrents)
            status = f"STATUS={counted(len(torrents), 'torrent')}, {running} running"
            systemd.notify(*dict.fromkeys([status] * (status != last) + ["WATCHDOG=1"]))
            last = status
            gevent.sleep(min(_REPORT, (systemd.watchdog_interval() or 2 * _REPORT) / 2))

    systemd.notify("READY=1")
    reporting = gevent.spawn(report) if "NOTIFY_SOCKET" in os.environ else None
    try:
        yield
    finally:
        if reporting is not None:
            reporting.kill()
