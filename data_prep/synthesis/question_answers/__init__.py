"""Questions and answers from documents: passages, the rules that find pairs in them, and what makes a pair worth it."""
