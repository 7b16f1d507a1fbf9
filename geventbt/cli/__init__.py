"""The command line. Each command is a module with its arguments in `add_parser` and its work in `run`.

Heavy modules (gevent, rich, json) are imported where they are used, so that ``geventbt --help`` is quick.
"""

from geventbt.cli.main import main, run

__all__ = ["main", "run"]
