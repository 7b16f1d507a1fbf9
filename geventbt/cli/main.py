"""Arguments in, exit code out."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from geventbt import __version__, limits
from geventbt.cli.errors import INTERRUPTED, code_and_text

_EXAMPLES = """examples:
  geventbt demo
  geventbt seed ubuntu.torrent downloads/ --port 6881
  geventbt download ubuntu.torrent -o downloads/ --peer 127.0.0.1:6881
  geventbt download 'magnet:?xt=urn:btih:...' --peer 127.0.0.1:6881
  geventbt create photos/ --tracker http://tracker.example/announce
  geventbt verify photos.torrent photos/
  geventbt peer 127.0.0.1:6881 0123456789abcdef0123456789abcdef01234567

exit codes:
  0 done, 2 usage, 3 not found, 4 not a torrent or wrong data, 5 network, 6 disk, 7 unfinished, 8 timed out, 130
  interrupted
"""


def peer_address(text: str) -> tuple[str, int]:
    """Read HOST:PORT, or [IPv6]:PORT."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def size(text: str) -> int:
    """Read a number of bytes, with or without one of the suffixes K, M and G."""
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:].upper(), 1)
    number = text if factor == 1 else text[:-1]
    if not (number.isascii() and number.isdigit() and int(number) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size, such as 256M")
    return int(number) * factor


def piece_length(text: str) -> int:
    """Read the length of a piece that other clients take, too."""
    value = size(text)
    if value > limits.PIECE_LENGTH or (value % (16 * limits.KIB) and value & (value - 1)):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a power of two nor a multiple of 16K")
    return value


def url(text: str) -> str:
    """Read a URL, as torrents have them."""
    if "://" not in text or not text.isascii() or not text.isprintable() or " " in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a URL")
    return text


def port(text: str) -> int:
    """Read a port to listen on."""
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port")
    return int(text)


def info_hash(text: str) -> str:
    """Read an info hash in hex."""
    if not re.fullmatch(r"[0-9a-fA-F]{40}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not an info hash of 40 hex characters")
    return text


def seconds(text: str) -> float:
    """Read a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds")
    return value


def at_least_one(text: str) -> int:
    """Read a number from 1 on."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="geventbt",
        description="BitTorrent for people who write straight-line Python.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"geventbt {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    download = commands.add_parser("download", help="fetch a torrent from peers")
    download.add_argument("torrent", metavar="SOURCE", help="a .torrent file, or a magnet link in quotes")
    download.add_argument("-o", "--output", default=".", metavar="DIR", help="where to put it (default: here)")
    download.add_argument(
        "--peer", action="append", default=[], type=peer_address, metavar="HOST:PORT", help="again for each peer"
    )
    _add_trackers(download)
    _add_encryption(download)
    download.add_argument("--save-torrent", metavar="FILE", help="keep the .torrent file that a magnet link led to")
    download.add_argument("-q", "--quiet", action="store_true", help="show no progress")

    seed = commands.add_parser("seed", help="serve a torrent to whoever connects")
    seed.add_argument("torrent", metavar="FILE.torrent")
    seed.add_argument("data", metavar="DATA", help="the file or folder itself, or the folder that holds it")
    seed.add_argument("--host", default="", help="the address to listen on (default: every IPv4 interface)")
    seed.add_argument("--port", type=port, default=6881, help="0 takes a free one (default: 6881)")
    _add_trackers(seed)
    _add_encryption(seed)

    _add_create(commands)

    verify = commands.add_parser("verify", help="compare data on disk with a torrent")
    verify.add_argument("torrent", metavar="FILE.torrent")
    verify.add_argument("data", metavar="DATA", help="the file or folder itself, or the folder that holds it")
    verify.add_argument("-q", "--quiet", action="store_true", help="show no progress")

    cat = commands.add_parser("cat", help="write a file of a torrent to standard output while fetching it")
    cat.add_argument("torrent", metavar="SOURCE", help="a .torrent file, or a magnet link in quotes")
    cat.add_argument("file", metavar="FILE", nargs="?", help="its path in the torrent (default: the first)")
    cat.add_argument("-o", "--output", metavar="DIR", help="keep what is fetched here (default: nowhere)")
    cat.add_argument("--peer", action="append", default=[], type=peer_address, metavar="HOST:PORT")
    _add_trackers(cat)
    _add_encryption(cat)

    magnet = commands.add_parser("magnet", help="print the magnet link of a torrent")
    magnet.add_argument("torrent", metavar="FILE.torrent")

    peer = commands.add_parser("peer", help="shake hands with a peer and show what it tells")
    peer.add_argument("address", type=peer_address, metavar="HOST:PORT")
    peer.add_argument("info_hash", type=info_hash, metavar="INFOHASH", help="40 hex characters")
    peer.add_argument("--wait", type=seconds, default=2.0, metavar="SECONDS", help="how long to listen (default: 2)")
    peer.add_argument("--json", action="store_true", help="print a JSON object")

    demo = commands.add_parser("demo", help="seeders and a downloader on this machine, to see that it works")
    demo.add_argument("--size", type=size, default=256 << 20, help="bytes to transfer, such as 64M (default: 256M)")
    demo.add_argument("--seeders", type=at_least_one, default=3, help="how many (default: 3)")
    demo.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    return parser


def _add_trackers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tracker", action="append", default=[], metavar="URL", help="beside the torrent's own; again for each"
    )


def _add_create(commands: Any) -> None:
    create = commands.add_parser("create", help="make a torrent of a file or folder")
    create.add_argument("path", metavar="PATH", help="the file or folder")
    create.add_argument("-o", "--output", metavar="FILE.torrent", help="where to put it (default: NAME.torrent, here)")
    create.add_argument("--piece-length", type=piece_length, metavar="N", help="such as 256K (default: fits the size)")
    create.add_argument(
        "--tracker", action="append", default=[], type=url, metavar="URL", help="again for each, the best one first"
    )
    create.add_argument("--web-seed", action="append", default=[], type=url, metavar="URL", help="again for each")
    create.add_argument("--private", action="store_true", help="peers may only come from the trackers")
    create.add_argument("--comment", metavar="TEXT")
    create.add_argument("--source", metavar="TEXT", help="makes the info hash a tracker's own")
    create.add_argument("--name", help="of the torrent (default: that of PATH)")
    create.add_argument("-q", "--quiet", action="store_true", help="show no progress")


def _add_encryption(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encryption",
        choices=("prefer", "require", "disable"),
        default="prefer",
        help="of connections (default: prefer)",
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns its exit code; usage errors exit with 2, as argparse does."""
    arguments = _parser().parse_args(argv)
    # Or Python itself would print warnings, such as that a peer sends wrong data, in the middle of the progress.
    logging.getLogger("geventbt").addHandler(logging.NullHandler())
    command = import_module(f"geventbt.cli.{arguments.command}")
    try:
        code: int = command.run(arguments)
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        known = code_and_text(error)
        if known is None or arguments.debug:
            raise
        code, text = known
        print(f"geventbt: {text}", file=sys.stderr)
        return code


def main() -> int:
    """The console script."""
    return run()
