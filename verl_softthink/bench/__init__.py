"""Benchmarks: ratios measured in one run, interleaved, medians; never part of the tests."""
