"""The DHT: finding peers, and storing small items, without any server (BEP 5, 32, 33, 42, 43, 44, 45, 51)."""
