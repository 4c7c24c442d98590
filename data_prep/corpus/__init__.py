"""The corpus stage's passes over shards of documents, and the search for duplicates over all of them.

`making.py` says which pass comes after which; `plan.py` divides the inputs into shards; `passes.py` takes a shard
through a part of the chain of filters; `sketches.py` and `duplicates.py` find texts that are alike, wherever they lie;
`finishing.py` takes them away and puts each document on its side.
"""
