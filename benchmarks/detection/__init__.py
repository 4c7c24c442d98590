"""The four tables of `benchmarks/quality_detection.py`, one module each."""
