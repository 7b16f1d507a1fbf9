"""What `scripts/bench_transfer.py` measures with: the clients, each a program of its own, and the runs."""
