"""The emulated wide area network of `scripts/bench_swarm.py`."""
