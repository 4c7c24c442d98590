"""What people think of answers: the label store, agreement among them, and the way from labels to training data."""
