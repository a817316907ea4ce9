"""Figures to see before trusting the engine: `python -m benchmarks`. Every one is a ratio within one run."""
