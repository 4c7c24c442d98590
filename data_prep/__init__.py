"""First floor: raw files to records to clean, split data sets. Never imports torch."""
