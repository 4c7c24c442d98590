"""Stages that start other stages."""
