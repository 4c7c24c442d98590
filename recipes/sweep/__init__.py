"""Sweeps: a search over a recipe's keys in processes that can be killed at any time, and the table it ends with."""
