"""Ground floor: recipe files (YAML) and the code that says what a recipe is, runs it, and keeps what it made."""

__version__ = "0.1.0"
