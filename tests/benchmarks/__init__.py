"""Yardsticks and measurements; not tests. `make bench` runs `python -m tests.benchmarks`."""
