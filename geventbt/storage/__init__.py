"""Pieces on the disk: which bytes of which files they are, and whether they are good. It knows no peers and no gevent.

Everything here blocks on the disk: the client calls it in native threads.
"""

from __future__ import annotations

from geventbt.storage.layout import Layout, Span
from geventbt.storage.storage import Storage, locate

__all__ = ["Layout", "Span", "Storage", "locate"]
