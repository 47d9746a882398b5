"""Benchmarks: what `make bench` measures, as ratios within one run."""
