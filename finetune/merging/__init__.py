"""Merging: adapters into their base, and several models into one."""
