"""Texts to labels: rows and their encoding, losses, measures, and what a finished classifier says of a text."""
