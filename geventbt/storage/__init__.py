"""Verified pieces, and the backends that keep their bytes: the disk, memory, or the user's own. No peers, no gevent.

Everything here may block: the client calls it in native threads. `objects.backend` has the backend for fsspec's stores.
"""

from __future__ import annotations

from geventbt.storage.backend import ChangedData, MissingData, StorageBackend, StorageFactory
from geventbt.storage.disk.backend import DiskBackend
from geventbt.storage.disk.relocation import Place, relocate
from geventbt.storage.finding import locate
from geventbt.storage.layout import Layout, Span
from geventbt.storage.memory import MemoryBackend
from geventbt.storage.storage import Storage

__all__ = [
    "ChangedData",
    "DiskBackend",
    "Layout",
    "MemoryBackend",
    "MissingData",
    "Place",
    "Span",
    "Storage",
    "StorageBackend",
    "StorageFactory",
    "locate",
    "relocate",
]
