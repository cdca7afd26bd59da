"""Measurements; `make bench-NAME` runs `python -m benchmarks.NAME`."""
