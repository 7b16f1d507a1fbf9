"""``geventbt stream``."""

from __future__ import annotations

import argparse
import shutil
from contextlib import ExitStack, closing
from typing import Any

import geventbt
from geventbt import limits
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DONE, NETWORK, NOT_FOUND, UNFINISHED, USAGE, CommandError, exit_code_if_output_closes
from geventbt.cli.following import REFRESH
from geventbt.cli.json_lines import emit
from geventbt.cli.logins import read_login
from geventbt.cli.one_file import add_one_file, add_torrent, data_folder
from geventbt.cli.running import discovery_options, running_client, shared_limits
from geventbt.cli.sources import resolve_source
from geventbt.cli.text import human_address, human_size, printable
from geventbt.cli.views import View, make_view

_EXAMPLES = """
geventbt stream film.torrent --open
geventbt stream 'magnet:?xt=urn:btih:...' '*.mkv' --http 127.0.0.1:8000 -o films/
geventbt stream film.torrent --http 0.0.0.0:8000 --login-file login.txt
"""
_PLAYERS = ("mpv", "vlc", "ffplay")
_MOUNT = "/stream"


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(
        commands,
        "stream",
        "serve a file of a torrent over HTTP, to players and browsers, while fetching it",
        _EXAMPLES,
        without_variables={"output"},
    )
    add_one_file(parser, "the largest")
    parser.add_argument(
        "--http",
        type=values.listen_address,
        default=("127.0.0.1", 0),
        metavar="HOST:PORT",
        help="address to serve on; port 0 takes a free one (default: 127.0.0.1:0)",
    )
    parser.add_argument(
        "--login-file",
        metavar="FILE",
        help="a file with user:password, which players must give; needed where others than this machine reach HOST",
    )
    parser.add_argument(
        "--open",
        action="store_true",
        help=f"start a player: the first of {', '.join(_PLAYERS)} that is there, or else the browser; the end of the "
        "player ends the command",
    )
    shared_options.add_traffic(parser, port=0, max_peers=limits.TORRENT_PEERS)
    shared_options.add_views(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Serve a file of a torrent over HTTP until interrupted, or until the player ends."""
    source = resolve_source(arguments.source, arguments)
    login = read_login(arguments.login_file)
    with ExitStack() as stack:
        folder = stack.enter_context(data_folder(arguments))
        client = stack.enter_context(
            running_client(
                arguments.port,
                host=arguments.host,
                is_kept=bool(arguments.output),
                encryption=arguments.encryption,
                **shared_limits(arguments),
                **discovery_options(arguments),
            )
        )
        server = stack.enter_context(_serve(client, arguments.http, login))
        view = stack.enter_context(closing(make_view(arguments)))
        stack.enter_context(exit_code_if_output_closes(UNFINISHED))
        torrent, index = add_torrent(client, source, folder, _largest, view, arguments)
        url = _say_where(torrent, index, server.url, arguments)
        _stay(torrent, view, _open_player(url) if arguments.open else None)
    return DONE


def _serve(client: geventbt.Client, address: tuple[str, int], login: Any) -> Any:
    """Serve the files of a client."""
    from geventbt.web import Guard, Streams, serve
    from geventbt.web.streaming import mounted

    try:
        return serve(Guard(mounted(Streams(client), _MOUNT), login=login), address)
    except ValueError as error:
        where = human_address(address)
        raise CommandError(USAGE, f"{where}: others than this machine reach it; give --login-file FILE") from error
    except OSError as error:
        where = human_address(address)
        raise CommandError(NETWORK, f"{where} cannot be listened on: {error.strerror or error}") from error


def _largest(torrent: geventbt.Torrent) -> int:
    stored = [index for index, file in enumerate(torrent.files) if file.stored]
    return max(stored, key=lambda index: torrent.files[index].length, default=0)


def _say_where(torrent: geventbt.ActiveTorrent, index: int, base: str, arguments: argparse.Namespace) -> str:
    from geventbt.web.streaming import stream_path

    metainfo = torrent.wait_metadata()
    file = metainfo.files[index]
    url = f"{base.rstrip('/')}{_MOUNT}/{stream_path(torrent.info_hash, index, file.path[-1])}"
    if arguments.json:
        emit("stream", info_hash=torrent.info_hash.hex(), index=index, path="/".join(file.path), url=url)
    else:
        print(f"streaming {printable(file.path[-1])} ({human_size(file.length)}) on {url}", flush=True)
    return url


def _open_player(url: str) -> Any:
    """Start a player. Returns its process; None if it is the browser, whose end is not seen."""
    from gevent import subprocess

    player = next(filter(None, map(shutil.which, _PLAYERS)), None)
    if player is None:
        import webbrowser

        if not webbrowser.open(url):
            raise CommandError(NOT_FOUND, f"there is neither a player ({', '.join(_PLAYERS)}) nor a browser")
        return None
    return subprocess.Popen(
        [player, url], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _stay(torrent: geventbt.ActiveTorrent, view: View, player: Any) -> None:
    """Show the torrent until the player ends; without one until interrupted."""
    import gevent

    try:
        while player is None or player.poll() is None:
            view.update(torrent)
            gevent.sleep(REFRESH)
            torrent.wait(0)
    finally:
        if player is not None and player.poll() is None:
            player.terminate()
