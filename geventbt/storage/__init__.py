"""A torrent's files on disk, piece by piece."""

from geventbt.storage.storage import Storage, locate

__all__ = ["Storage", "locate"]
