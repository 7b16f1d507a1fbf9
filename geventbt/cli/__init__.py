"""The command line: ``geventbt download``, ``seed``, ``demo``."""

from geventbt.cli.main import main, run

__all__ = ["main", "run"]
