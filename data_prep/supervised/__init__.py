"""Supervised data on its way through `stage: instructions`: reading, checks, duplicates, sides, balance, statistics."""
