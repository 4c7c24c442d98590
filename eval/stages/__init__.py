"""Stages of evaluation: one module each."""
