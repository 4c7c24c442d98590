"""What a benchmark found, for the terminal (table), for people (html) and for other programs and wikis (markdown)."""
