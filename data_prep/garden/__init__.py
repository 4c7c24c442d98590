"""Larkmoor Garden: a small invented world, so that every stage can run and be judged without anybody's data.

`words` holds the closed sets of values, `phrases_*` how facts are said, asked and answered, `world` draws the facts
from a seed, `pages` writes documents, `defects` spoils some of them, `files` puts them into formats, `dialogues` and
`questions` make the training and evaluation rows, `oracle` judges an answer. `data_prep.stages.garden` writes it all.
"""
