"""The training loop that all stages but PPO share, and what surrounds it: checkpoints, selection, progress, memory."""
