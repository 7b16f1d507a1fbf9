"""Sources of peers: trackers, the DHT and the local network. They find addresses; the client connects to them."""
