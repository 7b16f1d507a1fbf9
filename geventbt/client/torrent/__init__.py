"""One torrent of a client: its life from the link to the last piece, and its files."""
