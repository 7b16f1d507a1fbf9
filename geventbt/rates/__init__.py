"""Rates: token buckets, upload throttles and speed meters."""
