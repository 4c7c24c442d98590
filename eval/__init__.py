"""Tasks, metrics, statistics, comparison of checkpoints, report."""
