"""The arguments and options that several commands share: a function for each, so that it means the same everywhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from geventbt.cli import values
from geventbt.cli.parsing import Parser

DATA = "the file or folder itself, or the folder that holds it"
SOURCE = "a .torrent file, an http(s) URL of one, a magnet link in quotes, an info hash, or - for standard input"


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


def add_output(parser: Parser, **options: Any) -> None:
    """Add --output, the folder for downloads."""
    parser.add_argument("-o", "--output", metavar="DIR", **options)


def add_repeatable(parser: Parser, flag: str, kind: Callable[[str], Any], metavar: str, text: str) -> None:
    """Add an option that may be given several times; its value is a list."""
    parser.add_argument(flag, action="append", default=[], type=kind, metavar=metavar, help=text)


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
