"""The command line: parse the arguments, run a command, map errors to exit codes."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence

from geventbt import __version__
from geventbt.cli.commands import (
    cat,
    completion,
    create,
    daemon,
    demo,
    dht,
    download,
    info,
    magnet,
    peer,
    seed,
    stream,
    verify,
)
from geventbt.cli.errors import DONE, UNFINISHED, CommandError, Interrupted, OutputClosed, Stopped
from geventbt.cli.interrupt import stopping_signals
from geventbt.cli.json_lines import emit_last, forget_output
from geventbt.cli.messages import code_and_text
from geventbt.cli.parsing import Parser
from geventbt.cli.text import printable, say

_COMMANDS = (download, seed, daemon, create, info, magnet, verify, peer, dht, cat, stream, demo, completion)

_EPILOG = """examples:
  geventbt demo
  geventbt download ubuntu.torrent -o downloads/ --peer 127.0.0.1:6881
  geventbt download 'magnet:?xt=urn:btih:...' --peer 127.0.0.1:6881
  geventbt COMMAND --help

environment:
  Every option has a variable that is its default: --max-peers is GEVENTBT_MAX_PEERS, -o is GEVENTBT_OUTPUT.
  Only -o of create, cat and stream has none. A repeatable option takes values separated by spaces; a switch is 1 or 0.

exit codes:
  0 done, 2 usage, 3 not found, 4 not a torrent or wrong data, 5 network, 6 disk, 7 unfinished (some
  pieces are wrong from every peer, or standard output was closed), 8 timed out, 130 interrupted by Ctrl-C,
  143 by SIGTERM, 129 by SIGHUP
"""


def make_parser() -> Parser:
    """The parser of the whole command line. It imports nothing heavy."""
    parser = Parser(
        prog="geventbt", description="BitTorrent for people who write straight-line Python.", epilog=_EPILOG
    )
    parser.add_argument("-V", "--version", action="version", version=f"geventbt {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(parser=parser)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in _COMMANDS:
        module.add_parser(commands)
    return parser


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Returns its exit code; usage errors exit with 2, as argparse does."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = make_parser().parse_args(words)
    arguments.read_again = lambda: make_parser().parse_args(words)
    _set_up_log(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal lacks would otherwise be an error.
        sys.stdout.reconfigure(errors="replace")
    with stopping_signals():
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    """Run the command, and say what ended it."""
    code = DONE
    try:
        code = arguments.run(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except Stopped as stopped:
        return _report_stopped(stopped, arguments)
    except KeyboardInterrupt:
        return _report_stopped(Stopped(), arguments)
    except BrokenPipeError:
        return _report_output_closed(code)
    except OutputClosed as closed:
        return _report_output_closed(closed.code)
    except Exception as error:
        known = code_and_text(error, arguments)
        if known is None:
            raise
        if arguments.debug:
            _print_traceback()
        code = _report(*known, arguments)
        for line in error.details if isinstance(error, CommandError) else ():
            say(f"  {printable(line)}")
        return code


def _report_stopped(stopped: Stopped, arguments: argparse.Namespace) -> int:
    progress = stopped if isinstance(stopped, Interrupted) else Interrupted()
    _end_output(arguments, "interrupted", done=progress.done, wanted=progress.wanted)
    say(f"interrupted{': ' if progress.text else ''}{progress.text}")
    return stopped.code


def _report_output_closed(code: int) -> int:
    forget_output()
    if code == UNFINISHED:
        say("geventbt: standard output was closed; what is there is kept; run the same command again to resume")
    return code


def _report(code: int, text: str, arguments: argparse.Namespace) -> int:
    _end_output(arguments, "error", code=code, message=text)
    say(f"geventbt: {printable(text)}")
    return code


def _end_output(arguments: argparse.Namespace, event: str, **fields: object) -> None:
    """Write the last JSON object, or flush what was printed."""
    if getattr(arguments, "json", False):
        emit_last(event, **fields)
    elif sys.stdout is not None:
        try:
            sys.stdout.flush()
        except OSError:
            forget_output()


def _print_traceback() -> None:
    import traceback

    say(traceback.format_exc().rstrip())


def _set_up_log(arguments: argparse.Namespace) -> None:
    """Print the library's warnings, such as a peer that sends wrong data, only with --verbose. Without a handler Python
    would always print them, in the middle of the progress."""
    import logging

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # Standard error is looked up each time, because a live view replaces it.
            say(f"geventbt: {printable(record.getMessage())}")

    log = logging.getLogger("geventbt")
    log.handlers = [Lines(logging.WARNING) if getattr(arguments, "verbose", False) else logging.NullHandler()]


def main() -> int:
    """The console script."""
    return run()
