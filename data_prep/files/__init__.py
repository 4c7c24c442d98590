"""How bytes become texts and rows, below the readers.

`listing` says which files there are, `hub` which data sets, `streams` and `archive` unpack them within limits,
`decoding` and `legacy_encodings` make text of bytes, `licences` tells licence files apart. `tables` gives the rows of
any table, one at a time, with `delimited`, `json_stream` and `columnar` for the formats; `columns` makes a document of
a row.
"""
