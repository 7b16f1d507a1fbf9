"""``geventbt download``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import closing
from time import monotonic

import geventbt
from geventbt import limits
from geventbt.cli import parsing, shared_options
from geventbt.cli.backends import backend_of
from geventbt.cli.commands.info import print_files, read_whole
from geventbt.cli.errors import DONE, UNFINISHED, USAGE, CommandError, exit_code_if_output_closes
from geventbt.cli.following import StallTimer, add_source, follow, keep_seeding, run_each, web_seed_options
from geventbt.cli.hook import run_on_complete
from geventbt.cli.json_lines import emit, torrent_fields
from geventbt.cli.output import check_output, make_folder, write_torrent
from geventbt.cli.running import discovery_options, running_client, shared_limits
from geventbt.cli.selection import select_files
from geventbt.cli.sources import Source, resolve_source
from geventbt.cli.text import counted, human_ratio, human_size, printable
from geventbt.cli.views import View, make_view

_EXAMPLES = """
geventbt download ubuntu.torrent -o downloads/
geventbt download 'magnet:?xt=urn:btih:...' --peer 127.0.0.1:6881 --select '*.iso'
geventbt download one.torrent two.torrent -o downloads/ --on-complete 'notify-send "$TORRENT_NAME"'
geventbt download ubuntu.torrent -o s3://bucket/prefix
geventbt download https://example.org/ubuntu.torrent --seed-ratio 1.0 --limit-up 500K
"""


def add_parser(commands: parsing.Commands) -> None:
    """Add the command."""
    parser = parsing.add_command(commands, "download", "fetch torrents from peers", _EXAMPLES)
    shared_options.add_sources(parser)
    shared_options.add_output(
        parser, default=".", help="folder to put it in (default: the current one), or a URL such as s3://bucket/prefix"
    )
    shared_options.add_repeatable(
        parser,
        "--select",
        str,
        "FILES",
        "fetch only these files: indices and ranges as --list shows them, globs and folders, such as 0,3-5 or "
        "'*.mkv'; repeatable",
    )
    parser.add_argument("--list", action="store_true", help="show the files and their indices, and fetch none")
    parser.add_argument("--sequential", action="store_true", help="fetch the pieces in order")
    shared_options.add_check(parser)
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="write over files that are not the torrent's (default: stop, exit code 6)",
    )
    shared_options.add_sources_of_peers(parser)
    shared_options.add_web_seeds(parser)
    shared_options.add_traffic(parser, port=0, max_peers=limits.TORRENT_PEERS)
    shared_options.add_stall_timeout(parser)
    shared_options.add_seeding(parser, "default: do not seed")
    parser.add_argument("--save-torrent", metavar="FILE", help="write the torrent of a link to this file")
    parser.add_argument(
        "--on-complete",
        metavar="COMMAND",
        help="run it in a shell for each torrent that is complete, with TORRENT_NAME, TORRENT_PATH, TORRENT_FOLDER and "
        "TORRENT_INFO_HASH in its environment",
    )
    shared_options.add_views(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fetch torrents from the given peers, and from those of trackers, the DHT and peer exchange."""
    of_one = {
        "--select": arguments.select,
        "--save-torrent": arguments.save_torrent,
        "--web-seed": arguments.web_seed,
    }
    check_options_of_one(of_one, arguments.source)
    if arguments.save_torrent:
        check_output(arguments.save_torrent)
    sources = [resolve_source(source, arguments) for source in arguments.source]
    check_different(sources, arguments.source)
    if arguments.list:
        for source in sources:
            _list(source, arguments)
        return DONE
    make_folder(arguments.output)
    storage = backend_of(arguments.output, arguments, overwrite=arguments.overwrite)
    with (
        running_client(
            arguments.port,
            host=arguments.host,
            encryption=arguments.encryption,
            **shared_limits(arguments),
            **discovery_options(arguments),
        ) as client,
        exit_code_if_output_closes(UNFINISHED),
        closing(make_view(arguments)) as view,
    ):
        if len(sources) > 1:
            return run_each(sources, lambda source: _download(client, source, storage, arguments, view), arguments)
        _download(client, sources[0], storage, arguments, view)
    return DONE


def check_options_of_one(options: Mapping[str, object], sources: Sequence[str]) -> None:
    """See that what is meant for one torrent is not given for several.

    Raises:
        CommandError: it is.
    """
    for option, value in options.items():
        if value and len(sources) > 1:
            raise CommandError(USAGE, f"{option} is for one SOURCE, and {len(sources)} are given")


def check_different(sources: Sequence[Source], names: Sequence[str]) -> None:
    """See that no torrent is given twice.

    Raises:
        CommandError: one is.
    """
    seen: dict[bytes, str] = {}
    for source, name in zip(sources, names, strict=True):
        if source.swarm_hash in seen:
            raise CommandError(USAGE, f"{seen[source.swarm_hash]} and {name} are the same torrent")
        seen[source.swarm_hash] = name


def _list(source: Source, arguments: argparse.Namespace) -> None:
    with exit_code_if_output_closes(UNFINISHED):
        whole = read_whole(source, arguments)
    print_files(whole, _choose(arguments, source, whole), as_json=arguments.json)


def _download(
    client: geventbt.Client,
    source: Source,
    storage: geventbt.FsspecBackend | None,
    arguments: argparse.Namespace,
    view: View,
) -> None:
    started = monotonic()
    stall = StallTimer(arguments.stall_timeout)
    seeds = arguments.seed_time is not None or arguments.seed_ratio is not None
    with exit_code_if_output_closes(UNFINISHED):
        torrent = add_source(
            client,
            source,
            arguments.output,
            lambda whole: _choose(arguments, source, whole),
            peers=arguments.peer,
            trackers=arguments.tracker,
            view=view,
            stall=stall,
            sequential=arguments.sequential,
            max_peers=arguments.max_peers,
            check=arguments.check,
            overwrite=arguments.overwrite,
            storage=storage,
            **web_seed_options(arguments),
        )
        _note_metadata(torrent, source, arguments)
        follow(torrent, view, stall)
        view.finish(torrent)
    with exit_code_if_output_closes(UNFINISHED if seeds else DONE):
        _report(torrent, monotonic() - started, arguments)
    if arguments.on_complete:
        run_on_complete(arguments.on_complete, torrent, as_json=arguments.json)
    if seeds:
        seed_enough(torrent, arguments, view)


def _choose(arguments: argparse.Namespace, source: Source, torrent: geventbt.Torrent) -> list[int] | None:
    """The files that the options, or else the link, ask for (BEP 53); None for all."""
    if arguments.select:
        return select_files(torrent, arguments.select)
    if isinstance(source, geventbt.Magnet) and source.select:
        return [index for index in range(len(torrent.files)) if source.selects(index)]
    return None


def _note_metadata(torrent: geventbt.ActiveTorrent, source: Source, arguments: argparse.Namespace) -> None:
    metainfo = torrent.wait_metadata()
    if arguments.save_torrent:
        write_torrent(metainfo, arguments.save_torrent)
    if arguments.json:
        chosen = _choose(arguments, source, metainfo)
        emit("torrent", **torrent_fields(metainfo, None if chosen is None else set(chosen)))
        names = ["/".join(file.path) for file in metainfo.files]
        torrent.on(
            "file_complete",
            lambda torrent, index: emit("file", info_hash=torrent.info_hash.hex(), index=index, path=names[index]),
        )


def _report(torrent: geventbt.ActiveTorrent, seconds: float, arguments: argparse.Namespace) -> None:
    progress, served = torrent.progress, torrent.served
    fetched = sum(served.values())
    sources = sum(1 for count in served.values() if count)
    if arguments.json:
        emit(
            "done",
            info_hash=torrent.info_hash.hex(),
            name=torrent.name,
            done=progress.done,
            downloaded=progress.downloaded,
            uploaded=progress.uploaded,
            sources=sources,
            seconds=round(seconds, 3),
        )
        return
    print(
        f"{printable(torrent.name)}: {human_size(progress.done)} verified; {human_size(fetched)} from "
        f"{counted(sources, 'peer')} at {human_size(fetched / max(seconds, 1e-6))}/s",
        flush=True,
    )


def seed_enough(torrent: geventbt.ActiveTorrent, arguments: argparse.Namespace, view: View) -> None:
    """Seed for the given time or to the given ratio, or without end, and print how much was sent."""
    started = monotonic()
    with exit_code_if_output_closes(UNFINISHED):
        ratio = keep_seeding(torrent, view, seconds=arguments.seed_time, ratio=arguments.seed_ratio)
        view.finish(torrent)
    uploaded = torrent.progress.uploaded
    if arguments.json:
        emit(
            "seeded",
            info_hash=torrent.info_hash.hex(),
            uploaded=uploaded,
            ratio=round(ratio, 4),
            seconds=round(monotonic() - started, 3),
        )
    else:
        print(f"{printable(torrent.name)}: {human_size(uploaded)} sent, ratio {human_ratio(ratio)}", flush=True)
