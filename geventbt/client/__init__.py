"""Many peers, one torrent: who is asked for what, and who is served."""
