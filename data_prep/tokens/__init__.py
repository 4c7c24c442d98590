"""Texts to token ids, and ids to rows of a training length.

`tokenization` encodes, `token_shards` keeps the ids on disk, `packing` and `packed_rows` cut and fit them into rows.
`mixing` and `mixture_passes` draw documents from several corpora by token counts, `row_ranges` divides their files
among workers. `vocabulary` finds domain tokens, `fertility` says how well a tokenizer suits some texts.
"""
