"""The command line: ``geventbt download``, ``seed``, ``magnet``, ``peer``, ``demo``."""

from geventbt.cli.main import main, run

__all__ = ["main", "run"]
