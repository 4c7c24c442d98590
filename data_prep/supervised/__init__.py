"""Supervised data on its way through `stage: instructions`: reading, checks, duplicates, sides, balance, statistics.

`shapes` knows the forms in which people keep such rows, `turns` and `ranking` what the shapes share; `reading` opens
the files, `making` takes the rows through everything, `statistics`, `report` and `telling` say what became of them.
"""
