"""Greenlets and native threads: pools, shields, broadcast conditions and dispatch queues."""
