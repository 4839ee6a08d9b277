"""Benchmarks: each prints ratios between things measured side by side in one run."""
