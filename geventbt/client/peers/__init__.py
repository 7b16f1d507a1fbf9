"""Which peers of a torrent are known, who names them, and how fast they may be connected to."""
