"""What `geventbt daemon` runs, put together: a client and its session, the web interface, the log and systemd."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event

import geventbt
from geventbt.arguments import given
from geventbt.cli.errors import DISK, NETWORK, USAGE, CommandError
from geventbt.cli.interrupt import serving
from geventbt.cli.network import network_of
from geventbt.cli.running import busy_port, open_dht
from geventbt.cli.text import counted, human_address
from geventbt.net import systemd
from geventbt.service.journal import JournalHandler, LogFile
from geventbt.service.session import Session
from geventbt.service.settings import kept_changes
from geventbt.service.store import StateStore
from geventbt.service.watch import WatchFolder
from geventbt.web import Login, WebServer, make_app, rpc, serve
from geventbt.web.session_control import SessionControl

_log = logging.getLogger("geventbt")

_REPORT = 10.0
"""Seconds between two reports to systemd."""
_LIVE = (
    *("output", "incomplete", "paused", "port", "encryption", "max_peers", "limit_down", "limit_up"),
    *("downloads", "seeds", "seed_ratio", "seed_idle"),
)
"""The options that are settings of the session; see `settings_of`."""
_PEERS_SOCKET = "peers"
"""The name of a socket of systemd that peers connect to; any other is for the web interface."""


def run_daemon(arguments: argparse.Namespace, login: Login | None, state: Path) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        arguments: the options.
        login: which clients of the web interface must give; None for none.
        state: the folder for the torrents and their state.
    """
    with _log_lines(arguments) as log_file, ExitStack() as stack:
        _serve(arguments, login, state, log_file, stack)


def _serve(
    arguments: argparse.Namespace, login: Login | None, state: Path, log_file: LogFile | None, stack: ExitStack
) -> None:
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
    _log.info("serving %s, peers on port %s", server.url, client.port)
    with _reports(session):
        stopped.wait()


@contextmanager
def _log_lines(arguments: argparse.Namespace) -> Iterator[LogFile | None]:
    """Have what is logged written for systemd's journal, or for people. Gives the file, if it goes to one."""
    try:
        log_file = LogFile(arguments.log_file) if arguments.log_file else None
    except OSError as error:
        raise CommandError(DISK, f"the log cannot be written: {error}") from error
    before = _log.handlers, _log.level, _log.propagate
    _log.handlers, _log.propagate = [JournalHandler(log_file)], False
    _log.setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    try:
        yield log_file
    finally:
        _log.handlers, level, _log.propagate = before
        _log.setLevel(level)


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
    return settings | given(
        incomplete_dir=None if arguments.incomplete is None else os.path.abspath(arguments.incomplete),
        limit_down=arguments.limit_down,
        limit_up=arguments.limit_up,
        downloads=arguments.downloads,
        seeds=arguments.seeds,
        ratio=arguments.seed_ratio,
        idle=None if arguments.seed_idle is None else max(1, round(arguments.seed_idle / 60)),
    )


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


def _web_server(
    arguments: argparse.Namespace, session: Session, login: Login | None, sock: Any, stop: Callable[[], object]
) -> WebServer:
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
    systemd.notify_reloading()
    try:
        if log_file is not None:
            log_file.reopen()
        found = arguments.read_again()
        session.configure(read_settings(found))
        session.blocklist.read_configured()
        _log.info("the configuration was read again")
        later = [f"--{name.replace('_', '-')}" for name, value in vars(arguments).items() if _waits(name, value, found)]
        if later:
            _log.info("changed, and hold from the next start on: %s", ", ".join(sorted(later)))
    except SystemExit:
        _log.info("the configuration is wrong; the old one holds on")
    except geventbt.StorageError as error:
        _log.info("the settings cannot be kept: %s", error)
    except (OSError, ValueError) as error:
        _log.info("not all could be read again: %s", error)
    systemd.notify("READY=1")


def _waits(name: str, value: object, found: argparse.Namespace) -> bool:
    """Whether an option has another value now, which holds from the next start on."""
    is_option = name not in (*_LIVE, "parser", "read_again", "run")
    return is_option and getattr(found, name, value) != value


@contextmanager
def _reports(session: Session) -> Iterator[None]:
    """Tell systemd that we are ready, that we live, and what we do."""

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


def _say_stopping() -> None:
    _log.info("stopping")
    systemd.notify("STOPPING=1")
