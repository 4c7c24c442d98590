"""The stages of data preparation, one module each."""
