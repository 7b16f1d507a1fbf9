"""Arguments in, exit code out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from geventbt import __version__
from geventbt.cli import cat, completion, create, demo, download, info, magnet, peer, seed, verify
from geventbt.cli.errors import DONE, INTERRUPTED
from geventbt.cli.messages import code_and_text
from geventbt.cli.parsing import Parser
from geventbt.cli.text import printable

_COMMANDS = (download, seed, create, info, magnet, verify, peer, cat, demo, completion)

_EPILOG = """examples:
  geventbt demo
  geventbt download ubuntu.torrent -o downloads/ --peer 127.0.0.1:6881
  geventbt download 'magnet:?xt=urn:btih:...' --peer 127.0.0.1:6881
  geventbt COMMAND --help

environment:
  Every option has a variable that is its default: --max-peers is GEVENTBT_MAX_PEERS, -o is GEVENTBT_OUTPUT.
  Several peers have spaces between them, a switch is 1 or 0.

exit codes:
  0 done, 2 usage, 3 not found, 4 not a torrent or wrong data, 5 network, 6 disk, 7 unfinished (pieces that are wrong
  whoever sends them), 8 timed out, 130 interrupted by Ctrl-C
"""


def make_parser() -> Parser:
    """The parser of the whole command line. It imports nothing heavy."""
    parser = Parser(
        prog="geventbt", description="BitTorrent for people who write straight-line Python.", epilog=_EPILOG
    )
    parser.add_argument("--version", action="version", version=f"geventbt {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_parser(commands)
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns its exit code; usage errors exit with 2, as argparse does."""
    arguments = make_parser().parse_args(argv)
    _set_up_log(arguments)
    try:
        code: int = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except KeyboardInterrupt as interrupt:
        text = str(interrupt)
        print(f"interrupted{': ' if text else ''}{text}", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads our output has enough. Or the interpreter would flush it again at its end, and complain.
        sys.stdout = None
        return DONE
    except Exception as error:
        known = code_and_text(error)
        if known is None or arguments.debug:
            raise
        return _report(*known, arguments)


def _report(code: int, text: str, arguments: argparse.Namespace) -> int:
    if getattr(arguments, "json", False):
        from geventbt.cli.json_lines import emit

        emit("error", code=code, message=text)
    print(f"geventbt: {printable(text)}", file=sys.stderr)
    return code


def _set_up_log(arguments: argparse.Namespace) -> None:
    """Show warnings, such as that a peer sends wrong data, to those who want to see more. Python itself would print
    them in any case, and in the middle of the progress."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # Looked up each time: a live view puts itself in the place of standard error.
            print(f"geventbt: {printable(record.getMessage())}", file=sys.stderr)

    log = logging.getLogger("geventbt")
    log.handlers = [Lines(logging.WARNING) if getattr(arguments, "verbose", False) else logging.NullHandler()]


def main() -> int:
    """The console script."""
    return run()
