"""Models, adapters, batches, generation; one module per training stage."""
