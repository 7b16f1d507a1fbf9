"""The command line: a module for each command, which has its arguments in `add_parser` and its work in `run`.

Whatever is heavy (gevent, rich, json) is imported where it is used, so that ``geventbt --help`` is quick.
"""

from geventbt.cli.main import main, run

__all__ = ["main", "run"]
