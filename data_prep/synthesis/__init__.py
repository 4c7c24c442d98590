"""New rows that nobody wrote: questions and answers from documents, and rewordings of rows there are.

`question_answers` and `augmentation` hold the methods. `generator` asks a local model or, through `endpoint`, a server,
and never asks twice; `novelty` and `rouge` leave out what says nothing new.
"""
