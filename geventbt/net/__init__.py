"""Addresses, names and HTTP: the network as all layers above see it, without BitTorrent."""
