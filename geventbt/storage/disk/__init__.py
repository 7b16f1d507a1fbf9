"""Torrents on a file system: paths, open files, locks and the record of what is verified."""
