"""What a corpus holds and of whom it speaks, and how something is found and taken out again.

`tally` counts, `demographics` and `term_search` count words for people, `card` writes the data card. `forget` finds
where a person's or a source's documents went (`places`) and adds to the block list, which `forgetting` applies;
`document_lineage` follows one document to the checkpoints that saw it.
"""
