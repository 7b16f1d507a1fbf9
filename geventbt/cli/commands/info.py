"""``geventbt info``, and the list of files that other commands show."""

from __future__ import annotations

import argparse

import geventbt
from geventbt.cli import parsing, shared_options, values
from geventbt.cli.errors import DONE
from geventbt.cli.following import fetch_torrent
from geventbt.cli.json_lines import emit, magnet_fields, torrent_fields
from geventbt.cli.output import check_output, write_torrent
from geventbt.cli.selection import file_lines
from geventbt.cli.sources import check_reachable, cut_hint, is_reachable, resolve_source
from geventbt.cli.text import counted, human_size, info_hashes, printable

_EXAMPLES = """
geventbt info ubuntu.torrent
geventbt info 'magnet:?xt=urn:btih:...' --peer 127.0.0.1:6881 --save-torrent ubuntu.torrent
"""


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "info", "show what a torrent or link contains", _EXAMPLES)
    shared_options.add_source(parser)
    shared_options.add_sources_of_peers(parser)
    parser.add_argument(
        "--stall-timeout",
        type=values.positive_duration,
        default=60.0,
        metavar="TIME",
        help="give up on the metadata of a link after this time without any data (default: 60)",
    )
    parser.add_argument("--save-torrent", metavar="FILE", help="write the torrent to this file")
    shared_options.add_views(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show a torrent. That of a link is fetched if there is a peer or tracker to fetch it from."""
    if arguments.save_torrent:
        check_output(arguments.save_torrent)
    source = resolve_source(arguments.source, arguments)
    is_bare = isinstance(source, geventbt.Magnet) and not is_reachable(source, arguments.peer, arguments.tracker)
    if is_bare and not arguments.save_torrent:
        assert isinstance(source, geventbt.Magnet)
        _show_magnet(source, cut_hint(arguments.source), as_json=arguments.json)
        return DONE
    torrent = read_whole(source, arguments)
    if arguments.save_torrent:
        write_torrent(torrent, arguments.save_torrent)
    if arguments.json:
        emit("torrent", **torrent_fields(torrent, None))
    else:
        _show(torrent)
    return DONE


def read_whole(source: geventbt.Torrent | geventbt.Magnet, arguments: argparse.Namespace) -> geventbt.Torrent:
    """The torrent itself; that of a link is fetched from its peers."""
    if isinstance(source, geventbt.Torrent):
        return source
    check_reachable(source, arguments.peer, arguments.tracker, dht=not arguments.no_dht)
    return fetch_torrent(source, arguments)


def print_files(torrent: geventbt.Torrent, selected: list[int] | None, *, as_json: bool) -> None:
    """Show the files, and mark those that are selected; None for all."""
    if as_json:
        emit("torrent", **torrent_fields(torrent, None if selected is None else set(selected)))
        return
    for line in file_lines(torrent, selected):
        print(line)


def _show(torrent: geventbt.Torrent) -> None:
    from datetime import datetime, timezone

    geometry = torrent.geometry
    date = torrent.creation_date
    day = None if date is None else datetime.fromtimestamp(date, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    _show_facts(
        {
            "name": torrent.name,
            "info hash": info_hashes(torrent),
            "version": None if torrent.version == "1" else torrent.version,
            "size": f"{human_size(torrent.length)} in {counted(geometry.pieces, 'piece')} of "
            f"{human_size(geometry.piece_length)}",
            "private": "yes: peers come from its trackers only" if torrent.private else None,
            "created": ", by ".join(part for part in (day, torrent.created_by) if part),
            "comment": torrent.comment,
            "trackers": [url for tier in torrent.trackers for url in tier],
            "web seeds": list(torrent.web_seeds),
            "magnet": str(geventbt.Magnet.from_torrent(torrent)),
            "files": str(sum(1 for file in torrent.files if file.stored)),
        }
    )
    print_files(torrent, None, as_json=False)


def _show_magnet(magnet: geventbt.Magnet, hint: str, *, as_json: bool) -> None:
    if as_json:
        emit("torrent", **magnet_fields(magnet))
        return
    _show_facts(
        {
            "name": magnet.name,
            "info hash": info_hashes(magnet),
            "size": None if magnet.length is None else human_size(magnet.length),
            "magnet": str(magnet),
        }
    )
    print(f"only a link; to fetch the rest, add --peer HOST:PORT or --tracker URL{hint}")


def _show_facts(facts: dict[str, str | list[str] | None]) -> None:
    """One fact per line, several values below each other; empty ones are left out."""
    for name, value in facts.items():
        for number, text in enumerate([value] if isinstance(value, str) else value or []):
            if text:
                print(f"{'' if number else name:<10} {printable(text)}")
