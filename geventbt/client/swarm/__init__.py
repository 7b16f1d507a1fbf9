"""The connected peers of one torrent."""
