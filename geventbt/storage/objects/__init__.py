"""A torrent's files as objects in any store that fsspec knows."""
