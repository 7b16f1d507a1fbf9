"""The command line. Each command is a module with its arguments in `add_parser` and its work in `run`.

Heavy modules (gevent, rich, json) are imported where they are used, so that ``geventbt --help`` is quick.
"""

from collections.abc import Sequence

from geventbt.cli.errors import INTERRUPTED
from geventbt.cli.text import say


def run(argv: Sequence[str] | None = None) -> int:
    """The console script; see `geventbt.cli.main.run`. Ctrl-C while its modules are loaded leaves no traceback."""
    try:
        from geventbt.cli.main import run

        return run(argv)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
