"""``geventbt seed``."""

from __future__ import annotations

import argparse
import os
from contextlib import AbstractContextManager, closing, nullcontext
from typing import NamedTuple

import geventbt
from geventbt import limits
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.backends import is_store
from geventbt.cli.commands.download import check_different, check_options_of_one, seed_enough
from geventbt.cli.errors import CORRUPT, DONE, UNFINISHED, USAGE, CommandError, exit_code_if_output_closes
from geventbt.cli.following import REFRESH, run_each
from geventbt.cli.json_lines import created_fields, emit, torrent_fields
from geventbt.cli.making import Shared, is_data, share
from geventbt.cli.network import network_of
from geventbt.cli.running import busy_port, discovery_options, running_client
from geventbt.cli.seeding import add_to_seed, seed_options, share_of
from geventbt.cli.sources import folder_of, read_torrent
from geventbt.cli.text import human_address, human_size, printable, say
from geventbt.cli.views import View, make_view

_EXAMPLES = """
geventbt seed photos/ --tracker http://tracker.example/announce
geventbt seed ubuntu.torrent downloads/ --port 6881
geventbt seed one.torrent two.torrent downloads/
geventbt seed ubuntu.torrent downloads/ --seed-time 2h --limit-up 1M
geventbt seed ubuntu.torrent s3://bucket/prefix --workers 4
"""
_PORT = 6881
_SOURCE = (
    "a .torrent file, an http(s) URL of one, or - for standard input; or a file or folder to make a torrent of, which "
    "is kept beside it as NAME.torrent; several are served by one client. Behind .torrent files the last word may be "
    f"their data: {shared_options.DATA} (default: where each .torrent file is)"
)


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "seed", "check the data of a torrent and serve it to peers", _EXAMPLES)
    shared_options.add_sources(parser, _SOURCE)
    shared_options.add_check(parser)
    shared_options.add_sources_of_peers(parser)
    shared_options.add_repeatable(
        parser, "--web-seed", values.web_seed, "URL", "URL of the data on a web server, for a new torrent; repeatable"
    )
    shared_options.add_traffic(parser, port=_PORT, max_peers=limits.CONNECTIONS)
    parser.add_argument(
        "--workers",
        type=values.at_least_one,
        default=1,
        metavar="N",
        help="processes that serve on the same port, to use N cores; each gets an equal share of --max-peers and of "
        "the rates (default: 1)",
    )
    parser.add_argument(
        "--super-seed",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="deal out the first copy: show each peer a few pieces, so that none is sent twice before each was sent "
        "once (default: while this is the only seed of several peers)",
    )
    shared_options.add_seeding(parser, "default: until Ctrl-C")
    shared_options.add_views(parser)
    parser.set_defaults(run=run)


class _Seed(NamedTuple):
    """A torrent to seed.

    Attributes:
        torrent: the torrent.
        place: the folder of its data, or the URL of a store.
        made: what was made where the source is data, or None.
    """

    torrent: geventbt.Torrent
    place: str
    made: Shared | None


def run(arguments: argparse.Namespace) -> int:
    """Check the data, print where it is served, and serve it until interrupted or for the given time or ratio."""
    sources, data = _split(arguments.source)
    check_options_of_one({"--workers": arguments.workers > 1, "--web-seed": arguments.web_seed}, sources)
    seeds = [_read(source, data, arguments) for source in sources]
    torrents = [seed.torrent for seed in seeds]
    check_different(torrents, sources)
    if arguments.workers > 1:
        _check_free(arguments)
    own = share_of(arguments)
    with (
        running_client(
            arguments.port,
            reuse_port=arguments.workers > 1,
            **seed_options(own),
            **discovery_options(own),
        ) as client,
        exit_code_if_output_closes(UNFINISHED),
        closing(make_view(arguments)) as view,
    ):
        if len(seeds) > 1:
            by_hash = {seed.torrent.swarm_hash: seed for seed in seeds}
            return run_each(torrents, lambda torrent: _seed(client, by_hash[torrent.swarm_hash], own, view), arguments)
        _seed(client, seeds[0], own, view)
    return DONE


def _split(words: list[str]) -> tuple[list[str], str | None]:
    """The sources, and the data of all of them where it is named: by the last word, behind torrents that have none."""
    *sources, last = words
    if sources and all(map(_is_torrent, sources)) and not _is_torrent(last):
        return sources, last
    return words, None


def _is_torrent(source: str) -> bool:
    is_url = source.lower().startswith(("http://", "https://"))
    return (
        source == "-"
        or is_url
        or source.lower().endswith(".torrent")
        or (os.path.isfile(source) and not is_data(source))
    )


def _read(source: str, data: str | None, arguments: argparse.Namespace) -> _Seed:
    """Read a torrent, or make it, and find its data."""
    from geventbt.storage import locate

    made = None
    if data is None and is_data(source):
        is_quiet = arguments.quiet or arguments.json
        made = share(source, arguments.tracker, arguments.web_seed, is_quiet=is_quiet)
        torrent, data = made.torrent, source
    else:
        torrent = read_torrent(source, "seed", arguments)
        data = data or folder_of(source)
    if os.path.islink(data):
        say(f"{printable(data)} is a symbolic link; served from {printable(os.path.realpath(data))}")
    return _Seed(torrent, data if is_store(data) else os.fspath(locate(torrent, data)), made)


def _seed(client: geventbt.Client, seed: _Seed, own: argparse.Namespace, view: View) -> None:
    """Seed a torrent to its end."""
    active = add_to_seed(client, seed.torrent, seed.place, own, peers=own.peer, trackers=own.tracker, check=own.check)
    _check(active, view)
    with exit_code_if_output_closes(UNFINISHED):
        _say_where(client, seed.torrent, own)
        if seed.made is not None:
            _say_how_to_get_it(seed.made, own)
    with _workers(active, own, seed, client.port):
        seed_enough(active, own, view)


def _check(active: geventbt.ActiveTorrent, view: View) -> None:
    """Wait until all of the data is verified."""
    try:
        while not active.wait(REFRESH):
            view.update(active)
    except geventbt.StorageError as error:
        if error.errno is not None:
            raise
        what = "geventbt verify shows them, geventbt download fetches them"
        raise CommandError(CORRUPT, f"{error}; {what}") from error
    view.finish(active)


def _workers(
    active: geventbt.ActiveTorrent, own: argparse.Namespace, seed: _Seed, port: int | None
) -> AbstractContextManager[object]:
    """The other processes that serve, with the same options as this one."""
    if own.workers == 1 or port is None:
        return nullcontext()
    from geventbt.cli.workers import Workers, job_of

    return Workers(own.workers - 1, job_of(own, seed.torrent, seed.place, port), active)


def _check_free(arguments: argparse.Namespace) -> None:
    """See that workers can share the port, and that no other program has it: one of the same user that shares it, too,
    would get half of our peers.

    Raises:
        CommandError: they cannot, or one has it.
    """
    if arguments.transport == "utp":
        raise CommandError(USAGE, "--workers serve over TCP: not with --transport utp")
    if arguments.proxy is not None:
        raise CommandError(USAGE, "--workers serve peers that connect: behind --proxy there are none")
    try:
        network = network_of(arguments)
        geventbt.listen((arguments.host or network.host, arguments.port), network=network).stop(0)
    except OSError as error:
        raise busy_port(error, arguments.host, arguments.port) from error


def _say_where(client: geventbt.Client, torrent: geventbt.Torrent, arguments: argparse.Namespace) -> None:
    if arguments.json:
        emit("torrent", **torrent_fields(torrent, None))
        if client.server is not None:
            emit("listening", host=client.server.server_host, port=client.server.server_port)
        return
    # Behind a proxy nothing listens.
    where = "to peers that can be connected to"
    if client.server is not None:
        where = f"on {human_address((client.server.server_host, client.server.server_port))}"
    size = human_size(torrent.length)
    print(f"seeding {printable(torrent.name)} ({size}) {where}", flush=True)


def _say_how_to_get_it(made: Shared, arguments: argparse.Namespace) -> None:
    if arguments.json:
        emit("created", **created_fields(made.torrent, made.output))
        return
    magnet = geventbt.Magnet.from_torrent(made.torrent)
    print(f"torrent file: {printable(made.output)}\nmagnet link:  {magnet}", flush=True)
